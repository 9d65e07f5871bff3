//! `/v2/device-groups`.

use axum::extract::State;
use lamassu_core::device_group::{
    Children, CreateGroup, DevicePolicies, Group, GroupDeletion, GroupDocument, GroupEdit,
    GroupListing, GroupNode, GroupOfDevice, GroupPolicies, Preview, PreviewRequest, WholeList,
};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::{DeviceGroupId, DeviceId};
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
        .get(
            "/v2/device-groups/{id}/children",
            READ,
            "List the groups right below a device group",
            children,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v2/device-groups/{id}/ancestors",
            READ,
            "List the groups above a device group",
            ancestors,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v2/device-groups/{id}/policies",
            READ,
            "Read what a device group asks of its members",
            policies,
        )
        .refuses(&[ErrorKind::NotFound])
        .post(
            "/v2/device-groups/{id}/preview",
            READ,
            "Try other criteria for a device group",
            preview,
        )
        .refuses(&[ErrorKind::NotFound])
        .post(
            "/v2/device-groups/preview",
            READ,
            "Try criteria",
            preview_alone,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v2/devices/{id}/groups",
            READ,
            "List the groups that a device is in",
            groups_of_device,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v2/devices/{id}/policies",
            READ,
            "Read what its groups ask of a device",
            policies_of_device,
        )
        .refuses(&[ErrorKind::NotFound])
}

async fn list(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<(Listed<Grouped>, Members<GroupListing>)>,
) -> Reply<Json200<Page<GroupNode>>> {
    if query.first("tree") == Some("true") {
        let list = devices.service.group_tree(&caller).await?;
        let next = String::new();
        return Ok(Json200(Page { next, list }));
    }
    let request = query.request(devices.limits)?;
    let page = devices.service.groups(&caller, &request).await?;
    Ok(Json200(Page {
        next: page.next,
        list: page.list.into_iter().map(GroupNode::from).collect(),
    }))
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

async fn children(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
) -> Reply<Json200<WholeList<Group>>> {
    let list = devices.service.group_children(&caller, &id).await?;
    Ok(Json200(WholeList { list }))
}

async fn ancestors(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
) -> Reply<Json200<WholeList<Group>>> {
    let list = devices.service.group_ancestors(&caller, &id).await?;
    Ok(Json200(WholeList { list }))
}

async fn policies(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
) -> Reply<Json200<GroupPolicies>> {
    Ok(Json200(devices.service.group_policies(&caller, &id).await?))
}

async fn preview(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    GoJson(body): GoJson<PreviewRequest>,
) -> Reply<Json200<Preview>> {
    let preview = devices.service.preview_group(&caller, Some(&id), body);
    Ok(Json200(preview.await?))
}

async fn preview_alone(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<PreviewRequest>,
) -> Reply<Json200<Preview>> {
    let preview = devices.service.preview_group(&caller, None, body);
    Ok(Json200(preview.await?))
}

async fn groups_of_device(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceId>,
) -> Reply<Json200<WholeList<GroupOfDevice>>> {
    let list = devices.service.groups_of_device(&caller, &id).await?;
    Ok(Json200(WholeList { list }))
}

async fn policies_of_device(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceId>,
) -> Reply<Json200<DevicePolicies>> {
    Ok(Json200(
        devices.service.device_policies(&caller, &id).await?,
    ))
}
