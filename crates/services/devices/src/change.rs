//! One change of a device: what it writes, what history says, what it tells.
//!
//! A change starts from a device as read and is a write set that holds only at that revision.
//! Nothing here does I/O. What each kind of change does is in the files of its verbs; here is what
//! they have in common: giving a slot its status, history, and the write set. Where next:
//! `change/versions.rs` for the versions of slots.

mod versions;

use std::collections::{BTreeMap, BTreeSet};

use lamassu_core::device::slot::{IDENTITY, SecretType, SlotStatus};
use lamassu_core::device::{DeviceEvent, DeviceStatus};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{AuditRecord, WriteSet};
use time::{Duration, OffsetDateTime};

pub(crate) use self::versions::{Activation, PROVISIONED, certificate_version};
use crate::context::ChangeContext;
use crate::events;
use crate::follow_up::{CERTIFICATES_JOB, Task};
use crate::jobs::{WAKE_HORIZON, WINDOWS_JOB};
use crate::renewal_windows::Kept;
use crate::store::{
    HistoryEntry, HistoryScope, REVISION, SHADOW_UPDATED, Slot, StoredDevice, Version,
    device_update_members, device_update_slots, follow_up_insert, history_insert, slot_delete,
    slot_put, values_update, version_delete, version_put,
};

const STATUS_UPDATED: &str = "STATUS-UPDATED";

/// A change under construction.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) context: ChangeContext<'a>,
    pub(crate) before: &'a StoredDevice,
    pub(crate) after: StoredDevice,
    history: Vec<HistoryEntry>,
    /// Whether members that clients write differ.
    members: bool,
    slots: BTreeSet<String>,
    versions: BTreeSet<(String, u32)>,
    tasks: Vec<Task>,
    /// What becomes of the windows that are kept for the identity.
    kept: Option<Kept>,
}

impl<'a> Change<'a> {
    /// A change of `before` that changes nothing yet.
    pub(crate) fn of(before: &'a StoredDevice, context: ChangeContext<'a>) -> Self {
        Self {
            context,
            before,
            after: before.clone(),
            history: Vec::new(),
            members: false,
            slots: BTreeSet::new(),
            versions: BTreeSet::new(),
            tasks: Vec::new(),
            kept: None,
        }
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.context.now
    }

    /// The slot as it will be; it will be written.
    pub(crate) fn slot(&mut self, name: &str) -> Option<&mut Slot> {
        let slot = self.after.slots.get_mut(name)?;
        self.slots.insert(name.to_owned());
        Some(slot)
    }

    /// The slot as it will be, made where there is none.
    pub(crate) fn slot_or_new(&mut self, name: &str, secret_type: SecretType) -> &mut Slot {
        self.slots.insert(name.to_owned());
        let now = self.context.now;
        let slots = &mut self.after.slots;
        slots
            .entry(name.to_owned())
            .or_insert_with(|| Slot::empty(name, secret_type, now))
    }

    /// A version as it will be; it will be written.
    pub(crate) fn version(&mut self, name: &str, number: u32) -> Option<&mut Version> {
        self.versions.insert((name.to_owned(), number));
        self.slot(name)?.versions.get_mut(&number)
    }

