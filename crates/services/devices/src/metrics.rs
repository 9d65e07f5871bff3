//! Metrics of the device manager.

use ::metrics::{counter, describe_counter};
use lamassu_core::device::DeviceStatus;
use lamassu_core::device_group::ActionState;

/// Devices registered.
pub const CREATED: &str = "lamassu_devices_created_total";
/// Identities bound.
pub const BOUND: &str = "lamassu_devices_identities_bound_total";
/// Slots that changed their status by time or by their certificate, by new status.
pub const SLOT_STATUS: &str = "lamassu_devices_slot_status_changes_total";

/// Device groups made, changed and deleted, by what was done.
pub const GROUPS_CHANGED: &str = "lamassu_devices_group_changes_total";
/// Certificates that followed their devices, by what became of them.
pub const FOLLOWED: &str = "lamassu_devices_certificates_followed_total";
/// Devices retired.
pub const DECOMMISSIONED: &str = "lamassu_devices_decommissioned_total";

/// Actions on the members of device groups that are over, by how they ended.
pub const ACTIONS_OVER: &str = "lamassu_devices_group_actions_total";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(CREATED, "Devices registered");
    describe_counter!(BOUND, "Identities bound to devices");
    describe_counter!(
        FOLLOWED,
        "Certificates that were revoked, attached or detached because of their devices"
    );
    describe_counter!(DECOMMISSIONED, "Devices retired");
    describe_counter!(
        SLOT_STATUS,
        "Slots that changed their status by time or by their certificate"
    );
    describe_counter!(
        ACTIONS_OVER,
        "Actions on the members of device groups that are over, by how they ended"
    );
    describe_counter!(
        GROUPS_CHANGED,
        "Device groups made, changed and deleted, by what was done"
    );
}

pub(crate) fn created() {
    counter!(CREATED).increment(1);
}

pub(crate) fn bound() {
    counter!(BOUND).increment(1);
}

pub(crate) fn followed(task: &'static str) {
    counter!(FOLLOWED, "task" => task).increment(1);
}

pub(crate) fn decommissioned() {
    counter!(DECOMMISSIONED).increment(1);
}

pub(crate) fn slot_status_changed(status: DeviceStatus) {
    counter!(SLOT_STATUS, "status" => status.name()).increment(1);
}

pub(crate) fn groups_changed(change: &'static str, n_groups: usize) {
    let n_groups = u64::try_from(n_groups).unwrap_or(u64::MAX);
    counter!(GROUPS_CHANGED, "change" => change).increment(n_groups);
}

pub(crate) fn action_over(state: ActionState) {
    counter!(ACTIONS_OVER, "state" => state.word()).increment(1);
}
