//! Which groups a device is in, told from the device alone. Pure.
//!
//! Lists of members are queries. Where a device is in hand (it is read, or about to change), its groups
//! are told from what it has, also before it is stored; a test holds both ways against each other for
//! every operand of every field.

use lamassu_core::device::slot::SlotStatus;
use lamassu_core::device_group::GroupOfDevice;
use lamassu_core::query::{Field, FieldValue};
use lamassu_core::timestamp::Timestamp;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::group_tree::{GroupTree, StoredGroup};
use crate::store::{Slot, StoredDevice};

/// The groups that a device is in, each behind the one that it is below.
pub(crate) fn groups_of<'t>(
    tree: &'t GroupTree,
    device: &StoredDevice,
    now: OffsetDateTime,
) -> Vec<&'t StoredGroup> {
    let mut found = Vec::new();
    let mut open: Vec<&StoredGroup> = tree.children(None).map(AsRef::as_ref).collect();
    open.reverse();
    while let Some(group) = open.pop() {
        let mut rules = group.rules.iter().map(|rule| rule.filter(now));
        if !rules.all(|filter| filter.holds(&value(device, filter.field))) {
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

/// What the device has in a field's column.
fn value(stored: &StoredDevice, field: &Field) -> FieldValue {
    let device = &stored.device;
    match field.name {
        "id" => text(device.id.as_str()),
        "alias" => text(&stored.alias),
        "status" => text(device.status.name()),
        "tags" => FieldValue::Texts(device.tags.clone()),
        "icon" => text(&device.icon),
        "icon_color" => text(&device.icon_color),
        "metadata" => FieldValue::Json(Value::Object(device.metadata.clone())),
        "dms_owner" => text(device.dms_owner.as_str()),
        "creation_timestamp" => FieldValue::Instant(device.creation_timestamp.0),
        "updated_at" => FieldValue::Instant(stored.updated_at.0),
        "decommissioned_at" => instant(stored.decommissioned_at),
        "revision" => FieldValue::Number(stored.revision),
        "serial_number" => FieldValue::AnyOf(serial_numbers(stored)),
        "slots" => FieldValue::Json(further_slots(stored)),
        name => identity_value(stored, name),
    }
}

/// A slot that is empty is none yet.
fn identity_value(stored: &StoredDevice, field: &str) -> FieldValue {
    let used = |slot: &&Slot| slot.status != SlotStatus::Empty;
    let Some(slot) = stored.identity().filter(used) else {
        return FieldValue::Null;
    };
    match field {
        "identity" => {
            let shown = stored.device.identity.as_ref();
            FieldValue::Json(json!(shown))
        }
        "identity.status" => text(slot.status.name()),
        "identity.secret_type" => text(&slot.type_in_v1),
        "identity.active_version" => slot.active_version.map_or(FieldValue::Null, |version| {
            FieldValue::Number(version.into())
        }),
        "identity.expiration_date" => {
            instant(slot.windows.as_ref().map(|windows| windows.not_after))
        }
        "identity.serial_number" => slot
            .active_serial()
            .map_or(FieldValue::Null, |serial| text(serial.as_str())),
        _ => FieldValue::Null,
    }
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

fn instant(at: Option<Timestamp>) -> FieldValue {
    at.map_or(FieldValue::Null, |at| FieldValue::Instant(at.0))
}

fn serial_numbers(stored: &StoredDevice) -> Vec<String> {
    let versions = stored
        .slots
        .values()
        .flat_map(|slot| slot.versions.values());
    let serials = versions.filter_map(|version| version.serial_number.as_ref());
    serials.map(|serial| serial.as_str().to_owned()).collect()
}

/// As filters see them.
fn further_slots(stored: &StoredDevice) -> Value {
    let further = stored
        .slots
        .values()
        .filter(|slot| slot.name != lamassu_core::device::slot::IDENTITY);
    let shown = further.map(|slot| {
        let versions = slot.versions.values();
        let secrets = versions.map(|version| (version.version.to_string(), version.secret.clone()));
        let shown = json!({
            "name": slot.name,
            "status": slot.status,
            "secret_type": slot.secret_type,
            "active_version": slot.active_version,
            "secrets": secrets.collect::<Map<String, Value>>(),
            "expiration_date": slot.windows.as_ref().map(|windows| windows.not_after),
            "policy": slot.policy,
            "revision": slot.revision,
        });
        (slot.name.clone(), shown)
    });
    Value::Object(shown.collect())
}