    /// Notes what becomes of the windows that are kept.
    pub(crate) fn keep_windows(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Has a certificate follow when the change is done.
    pub(crate) fn follow_up(&mut self, task: Task) {
        if !self.tasks.contains(&task) {
            self.tasks.push(task);
        }
    }

    /// Takes out a slot with its versions.
    pub(crate) fn remove_slot(&mut self, name: &str) {
        self.slots.insert(name.to_owned());
        self.after.slots.remove(name);
        let text = format!("Updated: slots.{name}");
        self.record(HistoryScope::Device, SHADOW_UPDATED, text);
    }

    /// Gives a slot another status, and with the identity's the device.
    pub(crate) fn set_slot_status(&mut self, name: &str, status: DeviceStatus) {
        let Some(new) = SlotStatus::from_device(status) else {
            return;
        };
        let Some(slot) = self.slot(name) else { return };
        let old = std::mem::replace(&mut slot.status, new);
        let text = match name {
            IDENTITY => "Identity Slot Status",
            _ => "Slot Status",
        };
        // A slot that has just been put to use has had no status before, as clients know it.
        if old != new && !(old == SlotStatus::Empty && new == SlotStatus::Active) {
            let old = if old == SlotStatus::Empty {
                SlotStatus::Active
            } else {
                old
            };
            let text = format!("{text} updated from '{old}' to '{new}'");
            self.record(HistoryScope::Slot(name.to_owned()), STATUS_UPDATED, text);
        }
        if name == IDENTITY {
            self.set_device_status(status);
        }
    }

    fn set_device_status(&mut self, status: DeviceStatus) {
        let old = self.after.device.status;
        if old != status && old != DeviceStatus::Decommissioned {
            self.after.device.status = status;
            let text = format!("Status updated from '{old}' to '{status}'");
            self.record(HistoryScope::Device, STATUS_UPDATED, text);
        }
    }

    /// Notes that members which clients write were changed, and which. Changes of the same caller
    /// within `coalesce` are one entry, whose time moves on.
    pub(crate) fn members_changed(&mut self, names: &[&str], coalesce: Duration) {
        self.members = true;
        let text = format!("Updated: {}", names.join(", "));
        let same = self.before.last_shadow.as_ref().filter(|last| {
            last.is_by(self.context.caller)
                && self.context.now - last.at.0 < coalesce
                // Nothing else happened since.
                && self.before.device.events.keys().next_back() == Some(&last.at)
        });
        let text = match same {
            Some(last) => {
                let at = last.at;
                let text = merged(&last.description, names);
                self.after.device.events.remove(&at);
                self.history.push(HistoryEntry::removal(at));
                text
            }
            None => text,
        };
        self.record(HistoryScope::Device, SHADOW_UPDATED, text);
    }

    /// Adds a history entry at the first free instant from now on: clients key history by time.
    pub(crate) fn record(&mut self, scope: HistoryScope, event_type: &str, description: String) {
        let (events, version) = match &scope {
            HistoryScope::Device => (&mut self.after.device.events, None),
            HistoryScope::Slot(name) => match self.after.slots.get_mut(name) {
                Some(slot) => (&mut slot.events, slot.active_version),
                None => return,
            },
        };
        let at = first_free(events, Timestamp(self.context.now));
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
            removes: false,
            comment: None,
        });
    }

    /// Adds history that a client wrote, unless it is there. What is older than the history that was read is
    /// passed over when it is written.
    pub(crate) fn record_at(&mut self, name: &str, at: Timestamp, event: DeviceEvent) {
        let at = at.truncated_to_micros();
        let Some(slot) = self.slot(name) else { return };
        if slot.events.contains_key(&at) {
            return;
        }
        slot.events.insert(at, event.clone());
        self.history.push(HistoryEntry {
            scope: HistoryScope::Slot(name.to_owned()),
            at,
            event,
            version: None,
            removes: false,
            comment: None,
        });
    }

    /// Whether anything differs.
    pub(crate) fn is_empty(&self) -> bool {
        !self.members && self.slots.is_empty() && self.history.is_empty() && self.tasks.is_empty()
    }

    /// The write set, audited as `operation`, and the device as it will be.
    pub(crate) fn into_write_set(mut self, operation: &'static str) -> (WriteSet, StoredDevice) {
        let ChangeContext {
            caller,
            now,
            bucket,
            groups,
            ..
        } = self.context;
        self.after.revision = self.before.revision.saturating_add(1);
        self.after.updated_at = Timestamp(now);
        for name in &self.slots {
            if let Some(slot) = self.after.slots.get_mut(name) {
                slot.revision = slot.revision.saturating_add(1);
                slot.updated_at = Timestamp(now);
            }
        }
        self.after.project();
        let mut set = WriteSet::new();
        self.write_rows(&mut set);
        let (before, after) = (&self.before.device, &self.after.device);
        if before.status != after.status {
            set.execute(bucket.moved(before.status, after.status));
            set.event(events::status_updated(caller, before, after, now));
        }
        if before.identity != after.identity {
            set.event(events::identity_updated(caller, before, after, now));
        }
        for name in self.slots.iter().filter(|name| *name != IDENTITY) {
            set.event(if self.after.slots.contains_key(name) {
                events::slot_updated(caller, before, after, name, now)
            } else {
                events::slot_deleted(caller, &after.id, name, now)
            });
        }
        if before.metadata != after.metadata {
            set.event(events::metadata_updated(caller, before, after, now));
        }
        if self.members && events::differ_beside_metadata(self.before, &self.after) {
            set.event(events::members_updated(caller, before, after, now));
        }
        let subject = events::device_subject(&after.id);
        set.audit(AuditRecord::done(caller, operation, subject, now));
        groups.tell(&mut set, caller, Some(self.before), Some(&self.after), now);
        (set, self.after)
    }

    fn write_rows(&self, set: &mut WriteSet) {
        let ChangeContext { caller, now, .. } = self.context;
        let device = &self.after.device;
        // One of the two moves the revision on; both hold only at the one that was read.
        if self.members {
            set.expect_one(device_update_members(&self.after), REVISION);
            values_update(set, &self.before.device, device, self.context.indexed);
        } else {
            set.expect_one(device_update_slots(&self.after), REVISION);
        }
        let mut due = Vec::new();
        for name in &self.slots {
            let Some(slot) = self.after.slots.get(name) else {
                for statement in slot_delete(&device.id, name) {
                    set.execute(statement);
                }
                continue;
            };
            if name != IDENTITY {
                set.execute(slot_put(&device.id, slot));
            }
            due.extend(slot.next_due());
        }
        for (name, number) in &self.versions {
            let slot = self.after.slots.get(name);
            match slot.and_then(|slot| slot.versions.get(number)) {
                Some(version) => {
                    set.execute(version_put(&device.id, name, version));
                    due.extend(version.next_due());
                }
                None => {
                    set.execute(version_delete(&device.id, name, *number));
                }
            }
        }
        if !self.history.is_empty() {
            for statement in history_insert(caller, &device.id, &self.history) {
                set.execute(statement);
            }
        }
        if let Some(kept) = self.kept {
            set.execute(kept.statement(&device.id));
        }
        for task in &self.tasks {
            for statement in follow_up_insert(&device.id, task, now) {
                set.execute(statement);
            }
            set.wake(CERTIFICATES_JOB);
        }
        if due
            .iter()
            .any(|due| due.0 <= now.saturating_add(WAKE_HORIZON))
        {
            set.wake(WINDOWS_JOB);
        }
    }
}

/// The members that an entry names and these, in their order.
fn merged(description: &str, names: &[&str]) -> String {
    let earlier = description.strip_prefix("Updated: ").unwrap_or_default();
    let is_named = |name: &&&str| names.contains(*name) || earlier.split(", ").any(|e| e == **name);
    let order = [
        "metadata",
        "tags",
        "alias",
        "icon",
        "icon_color",
        "dms_owner",
    ];
    let all: Vec<&str> = order.iter().filter(is_named).copied().collect();
    format!("Updated: {}", all.join(", "))
}

fn first_free(events: &BTreeMap<Timestamp, DeviceEvent>, from: Timestamp) -> Timestamp {
    let mut at = from;
    while events.contains_key(&at) {
        at = Timestamp(at.0.saturating_add(Duration::MICROSECOND));
    }
    at
}
