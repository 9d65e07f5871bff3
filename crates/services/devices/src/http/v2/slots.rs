//! `/v2/devices/{id}/slots`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lamassu_core::device::RegistryError;
use lamassu_core::device::slot::{
    ActivateVersion, AddVersion, PutOutcome, PutSlot, RevokeSecrets, RevokeVersion, SlotId,
    SlotList, SlotV2, SlotVersion, VerifiedToken, VerifyToken, VersionId,
};
use lamassu_core::device::v2::{CountedPage, ListHistory};
use lamassu_core::ids::DeviceId;
use lamassu_core::percent::encode;
use lamassu_core::query::{Field, ListRequest, take_flag};
use lamassu_http::{
    Answers, AskedBy, IfMatch, IfNoneMatch, Json200, Json201, ListedInV2, Listing, Members,
    NoContent, Operation, PathParams, Query, ReadVersioned, Reply, StrictJson, StrictJsonOrNothing,
    Versioned,
};
use schemars::JsonSchema;

use super::super::Devices;
use super::devices::{CountOnly, invalid, only};
use crate::store::VERSION_FIELDS;

/// Versions of a slot, as lists know them.
pub(super) struct Versions;

impl Listing for Versions {
    const FIELDS: &'static [Field] = VERSION_FIELDS;
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(super) struct WithVersions {
    /// `versions` shows the versions of each slot.
    include: Option<String>,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(super) struct Revocation {
    /// Whether valid certificates are revoked; they are where it is absent.
    revoke: Option<bool>,
}

fn slot_id((device, name): (String, String)) -> SlotId {
    SlotId {
        device: DeviceId::from(device),
        name,
    }
}

fn version_id(
    (device, name, number): (String, String, String),
) -> Result<VersionId, RegistryError> {
    Ok(VersionId {
        slot: slot_id((device, name)),
        // What is no number is no version.
        number: number.parse().map_err(|_| RegistryError::VersionNotFound)?,
    })
}

pub(super) async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Members<WithVersions>>,
) -> Reply<Json200<SlotList>> {
    only(&query, &["include"])?;
    let with_versions = match query.first("include").unwrap_or_default() {
        "" => false,
        "versions" => true,
        other => return Err(invalid("include", &format!("unknown word '{other}'")).into()),
    };
    let id = DeviceId::from(id);
    let slots = devices.service.slots(&caller, &id, with_versions).await?;
    Ok(Json200(slots))
}

pub(super) async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String)>,
    known: IfNoneMatch,
) -> Reply<ReadVersioned<Json200<SlotV2>>> {
    let slot = devices.service.slot(&caller, &slot_id(path)).await?;
    Ok(Versioned::new(slot.revision, Json200(slot)).unless(&known))
}

/// A slot that was there, or one that was made.
pub(super) enum Put {
    Updated(Box<Versioned<Json200<SlotV2>>>),
    Made(Box<Versioned<Json201<SlotV2>>>),
}

impl IntoResponse for Put {
    fn into_response(self) -> Response {
        match self {
            Self::Updated(answer) => answer.into_response(),
            Self::Made(answer) => answer.into_response(),
        }
    }
}

impl Answers for Put {
    fn describe(operation: &mut Operation) {
        Versioned::<Json200<SlotV2>>::describe(operation);
        Versioned::<Json201<SlotV2>>::describe(operation);
    }
}

pub(super) async fn put(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String)>,
    IfMatch(expected): IfMatch,
    StrictJson(body): StrictJson<PutSlot>,
) -> Reply<Put> {
    let id = slot_id(path);
    let put = devices
        .service
        .put_slot(&caller, &id, body, expected)
        .await?;
    Ok(match put {
        PutOutcome::Made(slot) => {
            let location = encode(&slot.name);
            Put::Made(Box::new(
                Versioned::new(slot.revision, Json201(slot)).at(location),
            ))
        }
        PutOutcome::Updated(slot) => {
            Put::Updated(Box::new(Versioned::new(slot.revision, Json200(slot))))
        }
    })
}

