//! Retiring devices, and removing the records of those that are.
//!
//! A device that is retired takes every secret of its slots with it that is still good: certificates are
//! revoked by the CA service as soon as it answers, everything else is marked so at once.

use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{IDENTITY, SlotStatus};
use lamassu_core::device::v2::Decommission;
use lamassu_core::device::{Device, DeviceError, DeviceStatus, RegistryError};
use lamassu_core::ids::DeviceId;
use lamassu_core::revision::Precondition;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{Attempt, AuditRecord, CommitError, WriteSet, retry_races};

use crate::change::Change;
use crate::follow_up::{CERTIFICATES_JOB, Task};
use crate::service::DevicesService;
use crate::store::{
    HistoryScope, StoredDevice, device_delete, dms_windows_delete, follow_up_insert, history_delete,
};
use crate::{events, metrics};

const DECOMMISSIONED: &str = "DECOMMISSIONED";

impl DevicesService {
    pub(crate) async fn decommission_v1(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<Device, DeviceError> {
        retry_races(|| async {
            let stored = self.store.device(id).await?;
            let stored = stored.ok_or(DeviceError::Unknown)?;
            let after = self
                .retire(caller, stored, &Decommission::default())
                .await?;
            Ok(after.device)
        })
        .await
    }

    pub(crate) async fn decommission_v2(
        &self,
        caller: &Caller,
        id: &DeviceId,
        how: &Decommission,
        expected: &Precondition,
    ) -> Result<StoredDevice, RegistryError> {
        if !how.reason.is_final() {
            return Err(RegistryError::invalid("reason", Decommission::NOT_FINAL));
        }
        retry_races(|| async {
            let stored = self.stored(id, expected).await?;
            Ok(self.retire(caller, stored, how).await?)
        })
        .await
    }

    async fn retire(
        &self,
        caller: &Caller,
        stored: StoredDevice,
        how: &Decommission,
    ) -> Result<StoredDevice, CommitError> {
        if stored.device.status == DeviceStatus::Decommissioned {
            return Ok(stored);
        }
        let mut change = Change::of(&stored, self.change_by(caller));
        for slot in stored.slots.values() {
            for version in slot.versions.values() {
                if !version.is_over() {
                    change.revoke(&slot.name, version.version, how.reason);
                }
            }
            if !matches!(
                slot.status,
                SlotStatus::Empty | SlotStatus::Expired | SlotStatus::Revoked
            ) {
                change.revoke_slot(&slot.name);
            }
        }
        let now = change.now();
        change.after.device.status = DeviceStatus::Decommissioned;
        change.after.decommissioned_at = Some(Timestamp(now));
        let comment = how.comment.clone();
        change.record(HistoryScope::Device, DECOMMISSIONED, comment);
        let (set, after) = change.into_write_set("device.decommission");
        self.db.commit(set).await?;
        metrics::decommissioned();
        tracing::info!(device_id = %after.device.id, "device decommissioned");
        Ok(after)
    }

    pub(crate) async fn delete_v1(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<(), DeviceError> {
        retry_races(|| async {
            let stored = self.store.device(id).await?;
            let stored = stored.ok_or(DeviceError::Unknown)?;
            if stored.device.status != DeviceStatus::Decommissioned {
                return Err(DeviceError::NotDecommissioned.into());
            }
            Ok(self.remove(caller, &stored).await?)
        })
        .await
    }

    pub(crate) async fn purge_v2(
        &self,
        caller: &Caller,
        id: &DeviceId,
        expected: &Precondition,
    ) -> Result<(), RegistryError> {
        let attempt = || async {
            let stored = self.stored(id, expected).await?;
            if stored.device.status != DeviceStatus::Decommissioned {
                return Err(Attempt::from(RegistryError::NotDecommissioned));
            }
            Ok(self.remove(caller, &stored).await?)
        };
        retry_races(attempt).await
    }

    async fn remove(&self, caller: &Caller, stored: &StoredDevice) -> Result<(), CommitError> {
        let context = self.change_by(caller);
        let id = &stored.device.id;
        let mut set = WriteSet::new();
        device_delete(&mut set, stored);
        set.execute(dms_windows_delete(id));
        if !self.retain_history {
            set.execute(history_delete(id));
        }
        set.execute(context.bucket.remove(stored.device.status));
        for slot in stored.slots.values() {
            for version in slot.versions.values() {
                if let Some(certificate) = version.certificate() {
                    let task = Task::detach(&slot.name, certificate);
                    for statement in follow_up_insert(id, &task, context.now) {
                        set.execute(statement);
                    }
                    set.wake(CERTIFICATES_JOB);
                }
            }
        }
        set.event(events::device_deleted(caller, id, context.now));
        let subject = events::device_subject(id);
        set.audit(AuditRecord::done(
            caller,
            "device.delete",
            subject,
            context.now,
        ));
        let (groups, now) = (context.groups, context.now);
        groups.tell(&mut set, caller, Some(stored), None, now);
        self.db.commit(set).await?;
        tracing::info!(device_id = %id, "device deleted");
        Ok(())
    }
}

impl Change<'_> {
    /// The slot of a device that is retired is revoked; that is no news of its own for the device.
    fn revoke_slot(&mut self, name: &str) {
        let Some(slot) = self.slot(name) else { return };
        let old = std::mem::replace(&mut slot.status, SlotStatus::Revoked);
        let what = if name == IDENTITY {
            "Identity Slot Status"
        } else {
            "Slot Status"
        };
        let text = format!("{what} updated from '{old}' to '{}'", SlotStatus::Revoked);
        self.record(HistoryScope::Slot(name.to_owned()), "STATUS-UPDATED", text);
    }
}
