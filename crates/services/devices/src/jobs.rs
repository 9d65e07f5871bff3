//! Time: identity slots enter their renewal windows and expire.
//!
//! Each device stores when time alone changes it next, so the job reads what is due and sleeps
//! until the next due time. A run that is repeated finds nothing due and tells nothing twice.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::device::{DeviceError, DeviceStatus};
use lamassu_db::{Attempt, Job, JobError, NextRun, WriteSet, retry_races};
use time::{Duration, OffsetDateTime};

use crate::change::Change;
use crate::context::ChangeContext;
use crate::metrics;
use crate::service::DevicesService;
use crate::store::{StoredDevice, due_devices, next_due};

/// The job that moves identity slots through their windows; also its lease and its signal.
pub const WINDOWS_JOB: &str = "device-windows";

/// A change wakes the job only when it is due within this time, and the job never sleeps longer:
/// most bindings are due months ahead and should cost the job nothing.
pub(crate) const WAKE_HORIZON: Duration = Duration::minutes(10);

/// The job never sleeps shorter; a status is at most so late.
const MIN_SLEEP: Duration = Duration::milliseconds(500);

/// Devices per write set.
const BATCH: u32 = 64;

/// See [`WINDOWS_JOB`].
#[derive(Debug)]
pub(crate) struct WindowsJob {
    service: DevicesService,
}

impl WindowsJob {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// Changes the devices that are due longest; gives how many it changed.
    async fn advance(&self, context: ChangeContext<'_>) -> Result<usize, Attempt<DeviceError>> {
        let now = context.now;
        let ids = due_devices(&self.service.db, now, BATCH).await?;
        let devices = self.service.store.devices(&ids).await?;
        let mut set = WriteSet::new();
        let mut changed = Vec::with_capacity(devices.len());
        for stored in &devices {
            if let Some(status) = due_status(stored, now) {
                let mut change = Change::of(stored, context);
                change.set_slot_status(status);
                set.append(change.into_write_set("device.slot-status").0);
                changed.push((&stored.device.id, status));
            }
        }
        if !set.is_empty() {
            self.service.db.commit(set).await?;
        }
        for (device_id, status) in &changed {
            metrics::slot_status_changed(*status);
            tracing::info!(%device_id, %status, "identity slot status changed by time");
        }
        Ok(changed.len())
    }
}

/// The worse status that the slot has by now, if it has one.
fn due_status(stored: &StoredDevice, now: OffsetDateTime) -> Option<DeviceStatus> {
    let slot = stored.device.identity.as_ref()?;
    let status = stored.windows.as_ref()?.status_at(now);
    (status > slot.status).then_some(status)
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
