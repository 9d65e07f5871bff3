//! Tables of the device manager: SQL and rows, nothing else.

mod count;
mod details;
mod device;
mod follow_up;
mod group;
mod group_action;
mod group_renewal;
mod history;
mod slot;
mod value;
mod version;

use std::collections::BTreeMap;

use lamassu_core::device::slot::{IDENTITY, SecretType, SlotStatus};
use lamassu_core::device::{Device, DeviceStatus, IdentitySlot};
use lamassu_core::query::{ElementTable, Field, Hex};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Migration, Schema};
use serde_json::{Value as JsonValue, json};

pub(crate) use count::{CountBucket, by_status, counted, counters};
pub(crate) use details::{DeviceStore, device_postpone, due_devices, next_due};
pub(crate) use device::{device_delete, device_insert, device_update_members, device_update_slots};
pub(crate) use follow_up::{
    DueTask, due_tasks, follow_up_delete, follow_up_insert, follow_up_postpone, next_task,
};
pub(crate) use group::{
    GROUP, GROUPS, TREE, group_delete, group_depth, group_insert, group_tree, group_update,
    tree_changed, tree_revision,
};
pub use group::{GROUP_FIELDS, GROUP_FIELDS_IN_V2};
pub use group_action::ACTION_FIELDS;
pub(crate) use group_action::{
    ACTIONS, GROUP_COLUMN, MAX_ERRORS, STATE, StoredAction, action, action_insert, action_moved,
    action_progress, actions_cancel, actions_expire, error_insert, members, members_clear,
    members_count, members_done, members_insert, oldest_end, open_actions,
};
pub(crate) use group_renewal::{
    dms_windows, dms_windows_delete, dms_windows_put, renewal_due, renewal_followed,
    renewal_wanted, ruled_devices,
};
pub(crate) use history::{
    DEVICE_COLUMN, HISTORY, HISTORY_FIELDS, HistoryEntry, HistoryScope, SHADOW_UPDATED, Shadow,
    history_delete, history_insert, history_item,
};
pub(crate) use slot::{Slot, shown, slot_delete, slot_put};
pub(crate) use value::{
    VALUES, add_texts, complete_paths, devices_behind, devices_with, forget_paths,
    key as value_key, path_progress, path_put, time_span, values_insert, values_update,
};
pub(crate) use version::{
    Binding, SLOT_COLUMN, SLOT_VERSIONS, VERSION_FIELDS, Version, bindings, listed_version,
    version_delete, version_followed, version_put,
};

/// The tables of this crate.
pub const SCHEMA: Schema = Schema {
    name: "devices",
    migrations: &[
        Migration::portable(
            1,
            "devices",
            include_str!("../migrations/V0001__devices.sql"),
        ),
        Migration {
            version: 2,
            name: "device_listed",
            sqlite: include_str!("../migrations/V0002__device_listed.sqlite.sql"),
            postgres: include_str!("../migrations/V0002__device_listed.postgres.sql"),
        },
        Migration::portable(
            3,
            "followed_seq",
            include_str!("../migrations/V0003__followed_seq.sql"),
        ),
        Migration::portable(4, "slots", include_str!("../migrations/V0004__slots.sql")),
        Migration {
            version: 5,
            name: "slots_listed",
            sqlite: include_str!("../migrations/V0005__slots_listed.sqlite.sql"),
            postgres: include_str!("../migrations/V0005__slots_listed.postgres.sql"),
        },
        Migration::portable(
            6,
            "device_indexes",
            include_str!("../migrations/V0006__device_indexes.sql"),
        ),
        Migration {
            version: 7,
            name: "device_text",
            sqlite: include_str!("../migrations/V0007__device_text.sqlite.sql"),
            postgres: include_str!("../migrations/V0007__device_text.postgres.sql"),
        },
        Migration::portable(
            10,
            "device_groups",
            include_str!("../migrations/V0010__device_groups.sql"),
        ),
        Migration::portable(
            11,
            "group_actions",
            include_str!("../migrations/V0011__group_actions.sql"),
        ),
        Migration::portable(
            12,
            "group_renewal",
            include_str!("../migrations/V0012__group_renewal.sql"),
        ),
        Migration::portable(
            13,
            "issuers",
            include_str!("../migrations/V0013__issuers.sql"),
        ),
        Migration::portable(
            14,
            "device_scale",
            include_str!("../migrations/V0014__device_scale.sql"),
        ),
        Migration::portable(
            15,
            "follow_up_by_certificate",
            include_str!("../migrations/V0015__follow_up_by_certificate.sql"),
        ),
        Migration::portable(
            16,
            "event_comment",
            include_str!("../migrations/V0016__event_comment.sql"),
        ),
        Migration::portable(
            17,
            "follow_up_by_fingerprint",
            include_str!("../migrations/V0017__follow_up_by_fingerprint.sql"),
        ),
    ],
};

