//! `/v2/device-groups/{id}/actions`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lamassu_core::device_group::{DeviceGroupError, DryRun, GroupAction, StartAction, Started};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_core::query::{Field, ListRequest};
use lamassu_http::{
    Answers, AskedBy, Identity, Json200, Json202, ListedInV2, Listing, Operation, PathParams,
    Query, Reply, RoutesBuilder, StrictJson,
};

use super::groups::GROUPS;
use super::{Devices, READ};
use crate::store::ACTION_FIELDS;

/// Actions, as lists know them.
struct Actions;

impl Listing for Actions {
    const FIELDS: &'static [Field] = ACTION_FIELDS;
}

pub(super) fn routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    builder
        .post(
            "/v2/device-groups/{id}/actions",
            GROUPS,
            "Do something with all devices of a group",
            start,
        )
        .refuses(&[ErrorKind::NotFound, ErrorKind::Forbidden])
        .get(
            "/v2/device-groups/{id}/actions",
            READ,
            "List what is done with the devices of a group",
            list,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v2/device-groups/{id}/actions/{action_id}",
            READ,
            "Read how far an action is",
            read,
        )
        .refuses(&[ErrorKind::NotFound])
        .delete(
            "/v2/device-groups/{id}/actions/{action_id}",
            GROUPS,
            "Put an end to an action",
            cancel,
        )
        .refuses(&[ErrorKind::NotFound])
}

/// What goes on, or what it would be done with.
enum Begun {
    Action(Json202<GroupAction>),
    DryRun(Json200<DryRun>),
}

impl IntoResponse for Begun {
    fn into_response(self) -> Response {
        match self {
            Self::Action(answer) => answer.into_response(),
            Self::DryRun(answer) => answer.into_response(),
        }
    }
}

impl Answers for Begun {
    fn describe(operation: &mut Operation) {
        Json202::<GroupAction>::describe(operation);
        Json200::<DryRun>::describe(operation);
    }
}

async fn start(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    identity: Identity,
    PathParams(id): PathParams<DeviceGroupId>,
    StrictJson(body): StrictJson<StartAction>,
) -> Reply<Begun> {
    if !identity.allows(body.action.permission()) {
        return Err(DeviceGroupError::Forbidden.into());
    }
    let started = devices.service.start_action(&caller, &id, body).await?;
    Ok(match started {
        Started::Action(action) => Begun::Action(Json202(*action)),
        Started::DryRun(tried) => Begun::DryRun(Json200(tried)),
    })
}

async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    query: Query<ListedInV2<Actions>>,
) -> Reply<Json200<Page<GroupAction>>> {
    let now = devices.clock.now();
    let request = ListRequest::from_pairs_in_v2(&query.0, ACTION_FIELDS, &[], now);
    let request = request.map_err(DeviceGroupError::from)?;
    Ok(Json200(
        devices.service.actions(&caller, &id, &request).await?,
    ))
}

async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams((id, action)): PathParams<(DeviceGroupId, String)>,
) -> Reply<Json200<GroupAction>> {
    Ok(Json200(
        devices.service.action(&caller, &id, &action).await?,
    ))
}

async fn cancel(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams((id, action)): PathParams<(DeviceGroupId, String)>,
) -> Reply<Json200<GroupAction>> {
    let service = &devices.service;
    Ok(Json200(service.cancel_action(&caller, &id, &action).await?))
}