pub(super) async fn delete(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String)>,
    IfMatch(expected): IfMatch,
    query: Query<Members<Revocation>>,
) -> Reply<NoContent> {
    only(&query, &["revoke"])?;
    let secrets = match query.first("revoke") {
        None | Some("true") => RevokeSecrets::Yes,
        Some("false") => RevokeSecrets::No,
        Some(_) => return Err(invalid("revoke", "neither true nor false").into()),
    };
    let service = &devices.service;
    service
        .delete_slot(&caller, &slot_id(path), secrets, expected)
        .await?;
    Ok(NoContent)
}

pub(super) async fn versions(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String)>,
    query: Query<(ListedInV2<Versions>, Members<CountOnly>)>,
) -> Reply<Json200<CountedPage<SlotVersion>>> {
    let mut pairs = query.0.clone();
    if !pairs.iter().any(|(name, _)| name == "sort_by") {
        pairs.push(("sort_by".to_owned(), "version".to_owned()));
        if !pairs.iter().any(|(name, _)| name == "sort_mode") {
            pairs.push(("sort_mode".to_owned(), "desc".to_owned()));
        }
    }
    let now = devices.clock.now();
    let request = ListRequest::from_pairs_in_v2(&pairs, VERSION_FIELDS, &["count"], now);
    let request = ListHistory {
        request: request.map_err(RegistryError::from)?,
        count: take_flag(&query.0, "count").map_err(RegistryError::from)?,
    };
    let service = &devices.service;
    let page = service
        .slot_versions(&caller, &slot_id(path), &request)
        .await?;
    Ok(Json200(page))
}

pub(super) async fn version(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String, String)>,
    known: IfNoneMatch,
) -> Reply<ReadVersioned<Json200<SlotVersion>>> {
    let VersionId { slot, number } = version_id(path)?;
    let slot = devices.service.slot(&caller, &slot).await?;
    let mut versions = slot.versions.into_iter().flatten();
    let version = versions.find(|version| version.version == number);
    let version = version.ok_or(RegistryError::VersionNotFound)?;
    // A version changes with its slot.
    Ok(Versioned::new(slot.revision, Json200(version)).unless(&known))
}

pub(super) async fn add(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String)>,
    IfMatch(expected): IfMatch,
    StrictJson(body): StrictJson<AddVersion>,
) -> Reply<Added> {
    let id = slot_id(path);
    let version = devices
        .service
        .add_version(&caller, &id, body, expected)
        .await?;
    Ok(Added(version))
}

/// A version that was added.
pub(super) struct Added(SlotVersion);

impl IntoResponse for Added {
    fn into_response(self) -> Response {
        let location = format!("versions/{}", self.0.version);
        let mut response = Json201(self.0).into_response();
        if let Ok(location) = http::HeaderValue::try_from(location) {
            response
                .headers_mut()
                .insert(http::header::LOCATION, location);
        }
        response
    }
}

impl Answers for Added {
    fn describe(operation: &mut Operation) {
        Json201::<SlotVersion>::describe(operation);
    }
}

pub(super) async fn delete_version(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String, String)>,
    IfMatch(expected): IfMatch,
) -> Reply<NoContent> {
    let version = version_id(path)?;
    let service = &devices.service;
    service.delete_version(&caller, &version, expected).await?;
    Ok(NoContent)
}

pub(super) async fn activate(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String, String)>,
    IfMatch(expected): IfMatch,
    StrictJsonOrNothing(body): StrictJsonOrNothing<ActivateVersion>,
) -> Reply<Versioned<Json200<SlotV2>>> {
    let version = version_id(path)?;
    let service = &devices.service;
    let slot = service
        .activate_version(&caller, &version, body, expected)
        .await?;
    Ok(Versioned::new(slot.revision, Json200(slot)))
}

pub(super) async fn revoke(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String, String)>,
    IfMatch(expected): IfMatch,
    StrictJsonOrNothing(body): StrictJsonOrNothing<RevokeVersion>,
) -> Reply<Versioned<Json200<SlotV2>>> {
    let version = version_id(path)?;
    let service = &devices.service;
    let slot = service
        .revoke_version(&caller, &version, body, expected)
        .await?;
    Ok(Versioned::new(slot.revision, Json200(slot)))
}

pub(super) async fn verify(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(path): PathParams<(String, String)>,
    StrictJson(body): StrictJson<VerifyToken>,
) -> Reply<Json200<VerifiedToken>> {
    let service = &devices.service;
    let verified = service.verify_token(&caller, &slot_id(path), body).await?;
    Ok(Json200(verified))
}
