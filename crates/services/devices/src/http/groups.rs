//! `/v1/device-groups`.

use axum::extract::State;
use lamassu_core::device::{Device, DeviceStats};
use lamassu_core::device_group::{
    Children, CreateDeviceGroupV1, DeviceGroupPageV1, DeviceGroupV1, ListGroups,
    UpdateDeviceGroupV1,
};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_core::permission::Permission;
use lamassu_core::query::Field;
use lamassu_core::revision::Precondition;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Listed, Listing, NoContent, PathParams, Query, Reply,
    RoutesBuilder,
};

use super::devices::Registered;
use super::{Devices, READ};
use crate::store::GROUP_FIELDS;

/// To make, change and delete groups.
pub(super) const GROUPS: Permission = Permission::new("device", "groups");

/// Groups, as lists know them.
pub(super) struct Grouped;

impl Listing for Grouped {
    const FIELDS: &'static [Field] = GROUP_FIELDS;
}

pub(super) fn routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    const CHANGES: &[ErrorKind] = &[ErrorKind::NotFound, ErrorKind::Conflict];
    builder
        .get("/v1/device-groups", READ, "List device groups", list)
        .post("/v1/device-groups", GROUPS, "Create a device group", create)
        .refuses(CHANGES)
        .get("/v1/device-groups/{id}", READ, "Read a device group", read)
        .refuses(&[ErrorKind::NotFound])
        .put(
            "/v1/device-groups/{id}",
            GROUPS,
            "Change a device group",
            update,
        )
        .refuses(CHANGES)
        .delete(
            "/v1/device-groups/{id}",
            GROUPS,
            "Delete a device group and all below it",
            delete,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v1/device-groups/{id}/devices",
            READ,
            "List the devices of a group",
            devices,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v1/device-groups/{id}/stats",
            READ,
            "Count the devices of a group",
            stats,
        )
        .refuses(&[ErrorKind::NotFound])
}

async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Grouped>>,
) -> Reply<Json200<DeviceGroupPageV1>> {
    let request = query.request(devices.limits)?;
    let request = ListGroups {
        request,
        count: false,
    };
    let page = devices.service.groups(&caller, &request).await?;
    Ok(Json200(page.into()))
}

async fn create(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateDeviceGroupV1>,
) -> Reply<Json201<DeviceGroupV1>> {
    let group = devices.service.create_group(&caller, body.into()).await?;
    Ok(Json201(group.into()))
}

async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<DeviceGroupV1>> {
    let id = DeviceGroupId::from(id);
    let group = devices.service.group(&caller, &id).await?;
    Ok(Json200(group.into()))
}

async fn update(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<UpdateDeviceGroupV1>,
) -> Reply<Json200<DeviceGroupV1>> {
    let id = DeviceGroupId::from(id);
    let group = devices
        .service
        .update_group(&caller, &id, body.into(), Precondition::None)
        .await?;
    Ok(Json200(group.into()))
}

async fn delete(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<NoContent> {
    let id = DeviceGroupId::from(id);
    devices
        .service
        .delete_group(&caller, &id, Children::Cascade, Precondition::None)
        .await?;
    Ok(NoContent)
}

async fn devices(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Listed<Registered>>,
) -> Reply<Json200<Page<Device>>> {
    let request = query.request(devices.limits)?;
    let id = DeviceGroupId::from(id);
    Ok(Json200(
        devices
            .service
            .group_devices(&caller, &id, &request)
            .await?,
    ))
}

async fn stats(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<DeviceStats>> {
    let id = DeviceGroupId::from(id);
    Ok(Json200(devices.service.group_stats(&caller, &id).await?))
}
