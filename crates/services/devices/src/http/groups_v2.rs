//! `/v2/device-groups`.

use axum::extract::State;
use lamassu_core::device_group::{
    Children, CreateGroup, Group, GroupDeletion, GroupDocument, GroupEdit,
};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Listed, Members, NoContent, PathParams, Query, Reply,
    RoutesBuilder,
};
use serde_json::{Map, Value};

use super::groups::{GROUPS, Grouped};
use super::{Devices, READ};

pub(super) fn routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    const CHANGES: &[ErrorKind] = &[ErrorKind::NotFound, ErrorKind::Conflict];
    builder
        .get("/v2/device-groups", READ, "List device groups", list)
        .post("/v2/device-groups", GROUPS, "Create a device group", create)
        .refuses(CHANGES)
        .get("/v2/device-groups/{id}", READ, "Read a device group", read)
        .refuses(&[ErrorKind::NotFound])
        .put(
            "/v2/device-groups/{id}",
            GROUPS,
            "Replace a device group",
            replace,
        )
        .refuses(CHANGES)
        .patch(
            "/v2/device-groups/{id}",
            GROUPS,
            "Change members of a device group",
            patch,
        )
        .refuses(CHANGES)
        .delete(
            "/v2/device-groups/{id}",
            GROUPS,
            "Delete a device group",
            delete,
        )
        .refuses(CHANGES)
}

async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Grouped>>,
) -> Reply<Json200<Page<Group>>> {
    let request = query.request(devices.limits)?;
    Ok(Json200(devices.service.groups(&caller, &request).await?))
}

async fn create(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateGroup>,
) -> Reply<Json201<Group>> {
    Ok(Json201(devices.service.create_group(&caller, body).await?))
}

async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
) -> Reply<Json200<Group>> {
    Ok(Json200(devices.service.group(&caller, &id).await?))
}

async fn replace(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    GoJson(body): GoJson<GroupDocument>,
) -> Reply<Json200<Group>> {
    let edit = GroupEdit::Replace(Box::new(body));
    let group = devices.service.update_group(&caller, &id, edit).await?;
    Ok(Json200(group))
}

async fn patch(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    GoJson(body): GoJson<Map<String, Value>>,
) -> Reply<Json200<Group>> {
    let edit = GroupEdit::Merge(body);
    let group = devices.service.update_group(&caller, &id, edit).await?;
    Ok(Json200(group))
}

async fn delete(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    query: Query<Members<GroupDeletion>>,
) -> Reply<NoContent> {
    let children = match query.first("children") {
        None => Children::default(),
        Some(word) => Children::from_word(word)?,
    };
    devices.service.delete_group(&caller, &id, children).await?;
    Ok(NoContent)
}