/// What devices can be filtered and sorted by.
pub static DEVICE_FIELDS: &[Field] = &[
    Field::string("id", "id")
        .folded("id_folded")
        .searched_in("device_text"),
    Field::string("dms_owner", "dms_owner").folded("owner_folded"),
    Field::date("creation_timestamp", "created_at"),
    Field::enumeration("status", STATUS_FIELD)
        .words(FORMER_WORDS)
        .choices(DeviceStatus::NAMES),
    Field::string_array("tags", "tags"),
    Field::json("metadata", "metadata"),
    Field::json("identity_slot", "identity_slot")
        .alias("identity")
        .nullable(),
];

/// What devices can be filtered and sorted by in v2: the members that it shows.
pub static DEVICE_FIELDS_IN_V2: &[Field] = &[
    Field::string("id", "id")
        .folded("id_folded")
        .searched_in("device_text"),
    Field::string("alias", "alias")
        .folded("alias_folded")
        .searched_in("device_text"),
    Field::enumeration("status", STATUS_FIELD)
        .words(FORMER_WORDS)
        .choices(DeviceStatus::NAMES),
    Field::string_array("tags", "tags"),
    Field::string("icon", "icon"),
    Field::string("icon_color", "icon_color"),
    Field::json("metadata", "metadata"),
    Field::string("dms_owner", "dms_owner").folded("owner_folded"),
    Field::date("creation_timestamp", "created_at"),
    Field::date("updated_at", "updated_at"),
    Field::date("decommissioned_at", "decommissioned_at").nullable(),
    Field::number("revision", "revision"),
    Field::json("identity", "identity_slot")
        .alias("identity_slot")
        .nullable(),
    Field::enumeration("identity.status", "slot_status")
        .words(FORMER_WORDS)
        .choices(SlotStatus::NAMES)
        .nullable(),
    Field::enumeration("identity.secret_type", "slot_type")
        .choices(SecretType::NAMES)
        .nullable(),
    Field::number("identity.active_version", "active_version").nullable(),
    Field::date("identity.expiration_date", END_COLUMN).nullable(),
    Field::string("identity.serial_number", "active_serial")
        .nullable()
        .hex(Hex::Number),
    Field::string("serial_number", "id")
        .elements_in(SERIAL_NUMBERS)
        .hex(Hex::Number),
    Field::json("slots", "slots"),
];

/// Words of other documents for a status.
const FORMER_WORDS: &[(&str, &str)] = &[
    ("RENEWAL_WINDOW", "RENEWAL_PENDING"),
    ("ABOUT_TO_EXPIRE", "EXPIRING_SOON"),
];

/// The certificates of all slots.
const SERIAL_NUMBERS: ElementTable = ElementTable {
    table: "certificate_of_device",
    owner: "device_id",
};

/// When the identity ends.
pub(crate) const END_COLUMN: &str = "not_after";

