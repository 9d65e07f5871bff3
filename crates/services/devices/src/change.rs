//! One change of a device's identity: what it writes, what history says, what it tells.
//!
//! A change starts from a device as read and is a write set that holds only at that revision.
//! Nothing here does I/O.

use std::collections::BTreeMap;

use lamassu_core::ca::{Certificate, RenewalWindows};
use lamassu_core::device::{DeviceEvent, DeviceStatus, IdentitySlot};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{AuditRecord, WriteSet};
use time::Duration;

use crate::context::ChangeContext;
use crate::events;
use crate::jobs::{WAKE_HORIZON, WINDOWS_JOB};
use crate::lifecycle::{Windows, status_of_certificate};
use crate::store::{
    HistoryEntry, HistoryScope, IdentityVersion, REVISION, StoredDevice, device_update_identity,
    history_insert, version_insert,
};

const PROVISIONED: &str = "PROVISIONED";
const STATUS_UPDATED: &str = "STATUS-UPDATED";

/// The type of every identity slot.
const X509: &str = "x509";

/// A change under construction.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    context: ChangeContext<'a>,
    before: &'a StoredDevice,
    after: StoredDevice,
    history: Vec<HistoryEntry>,
    version: Option<IdentityVersion>,
}

impl<'a> Change<'a> {
    /// A change of `before` that changes nothing yet.
    pub(crate) fn of(before: &'a StoredDevice, context: ChangeContext<'a>) -> Self {
        Self {
            context,
            before,
            after: before.clone(),
            history: Vec::new(),
            version: None,
        }
    }

    /// Makes the certificate the active version of the identity slot.
    pub(crate) fn bind(&mut self, certificate: &Certificate, mode: &str, windows: RenewalWindows) {
        self.after.windows = Some(Windows::of(certificate.valid_to, windows));
        let version = match &mut self.after.device.identity {
            slot @ None => {
                *slot = Some(first_slot(certificate));
                0
            }
            Some(slot) => next_version(slot, certificate),
        };
        self.version = Some(IdentityVersion {
            version,
            serial_number: certificate.serial_number.clone(),
            authority_key_id: certificate.authority_key_id.clone(),
        });
        // The first binding is told as such, whatever mode was asked for.
        let (mode, description) = if self.before.device.identity.is_some() {
            (mode, format!("New Active Version set to {version}"))
        } else {
            (PROVISIONED, String::new())
        };
        self.record(HistoryScope::Identity, mode, description);
        // A certificate that is revoked already never looks usable.
        let revoked = status_of_certificate(certificate.status) == Some(DeviceStatus::Revoked);
        self.set_slot_status(if revoked {
            DeviceStatus::Revoked
        } else {
            DeviceStatus::Active
        });
    }

    /// Gives the identity slot, and with it the device, another status.
    pub(crate) fn set_slot_status(&mut self, status: DeviceStatus) {
        let Some(slot) = &mut self.after.device.identity else {
            return;
        };
        let old = std::mem::replace(&mut slot.status, status);
        if old != status {
            let text = format!("Identity Slot Status updated from '{old}' to '{status}'");
            self.record(HistoryScope::Identity, STATUS_UPDATED, text);
        }
        let old = std::mem::replace(&mut self.after.device.status, status);
        if old != status {
            let text = format!("Status updated from '{old}' to '{status}'");
            self.record(HistoryScope::Device, STATUS_UPDATED, text);
        }
    }

    /// Adds a history entry at the first free instant from now on: clients key history by time.
    fn record(&mut self, scope: HistoryScope, event_type: &str, description: String) {
        let device = &mut self.after.device;
        let (events, version) = match (scope, &mut device.identity) {
            (HistoryScope::Device, _) => (&mut device.events, None),
            (HistoryScope::Identity, Some(slot)) => (&mut slot.events, Some(slot.active_version)),
            (HistoryScope::Identity, None) => return,
        };
        let mut at = Timestamp(self.context.now);
        while events.contains_key(&at) {
            at = Timestamp(at.0.saturating_add(Duration::MICROSECOND));
        }
        let event = DeviceEvent {
            event_type: event_type.to_owned(),
            description,
        };
        events.insert(at, event.clone());
        self.history.push(HistoryEntry {
            scope,
            at,
            event,
            version,
        });
    }

    /// The write set, audited as `operation`, and the device as it will be.
    pub(crate) fn into_write_set(mut self, operation: &'static str) -> (WriteSet, StoredDevice) {
        let ChangeContext {
            caller,
            now,
            bucket,
        } = self.context;
        self.after.revision = self.before.revision.saturating_add(1);
        let mut set = WriteSet::new();
        self.write_rows(&mut set);
        let (before, after) = (&self.before.device, &self.after.device);
        if before.status != after.status {
            set.execute(bucket.moved(before.status, after.status));
            set.event(events::status_updated(caller, before, after, now));
        }
        set.event(events::identity_updated(caller, before, after, now));
        let subject = events::device_subject(&after.id);
        set.audit(AuditRecord::done(caller, operation, subject, now));
        (set, self.after)
    }

    fn write_rows(&self, set: &mut WriteSet) {
        let ChangeContext { caller, now, .. } = self.context;
        let device = &self.after.device;
        let next_due = self.next_due();
        set.expect_one(device_update_identity(&self.after, next_due), REVISION);
        if let Some(version) = &self.version {
            set.execute(version_insert(&device.id, version, now));
        }
        if !self.history.is_empty() {
            set.execute(history_insert(caller, &device.id, &self.history));
        }
        if next_due.is_some_and(|due| due.0 <= now.saturating_add(WAKE_HORIZON)) {
            set.wake(WINDOWS_JOB);
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        let slot = self.after.device.identity.as_ref()?;
        self.after.windows.as_ref()?.next_due(slot.status)
    }
}

/// The slot of a device that gets its first certificate.
fn first_slot(certificate: &Certificate) -> IdentitySlot {
    IdentitySlot {
        status: DeviceStatus::Active,
        active_version: 0,
        slot_type: X509.to_owned(),
        versions: [(0, certificate.serial_number.clone())].into(),
        expiration_date: Some(certificate.valid_to.truncated_to_micros()),
        events: BTreeMap::new(),
    }
}

/// Puts the certificate into the slot under the number after the highest ever used.
fn next_version(slot: &mut IdentitySlot, certificate: &Certificate) -> u32 {
    let highest = slot.versions.keys().next_back().copied();
    let version = highest.map_or(0, |highest| highest.saturating_add(1));
    slot.versions
        .insert(version, certificate.serial_number.clone());
    slot.active_version = version;
    slot.expiration_date = Some(certificate.valid_to.truncated_to_micros());
    version
}
