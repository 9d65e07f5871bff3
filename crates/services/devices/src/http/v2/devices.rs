//! `/v2/devices`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lamassu_core::device::RegistryError;
use lamassu_core::device::v2::{
    CountedPage, Decommission, DeviceV2, HistoryItem, Include, ListDevices, ListHistory,
    RegisterDevice, WritableDevice,
};
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::percent::encode;
use lamassu_core::query::{Field, ListRequest, QueryError, take_flag};
use lamassu_core::usage::RevocationReason;
use lamassu_http::{
    Answers, AskedBy, Identity, IfMatch, IfNoneMatch, Json200, Json201, ListedInV2, Listing,
    Members, NoContent, Operation, PatchOf, PathParams, Query, QueryPairs, ReadVersioned, Reply,
    StrictJson, Versioned,
};
use schemars::JsonSchema;

use super::super::{DELETE, Devices};
use crate::store::{DEVICE_FIELDS_IN_V2, HISTORY_FIELDS};

/// Devices, as lists of v2 know them.
pub(in crate::http) struct Registered;

impl Listing for Registered {
    const FIELDS: &'static [Field] = DEVICE_FIELDS_IN_V2;
}

/// Histories, as lists of v2 know them.
pub(super) struct Histories;

impl Listing for Histories {
    const FIELDS: &'static [Field] = HISTORY_FIELDS;
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(in crate::http) struct Beside {
    /// What is shown beside each device, a comma list: `events`, `groups`, `policies`.
    include: Option<String>,
    /// Whether all that fulfil the filters are counted: `total`.
    count: Option<bool>,
    /// The group whose members are listed.
    group: Option<DeviceGroupId>,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(super) struct Included {
    /// What is shown beside the device, a comma list: `events`, `groups`, `policies`.
    include: Option<String>,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(super) struct CountOnly {
    /// Whether all that fulfil the filters are counted: `total`.
    count: Option<bool>,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(super) struct Retirement {
    /// Why the certificates are revoked; `CessationOfOperation` where it is absent.
    reason: Option<RevocationReason>,
    /// Free text for the history, at most 512 characters.
    comment: Option<String>,
    /// Whether the record of a decommissioned device is removed.
    purge: Option<bool>,
}

pub(super) async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<(ListedInV2<Registered>, Members<Beside>)>,
) -> Reply<Json200<CountedPage<DeviceV2>>> {
    let mut request = list_request(&query, &devices, &["include", "count", "group"])?;
    request.group = query.first("group").map(DeviceGroupId::from);
    let page = devices.service.list_devices(&caller, &request).await?;
    Ok(Json200(page))
}

/// What a list of devices is asked for.
pub(in crate::http) fn list_request(
    query: &QueryPairs,
    devices: &Devices,
    others: &[&str],
) -> Result<ListDevices, RegistryError> {
    let now = devices.clock.now();
    let fields = DEVICE_FIELDS_IN_V2;
    Ok(ListDevices {
        request: ListRequest::from_pairs_in_v2(&query.0, fields, others, now)?,
        count: take_flag(&query.0, "count")?,
        include: include(query)?,
        group: None,
    })
}

fn include(query: &QueryPairs) -> Result<Include, RegistryError> {
    let text = query.first("include").unwrap_or_default();
    Include::parse(text).map_err(|word| invalid("include", &format!("unknown word '{word}'")))
}

pub(in crate::http) fn invalid(name: &str, reason: &str) -> RegistryError {
    let (name, reason) = (name.to_owned(), reason.to_owned());
    QueryError::InvalidParameter { name, reason }.into()
}

/// Refuses parameters that the route does not have.
pub(in crate::http) fn only(query: &QueryPairs, known: &[&str]) -> Result<(), RegistryError> {
    let mut names = query.0.iter().map(|(name, _)| name);
    match names.find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(QueryError::UnknownParameter(name.clone()).into()),
        None => Ok(()),
    }
}

pub(super) async fn register(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    StrictJson(body): StrictJson<RegisterDevice>,
) -> Reply<Versioned<Json201<DeviceV2>>> {
    let device = devices.service.register_device(&caller, body).await?;
    let location = format!("devices/{}", encode(device.id.as_str()));
    Ok(Versioned::new(device.revision, Json201(device)).at(location))
}

pub(super) async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    known: IfNoneMatch,
    query: Query<Members<Included>>,
) -> Reply<ReadVersioned<Json200<DeviceV2>>> {
    only(&query, &["include"])?;
    let id = DeviceId::from(id);
    let include = include(&query)?;
    let device = devices.service.read_device(&caller, &id, include).await?;
    // Groups change without the device.
    let known = if include.groups || include.policies {
        IfNoneMatch::NOTHING
    } else {
        known
    };
    Ok(Versioned::new(device.revision, Json200(device)).unless(&known))
}

pub(super) async fn patch(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    IfMatch(expected): IfMatch,
    patch: PatchOf<WritableDevice>,
) -> Reply<Versioned<Json200<DeviceV2>>> {
    let id = DeviceId::from(id);
    let (service, patch) = (&devices.service, patch.into_inner());
    let device = service.patch_device(&caller, &id, patch, expected).await?;
    Ok(Versioned::new(device.revision, Json200(device)))
}

/// A retired device as it is, or nothing once its record is gone.
pub(super) enum Removed {
    Retired(Box<Versioned<Json200<DeviceV2>>>),
    Purged,
}

impl IntoResponse for Removed {
    fn into_response(self) -> Response {
        match self {
            Self::Retired(answer) => answer.into_response(),
            Self::Purged => NoContent.into_response(),
        }
    }
}

impl Answers for Removed {
    fn describe(operation: &mut Operation) {
        Versioned::<Json200<DeviceV2>>::describe(operation);
        NoContent::describe(operation);
    }
}

pub(super) async fn remove(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    identity: Identity,
    PathParams(id): PathParams<String>,
    IfMatch(expected): IfMatch,
    query: Query<Members<Retirement>>,
) -> Reply<Removed> {
    only(&query, &["reason", "comment", "purge"])?;
    let id = DeviceId::from(id);
    let service = &devices.service;
    if take_flag(&query.0, "purge").map_err(RegistryError::from)? {
        if !identity.allows(DELETE) {
            return Err(RegistryError::Forbidden.into());
        }
        service.purge_device(&caller, &id, expected).await?;
        return Ok(Removed::Purged);
    }
    let how = retirement(&query)?;
    let device = service.retire_device(&caller, &id, how, expected).await?;
    let answer = Versioned::new(device.revision, Json200(device));
    Ok(Removed::Retired(Box::new(answer)))
}

fn retirement(query: &QueryPairs) -> Result<Decommission, RegistryError> {
    let mut how = Decommission::default();
    if let Some(name) = query.first("reason") {
        let reason = RevocationReason::from_name(name);
        how.reason = reason.ok_or_else(|| invalid("reason", "unknown revocation reason"))?;
    }
    if let Some(comment) = query.first("comment") {
        if comment.chars().count() > Decommission::MAX_COMMENT_CHARS {
            return Err(invalid("comment", "longer than 512 characters"));
        }
        comment.clone_into(&mut how.comment);
    }
    Ok(how)
}

pub(super) async fn history(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<(ListedInV2<Histories>, Members<CountOnly>)>,
) -> Reply<Json200<CountedPage<HistoryItem>>> {
    let request = history_request(&query, &devices)?;
    let id = DeviceId::from(id);
    let page = devices
        .service
        .device_history(&caller, &id, &request)
        .await?;
    Ok(Json200(page))
}

fn history_request(query: &QueryPairs, devices: &Devices) -> Result<ListHistory, RegistryError> {
    // The order is that of time; `sort_mode` alone turns it round.
    let mut pairs = query.0.clone();
    if !pairs.iter().any(|(name, _)| name == "sort_by") {
        pairs.push(("sort_by".to_owned(), "timestamp".to_owned()));
        if !pairs.iter().any(|(name, _)| name == "sort_mode") {
            pairs.push(("sort_mode".to_owned(), "desc".to_owned()));
        }
    }
    let now = devices.clock.now();
    let request = ListRequest::from_pairs_in_v2(&pairs, HISTORY_FIELDS, &["count"], now)?;
    if let Some(sort) = request
        .sort
        .iter()
        .chain(&request.then)
        .find(|sort| sort.field.name != "timestamp")
    {
        return Err(QueryError::InvalidSort(sort.to_text()).into());
    }
    Ok(ListHistory {
        request,
        count: take_flag(&query.0, "count")?,
    })
}
