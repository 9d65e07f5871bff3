//! Tables of the device manager: SQL and rows, nothing else.

mod count;
mod details;
mod device;
mod group;
mod history;
mod identity_version;

use lamassu_core::device::Device;
use lamassu_core::query::Field;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Migration, Schema};

pub(crate) use count::{CountBucket, counted};
pub(crate) use details::{DeviceStore, due_devices, next_due};
pub(crate) use device::{device_insert, device_update_identity};
pub use group::GROUP_FIELDS;
pub(crate) use group::{
    GROUP, GROUPS, TREE, group_delete, group_depth, group_insert, group_tree, group_update,
    tree_changed, tree_revision,
};
pub(crate) use history::{HistoryEntry, HistoryScope, history_insert};
pub(crate) use identity_version::{
    ActiveBinding, IdentityVersion, active_bindings, version_followed, version_insert,
};

use crate::lifecycle::Windows;

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
        Migration::portable(
            10,
            "device_groups",
            include_str!("../migrations/V0010__device_groups.sql"),
        ),
    ],
};

/// What devices can be filtered and sorted by.
pub static DEVICE_FIELDS: &[Field] = &[
    Field::string("id", "id").folded("id_folded"),
    Field::string("dms_owner", "dms_owner").folded("owner_folded"),
    Field::date("creation_timestamp", "created_at"),
    Field::enumeration("status", STATUS_FIELD).words(&[
        ("RENEWAL_WINDOW", "RENEWAL_PENDING"),
        ("ABOUT_TO_EXPIRE", "EXPIRING_SOON"),
    ]),
    Field::string_array("tags", "tags"),
    Field::json("metadata", "metadata"),
    Field::json("identity_slot", "identity_slot")
        .alias("identity")
        .nullable(),
];

/// What the criteria of groups are about.
pub(crate) static CRITERIA_FIELDS: &[Field] = DEVICE_FIELDS;

/// Column and field of the device status.
pub(crate) const STATUS_FIELD: &str = "status";

/// The column of the owning DMS.
pub(crate) const OWNER_COLUMN: &str = "dms_owner";

/// How devices are listed and counted.
pub(crate) const DEVICES: ListTable = ListTable {
    table: "device_listed",
    columns: &[
        "id",
        "tags",
        "status",
        "icon",
        "icon_color",
        "created_at",
        "metadata",
        "dms_owner",
        "revision",
        "slot_status",
        "slot_type",
        "active_version",
        "not_after",
        "preventive_at",
        "critical_at",
    ],
    key: "id",
    created: "created_at",
    fields: DEVICE_FIELDS,
};

/// The id of a device to insert is free.
pub(crate) const ID_FREE: Check = Check::new("device id");

/// A device is still at the revision that was read.
pub(crate) const REVISION: Check = Check::new("device revision");

/// A device as stored: what the wire shows of it, and what the wire does not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredDevice {
    /// What the wire shows, with the newest history.
    pub(crate) device: Device,
    /// Counts the changes, from 1.
    pub(crate) revision: i64,
    /// When the active certificate enters its windows; there is one where there is an identity.
    pub(crate) windows: Option<Windows>,
}
