//! Time: slots enter their renewal windows and expire, overlaps of versions end.
//!
//! Each device, slot and version stores when time alone changes it next, so the job reads what is due and sleeps
//! until the next due time. A run that is repeated finds nothing due and tells nothing twice. A device that
//! cannot be read is put off, so that it neither holds up the others nor is forgotten.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{SlotStatus, VersionState};
use lamassu_core::device::{DeviceError, DeviceStatus};
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{Attempt, Job, JobError, NextRun, WriteSet, readable, retry_races};
use time::{Duration, OffsetDateTime};

use crate::change::Change;
use crate::context::ChangeContext;
use crate::metrics;
use crate::service::DevicesService;
use crate::store::{Slot, StoredDevice, device_postpone, due_devices, next_due};

/// The job that moves slots through their windows and ends overlaps; also its lease and its signal.
pub const WINDOWS_JOB: &str = "device-windows";

/// A change wakes the job only when it is due within this time, and the job never sleeps longer:
/// most bindings are due months ahead and should cost the job nothing.
pub(crate) const WAKE_HORIZON: Duration = Duration::minutes(10);

/// The job never sleeps shorter; a status is at most so late.
const MIN_SLEEP: Duration = Duration::milliseconds(500);

/// Devices per write set.
const BATCH: u32 = 64;

/// From one look at a device that cannot be read to the next.
const LOOK_AGAIN: Duration = Duration::minutes(1);

/// See [`WINDOWS_JOB`].
#[derive(Debug)]
pub(crate) struct WindowsJob {
    service: DevicesService,
}

impl WindowsJob {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// Changes the devices that are due longest; gives how many it changed or put off.
    async fn advance(&self, context: ChangeContext<'_>) -> Result<usize, Attempt<DeviceError>> {
        let now = context.now;
        let ids = due_devices(&self.service.db, now, BATCH).await?;
        let devices = self.service.store.devices(&ids).await?;
        let devices: Vec<StoredDevice> = devices.into_iter().filter_map(readable).collect();
        let mut set = WriteSet::new();
        let mut changed = Vec::with_capacity(devices.len());
        let mut touched = 0;
        let is_read = |id: &&DeviceId| devices.iter().any(|stored| stored.device.id == **id);
        for id in ids.iter().filter(|id| !is_read(id)) {
            for statement in device_postpone(id, now, now.saturating_add(LOOK_AGAIN)) {
                set.execute(statement);
            }
            touched += 1;
        }
        for stored in &devices {
            let mut change = Change::of(stored, context);
            for slot in stored.slots.values() {
                end_versions(&mut change, slot, now);
                if let Some(status) = due_status(slot, now) {
                    expire_active(&mut change, slot, status);
                    change.set_slot_status(&slot.name, status);
                    changed.push((&stored.device.id, status));
                }
            }
            if !change.is_empty() {
                set.append(change.into_write_set("device.slot-status").0);
                touched += 1;
            }
        }
        if !set.is_empty() {
            self.service.db.commit(set).await?;
        }
        for (device_id, status) in &changed {
            metrics::slot_status_changed(*status);
            tracing::info!(%device_id, %status, "slot status changed by time");
        }
        Ok(touched)
    }
}

/// The worse status that the slot has by now, if it has one.
fn due_status(slot: &Slot, now: OffsetDateTime) -> Option<DeviceStatus> {
    if slot.status == SlotStatus::Empty {
        return None;
    }
    let status = slot.windows.as_ref()?.status_at(now);
    (status > slot.status.of_device()).then_some(status)
}

/// The active version expires with its slot.
fn expire_active(change: &mut Change<'_>, slot: &Slot, status: DeviceStatus) {
    let expired = status == DeviceStatus::Expired;
    if let Some(active) = slot.active_version.filter(|_| expired)
        && let Some(version) = change.version(&slot.name, active)
    {
        version.state = VersionState::Expired;
    }
}

/// Overlaps end, and what is not in use expires.
fn end_versions(change: &mut Change<'_>, slot: &Slot, now: OffsetDateTime) {
    let is_past = |at: Option<Timestamp>| at.is_some_and(|at| at.0 <= now);
    for version in slot.versions.values() {
        if !is_past(version.next_due()) {
            continue;
        }
        if is_past(version.expires_at) {
            if let Some(version) = change.version(&slot.name, version.version) {
                version.state = VersionState::Expired;
            }
        } else {
            change.end_overlap(&slot.name, version.version);
        }
    }
    change.trim_versions(&slot.name);
}

#[async_trait]
impl Job for WindowsJob {
    fn name(&self) -> &'static str {
        WINDOWS_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let context = ChangeContext {
            now,
            ..self.service.change_by(caller)
        };
        while retry_races(|| self.advance(context)).await? > 0 {}
        let horizon = now.saturating_add(WAKE_HORIZON);
        let due = next_due(&self.service.db).await?;
        let due = due.map_or(horizon, |due| due.min(horizon));
        // What is due and was not changed waits for somebody to look; it must not spin.
        Ok(NextRun::At(due.max(now.saturating_add(MIN_SLEEP))))
    }
}
