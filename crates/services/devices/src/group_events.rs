//! What the device manager tells about groups.

use lamassu_core::caller::Caller;
use lamassu_core::device_group::GroupAction;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::Event;
use serde::Serialize;
use time::OffsetDateTime;

use crate::group_criteria::CodedCriterion;
use crate::group_tree::{GroupTree, StoredGroup};

const DEVICE_MANAGER: &str = "service/devmanager";

/// A group as events carry it: all criteria that count, operands by their numbers.
#[derive(Serialize)]
struct EventGroup<'a> {
    id: &'a DeviceGroupId,
    name: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a DeviceGroupId>,
    criteria: Vec<CodedCriterion>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> EventGroup<'a> {
    fn of(tree: &GroupTree, group: &'a StoredGroup) -> Self {
        Self {
            id: &group.id,
            name: &group.document.name,
            description: &group.document.description,
            parent_id: group.document.parent_id.as_ref(),
            criteria: tree.rules(group).map(CodedCriterion::from).collect(),
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

#[derive(Serialize)]
struct Pair<'a> {
    previous: EventGroup<'a>,
    updated: EventGroup<'a>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    #[serde(rename = "ID")]
    id: &'a DeviceGroupId,
}

/// The subject of events and audit records about a group.
pub(crate) fn group_subject(id: &DeviceGroupId) -> String {
    format!("device-group/{id}")
}

/// `device-group.create`
pub(crate) fn group_created(
    caller: &Caller,
    tree: &GroupTree,
    group: &StoredGroup,
    now: OffsetDateTime,
) -> Event {
    Event::new("device-group.create", DEVICE_MANAGER, caller, now)
        .subject(group_subject(&group.id))
        .data(&EventGroup::of(tree, group))
}

/// `device-group.update`: the group in the trees before and after its change.
pub(crate) fn group_updated(
    caller: &Caller,
    previous: (&GroupTree, &StoredGroup),
    updated: (&GroupTree, &StoredGroup),
    now: OffsetDateTime,
) -> Event {
    Event::new("device-group.update", DEVICE_MANAGER, caller, now)
        .subject(group_subject(&updated.1.id))
        .data(&Pair {
            previous: EventGroup::of(previous.0, previous.1),
            updated: EventGroup::of(updated.0, updated.1),
        })
}

/// `device-group.delete`
pub(crate) fn group_deleted(caller: &Caller, id: &DeviceGroupId, now: OffsetDateTime) -> Event {
    Event::new("device-group.delete", DEVICE_MANAGER, caller, now)
        .subject(group_subject(id))
        .data(&Deleted { id })
}

/// `device-group.action.update`
pub(crate) fn action_updated(caller: &Caller, action: &GroupAction, now: OffsetDateTime) -> Event {
    Event::new("device-group.action.update", DEVICE_MANAGER, caller, now)
        .subject(group_subject(&action.group_id))
        .data(action)
}
