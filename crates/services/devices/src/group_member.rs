//! Which groups a device is in, told from the device alone. Pure.
//!
//! Lists of members are queries. Where a device is in hand (it is read, or about to change), its groups
//! are told from what it has, also before it is stored; a test holds both ways against each other for
//! every operand of every field.

use lamassu_core::device_group::GroupOfDevice;
use lamassu_core::query::{Field, FieldValue, Filter};
use serde_json::Value;

use crate::group_tree::{GroupTree, StoredGroup};
use crate::store::StoredDevice;

/// The groups that a device is in, each behind the one that it is below.
pub(crate) fn groups_of<'t>(tree: &'t GroupTree, device: &StoredDevice) -> Vec<&'t StoredGroup> {
    let mut found = Vec::new();
    let mut open: Vec<&StoredGroup> = tree.children(None).map(AsRef::as_ref).collect();
    open.reverse();
    while let Some(group) = open.pop() {
        if !group.filters.iter().all(|filter| fulfils(device, filter)) {
            continue;
        }
        found.push(group);
        let from = open.len();
        open.extend(tree.children(Some(&group.id)).map(AsRef::as_ref));
        if let Some(children) = open.get_mut(from..) {
            children.reverse();
        }
    }
    found
}

/// The groups on the wire.
pub(crate) fn shown(tree: &GroupTree, groups: &[&StoredGroup]) -> Vec<GroupOfDevice> {
    let show = |group: &&StoredGroup| {
        let chain = tree.chain(group);
        GroupOfDevice {
            id: group.id.clone(),
            name: group.document.name.clone(),
            depth: u32::try_from(chain.len()).unwrap_or(u32::MAX),
            path: chain
                .iter()
                .map(|group| group.document.name.clone())
                .collect(),
        }
    };
    groups.iter().map(show).collect()
}

fn fulfils(device: &StoredDevice, filter: &Filter) -> bool {
    filter.holds(&value(device, filter.field))
}

/// What the device has in a field's column.
fn value(stored: &StoredDevice, field: &Field) -> FieldValue {
    let device = &stored.device;
    match field.name {
        "id" => FieldValue::Text(device.id.as_str().to_owned()),
        "dms_owner" => FieldValue::Text(device.dms_owner.as_str().to_owned()),
        "creation_timestamp" => FieldValue::Instant(device.creation_timestamp.0),
        "status" => FieldValue::Text(device.status.name().to_owned()),
        "tags" => FieldValue::Texts(device.tags.clone()),
        "metadata" => FieldValue::Json(Value::Object(device.metadata.clone())),
        "identity_slot" => match &device.identity {
            Some(slot) => FieldValue::Json(serde_json::to_value(slot).unwrap_or_default()),
            None => FieldValue::Null,
        },
        _ => FieldValue::Null,
    }
}
