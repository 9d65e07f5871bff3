//! `/v2/device-groups`.

use axum::extract::State;
use lamassu_core::device::statistics::{CountDevices, DeviceStatistics};
use lamassu_core::device::v2::{CountedPage, DeviceV2, ListDevices};
use lamassu_core::device_group::{
    Children, CreateGroup, DeviceGroupError, DevicePolicies, Group, GroupDeletion, GroupDocument,
    GroupEdit, GroupListing, GroupNode, GroupOfDevice, GroupPolicies, ListGroups, Preview,
    PreviewRequest, WholeList,
};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::query::{Field, ListRequest, take_flag};
use lamassu_http::{
    AskedBy, CountedInV2, IfMatch, IfNoneMatch, Json200, Json201, ListedInV2, Listing, Members,
    NoContent, PatchOf, PathParams, Query, ReadVersioned, Reply, RoutesBuilder, StrictJson,
    Versioned,
};

use super::groups::GROUPS;
use super::v2::devices::{Beside, Registered, list_request, only};
use super::v2::statistics::{Numbers, count_request};
use super::{Devices, READ};
use crate::store::GROUP_FIELDS_IN_V2;

/// Groups, as lists of v2 know them.
struct Grouped;

impl Listing for Grouped {
    const FIELDS: &'static [Field] = GROUP_FIELDS_IN_V2;
}

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
            "/v2/device-groups/{id}/devices",
            READ,
            "List the devices of a group",
            members,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v2/device-groups/{id}/stats",
            READ,
            "Count the devices of a group",
            stats,
        )
        .refuses(&[ErrorKind::NotFound])
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
    query: Query<(ListedInV2<Grouped>, Members<GroupListing>)>,
) -> Reply<Json200<CountedPage<GroupNode>>> {
    let flag = |name| take_flag(&query.0, name).map_err(DeviceGroupError::from);
    if flag("tree")? {
        only(&query, &["tree"])?;
        let list = devices.service.group_tree(&caller).await?;
        let (next, total) = (String::new(), None);
        return Ok(Json200(CountedPage { next, list, total }));
    }
    let (fields, now) = (Grouped::FIELDS, devices.clock.now());
    let request = ListRequest::from_pairs_in_v2(&query.0, fields, &["count", "tree"], now);
    let request = ListGroups {
        request: request.map_err(DeviceGroupError::from)?,
        count: flag("count")?,
    };
    let page = devices.service.groups(&caller, &request).await?;
    Ok(Json200(CountedPage {
        next: page.next,
        list: page.list.into_iter().map(GroupNode::from).collect(),
        total: page.total,
    }))
}

async fn create(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    StrictJson(body): StrictJson<CreateGroup>,
) -> Reply<Versioned<Json201<Group>>> {
    let group = devices.service.create_group(&caller, body).await?;
    let location = format!("device-groups/{}", group.id);
    Ok(Versioned::new(group.revision, Json201(group)).at(location))
}

async fn read(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    known: IfNoneMatch,
) -> Reply<ReadVersioned<Json200<Group>>> {
    let group = devices.service.group(&caller, &id).await?;
    Ok(Versioned::new(group.revision, Json200(group)).unless(&known))
}

async fn replace(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    IfMatch(expected): IfMatch,
    StrictJson(body): StrictJson<GroupDocument>,
) -> Reply<Versioned<Json200<Group>>> {
    let edit = GroupEdit::Replace(Box::new(body));
    let service = &devices.service;
    let group = service.update_group(&caller, &id, edit, expected).await?;
    Ok(Versioned::new(group.revision, Json200(group)))
}

async fn patch(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    IfMatch(expected): IfMatch,
    patch: PatchOf<GroupDocument>,
) -> Reply<Versioned<Json200<Group>>> {
    let edit = GroupEdit::Patch(patch.into_inner());
    let service = &devices.service;
    let group = service.update_group(&caller, &id, edit, expected).await?;
    Ok(Versioned::new(group.revision, Json200(group)))
}

async fn delete(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    IfMatch(expected): IfMatch,
    query: Query<Members<GroupDeletion>>,
) -> Reply<NoContent> {
    only(&query, &["children"])?;
    let children = match query.first("children") {
        None => Children::default(),
        Some(word) => Children::from_word(word)?,
    };
    let service = &devices.service;
    service
        .delete_group(&caller, &id, children, expected)
        .await?;
    Ok(NoContent)
}

async fn members(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    query: Query<(ListedInV2<Registered>, Members<Beside>)>,
) -> Reply<Json200<CountedPage<DeviceV2>>> {
    let request = ListDevices {
        group: Some(id),
        ..list_request(&query, &devices, &["include", "count"])?
    };
    let page = devices.service.list_devices(&caller, &request).await?;
    Ok(Json200(page))
}

async fn stats(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<DeviceGroupId>,
    query: Query<(CountedInV2<Registered>, Members<Numbers>)>,
) -> Reply<Json200<DeviceStatistics>> {
    let request = CountDevices {
        group: Some(id),
        ..count_request(&query, &devices)?
    };
    Ok(Json200(
        devices.service.statistics(&caller, &request).await?,
    ))
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
    StrictJson(body): StrictJson<PreviewRequest>,
) -> Reply<Json200<Preview>> {
    let preview = devices.service.preview_group(&caller, Some(&id), body);
    Ok(Json200(preview.await?))
}

async fn preview_alone(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    StrictJson(body): StrictJson<PreviewRequest>,
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