/// When a device was registered.
pub(crate) const CREATED_COLUMN: &str = "created_at";

/// What the criteria of groups are about.
pub(crate) static CRITERIA_FIELDS: &[Field] = DEVICE_FIELDS_IN_V2;

/// Column and field of the device status.
pub(crate) const STATUS_FIELD: &str = "status";

/// The column of the owning DMS.
pub(crate) const OWNER_COLUMN: &str = "dms_owner";

/// How devices are listed and counted.
pub(crate) const DEVICES: ListTable = ListTable {
    table: "device_listed",
    columns: &[
        "id",
        "alias",
        "tags",
        "status",
        "icon",
        "icon_color",
        "created_at",
        "updated_at",
        "decommissioned_at",
        "metadata",
        "dms_owner",
        "revision",
        "slot_status",
        "slot_type",
        "active_version",
        "not_after",
        "preventive_at",
        "critical_at",
        "slot_policy",
        "slot_created_at",
        "slot_updated_at",
        "slot_revision",
        "slot_version_floor",
    ],
    key: "id",
    created: CREATED_COLUMN,
    fields: DEVICE_FIELDS,
};

/// The same for v2.
pub(crate) const DEVICES_IN_V2: ListTable = ListTable {
    fields: DEVICE_FIELDS_IN_V2,
    ..DEVICES
};

/// The id of a device to insert is free.
pub(crate) const ID_FREE: Check = Check::new("device id");

/// A device is still at the revision that was read.
pub(crate) const REVISION: Check = Check::new("device revision");

/// A device as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredDevice {
    /// What v1 shows, with the newest history. Its slots are a projection of `slots`.
    pub(crate) device: Device,
    pub(crate) alias: String,
    pub(crate) updated_at: Timestamp,
    pub(crate) decommissioned_at: Option<Timestamp>,
    /// Counts the changes, from 1.
    pub(crate) revision: i64,
    /// All slots by name.
    pub(crate) slots: BTreeMap<String, Slot>,
    /// The last change of what clients write, if it is among the newest history.
    pub(crate) last_shadow: Option<Shadow>,
}

impl StoredDevice {
    /// The identity slot, perhaps an empty one.
    pub(crate) fn identity(&self) -> Option<&Slot> {
        self.slots.get(IDENTITY)
    }

    /// Makes what v1 shows of the slots anew. Slots that are empty are hidden from it.
    pub(crate) fn project(&mut self) {
        let used = |slot: &&Slot| slot.status != SlotStatus::Empty;
        self.device.identity = self.identity().filter(used).map(identity_in_v1);
        let others = self.slots.values().filter(|slot| slot.name != IDENTITY);
        self.device.slots = others
            .filter(used)
            .map(|slot| (slot.name.clone(), slot_in_v1(slot)))
            .collect();
    }
}

fn identity_in_v1(slot: &Slot) -> IdentitySlot {
    let certificates = slot.versions.values();
    let certificates =
        certificates.filter_map(|version| Some((version.version, version.serial_number.clone()?)));
    IdentitySlot {
        status: slot.status.of_device(),
        active_version: slot.active_version.unwrap_or_default(),
        slot_type: slot.type_in_v1.clone(),
        versions: certificates.collect(),
        expiration_date: slot.windows.as_ref().map(|windows| windows.not_after),
        events: slot.events.clone(),
    }
}

fn slot_in_v1(slot: &Slot) -> JsonValue {
    let versions = slot.versions.values();
    let versions: BTreeMap<u32, &JsonValue> = versions
        .map(|version| (version.version, &version.secret))
        .collect();
    let mut members = json!({
        "status": slot.status,
        "active_version": slot.active_version,
        "type": slot.secret_type,
        "versions": versions,
        "events": slot.events,
    });
    if let (Some(windows), Some(members)) = (&slot.windows, members.as_object_mut()) {
        members.insert("expiration_date".to_owned(), json!(windows.not_after));
    }
    members
}
