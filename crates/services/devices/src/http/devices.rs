//! `/v1/devices` and `/v1/stats`.

use axum::extract::State;
use lamassu_core::device::{CreateDevice, Device, DeviceError, DeviceStats, IdentityReplacement};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchBody;
use lamassu_core::query::Field;
use lamassu_http::{
    AskedBy, Counted, GoJson, Json200, Json201, Listed, Listing, NoContent, PathParams, Query,
    Reply,
};

use super::Devices;
use crate::store::DEVICE_FIELDS;

/// Devices, as lists know them.
pub(super) struct Registered;

impl Listing for Registered {
    const FIELDS: &'static [Field] = DEVICE_FIELDS;
}

pub(super) async fn create(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateDevice>,
) -> Reply<Json201<Device>> {
    Ok(Json201(devices.service.create_device(&caller, body).await?))
}

pub(super) async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Device>> {
    let id = DeviceId::from(id);
    Ok(Json200(devices.service.device(&caller, &id).await?))
}

pub(super) async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Registered>>,
) -> Reply<Json200<Page<Device>>> {
    let request = query.request(devices.limits)?;
    Ok(Json200(
        devices.service.devices(&caller, None, &request).await?,
    ))
}

pub(super) async fn list_by_dms(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(dms_id): PathParams<String>,
    query: Query<Listed<Registered>>,
) -> Reply<Json200<Page<Device>>> {
    let request = query.request(devices.limits)?;
    let owner = DmsId::from(dms_id);
    Ok(Json200(
        devices
            .service
            .devices(&caller, Some(&owner), &request)
            .await?,
    ))
}

pub(super) async fn stats(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<Counted<Registered>>,
) -> Reply<Json200<DeviceStats>> {
    let request = query.request(devices.limits)?;
    Ok(Json200(devices.service.stats(&caller, &request).await?))
}

pub(super) async fn patch_metadata(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<PatchBody>,
) -> Reply<Json200<Device>> {
    let patches = body.patches.ok_or(DeviceError::Validation)?;
    let id = DeviceId::from(id);
    let patched = devices
        .service
        .patch_metadata(&caller, &id, patches)
        .await?;
    Ok(Json200(patched))
}

pub(super) async fn replace_identity(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<IdentityReplacement>,
) -> Reply<Json200<Device>> {
    let id = DeviceId::from(id);
    let replaced = devices.service.replace_identity(&caller, &id, body).await?;
    Ok(Json200(replaced))
}

pub(super) async fn decommission(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Device>> {
    let id = DeviceId::from(id);
    Ok(Json200(devices.service.decommission(&caller, &id).await?))
}

pub(super) async fn delete(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<NoContent> {
    let id = DeviceId::from(id);
    devices.service.delete_device(&caller, &id).await?;
    Ok(NoContent)
}
