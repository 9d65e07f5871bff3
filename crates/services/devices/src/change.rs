//! One change of a device: what it writes, what history says, what it tells.
//!
//! A change starts from a device as read and is a write set that holds only at that revision.
//! Nothing here does I/O. What each kind of change does is in the files of its verbs; here is what
//! they have in common: activating a version, giving a slot its status, history, and the write set.

use std::collections::{BTreeMap, BTreeSet};

use lamassu_core::ca::enrollment::Revoke;
use lamassu_core::ca::{Certificate, CertificateRef, CertificateStatus, RenewalWindows};
use lamassu_core::device::slot::{
    IDENTITY, SecretType, SlotStatus, SupersededPolicy, VersionState,
};
use lamassu_core::device::{BindIdentity, DeviceEvent, DeviceStatus};
use lamassu_core::device_group::SlotDefaults;
use lamassu_core::duration::WireDuration;
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_crypto::HashAlgorithm;
use lamassu_db::{AuditRecord, WriteSet};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::context::ChangeContext;
use crate::events;
use crate::follow_up::{CERTIFICATES_JOB, Task};
use crate::group_policy::{slot_defaults, superseded_policy};
use crate::jobs::{WAKE_HORIZON, WINDOWS_JOB};
use crate::lifecycle::{Windows, status_of_certificate};
use crate::renewal_windows::of_policy;
use crate::store::{
    HistoryEntry, HistoryScope, REVISION, SHADOW_UPDATED, Slot, StoredDevice, Version,
    device_update_members, device_update_slots, dms_windows_delete, dms_windows_put,
    follow_up_insert, history_insert, slot_delete, slot_put, values_update, version_delete,
    version_put,
};

pub(crate) const PROVISIONED: &str = "PROVISIONED";
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

/// Windows of an identity for the day that its policy and groups say nothing any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// These.
    Windows(RenewalWindows),
    /// None: they apply now.
    Nothing,
}

/// How a version becomes the active one.
#[derive(Clone, Debug)]
pub(crate) struct Activation<'t> {
    /// Type and text of the history entry.
    pub(crate) entry: (&'t str, String),
    /// What the caller says of it.
    pub(crate) comment: Option<&'t str>,
    /// How long the version before stays valid; `None` as long as it does by itself.
    pub(crate) overlap: Option<WireDuration>,
    /// Whether that one is revoked then.
    pub(crate) revoke_superseded: bool,
    /// When the version enters its windows, if it ends.
    pub(crate) windows: Option<Windows>,
    /// The status that its certificate has, if that is not a good one.
    pub(crate) status: Option<DeviceStatus>,
}

impl Activation<'_> {
    /// Whether the version before is revoked after its overlap, which may be none.
    const fn revokes_at_the_end(&self) -> bool {
        self.overlap.is_some() && self.revoke_superseded
    }
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

    /// Has a certificate follow when the change is done.
    pub(crate) fn follow_up(&mut self, task: Task) {
        self.tasks.push(task);
    }

    pub(crate) fn keep_windows(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Makes the certificate the active version of the identity slot; gives the windows that it has, which are
    /// these unless the slot's policy says otherwise.
    pub(crate) fn bind(&mut self, request: &BindIdentity) -> RenewalWindows {
        let BindIdentity {
            certificate,
            mode,
            windows: issued,
            dms,
            ..
        } = request;
        let now = self.now();
        let policy = self.superseded_policy(IDENTITY);
        let by_dms = dms.settings.reenrollment_settings.revoke_on_reenrollment;
        if request.revoke_superseded == Revoke::Yes {
            self.revoked_by_ca(IDENTITY);
        }
        let slot = self.slot_or_new(IDENTITY, SecretType::X509);
        let windows = of_policy(&slot.policy).over(*issued);
        let is_first = slot.status == SlotStatus::Empty;
        let waiting = slot.versions.values().find(|version| {
            version.state == VersionState::Pending
                && version.serial_number.as_ref() == Some(&certificate.serial_number)
                && version.authority_key_id == certificate.authority_key_id
        });
        let number = match waiting {
            Some(version) => version.version,
            None => {
                let version = certificate_version(slot.next_version(), certificate, now);
                let number = version.version;
                slot.versions.insert(number, version);
                number
            }
        };
        // The first binding is told as such, whatever mode was asked for.
        let entry = if is_first {
            (PROVISIONED, String::new())
        } else {
            (mode.as_str(), format!("New Active Version set to {number}"))
        };
        if let Some(version) = self.version(IDENTITY, number) {
            version.bind_mode = Some(entry.0.to_owned());
            if certificate.status == CertificateStatus::Revoked {
                version.revoked_at = Some(certificate.revocation_timestamp.truncated_to_micros());
                version.revocation_reason = Some(certificate.revocation_reason);
            }
        }
        // A certificate that is revoked already never looks usable.
        let status = status_of_certificate(certificate.status);
        let activation = Activation {
            entry,
            comment: None,
            overlap: policy.overlap,
            revoke_superseded: policy.revoke_superseded.unwrap_or(by_dms),
            windows: Some(Windows::of(certificate.valid_to, windows)),
            status: status.filter(|status| *status == DeviceStatus::Revoked),
        };
        self.activate(IDENTITY, number, activation);
        // What was there before this binding may still have to lose a former attachment.
        if windows != *issued || request.announce.is_none() {
            self.attach(IDENTITY, (&**certificate).into(), windows);
        }
        windows
    }

    /// Notes that the CA service revokes the certificate in use, which is about to be replaced. It leaves alone what
    /// is revoked for good.
    fn revoked_by_ca(&mut self, name: &str) {
        let now = Timestamp(self.now());
        let Some(slot) = self.before.slots.get(name) else {
            return;
        };
        let replaced = |version: &&Version| {
            let active = slot.active();
            !version.is_over() && active.is_some_and(|active| version.is_same_certificate(active))
        };
        for version in slot.versions.values().filter(replaced) {
            self.mark_revoked(name, version.version, RevocationReason::Superseded);
            if let Some(version) = self.version(name, version.version) {
                version.superseded_at = version.superseded_at.or(Some(now));
            }
        }
    }

    /// Makes a version the active one; the one before stays valid for the overlap.
    pub(crate) fn activate(&mut self, name: &str, number: u32, activation: Activation<'_>) {
        let now = self.now();
        let Some(slot) = self.slot(name) else { return };
        let before = slot.active_version.filter(|before| *before != number);
        slot.active_version = Some(number);
        slot.windows = activation.windows;
        self.retire_doubles(name, number);
        if let Some(before) = before {
            self.supersede(name, before, &activation);
        }
        let status = activation.status.unwrap_or(DeviceStatus::Active);
        if let Some(version) = self.version(name, number) {
            version.state = if status == DeviceStatus::Revoked {
                VersionState::Revoked
            } else {
                VersionState::Active
            };
            version.activated_at = version.activated_at.or(Some(Timestamp(now)));
            version.superseded_at = None;
            version.overlap_until = None;
            version.revoke_after = false;
        }
        let (event_type, text) = activation.entry;
        self.record(HistoryScope::Slot(name.to_owned()), event_type, text);
        if let Some(entry) = self.history.last_mut() {
            entry.comment = activation.comment.map(str::to_owned);
        }
        self.set_slot_status(name, status);
        self.trim_versions(name);
    }

    /// A certificate that is in use under this number is out of use under every other one, so that no end of an
    /// overlap revokes it.
    pub(crate) fn retire_doubles(&mut self, name: &str, number: u32) {
        let now = Timestamp(self.now());
        let Some(slot) = self.after.slots.get(name) else {
            return;
        };
        let Some(used) = slot.versions.get(&number) else {
            return;
        };
        let others = slot.versions.values().filter(|version| {
            version.version != number
                && !version.state.is_final()
                && version.is_same_certificate(used)
        });
        let doubles: Vec<u32> = others.map(|version| version.version).collect();
        for double in doubles {
            if let Some(version) = self.version(name, double) {
                version.state = VersionState::Retired;
                version.superseded_at = version.superseded_at.or(Some(now));
                version.overlap_until = None;
            }
        }
    }

    fn supersede(&mut self, name: &str, number: u32, activation: &Activation<'_>) {
        let now = self.now();
        let Some(version) = self.version(name, number) else {
            return;
        };
        if version.state != VersionState::Active {
            if version.is_on_hold() && activation.revokes_at_the_end() {
                // An overlap is of no use to it, and a release would make it good again.
                self.revoke(name, number, RevocationReason::Superseded);
            }
            return;
        }
        version.state = VersionState::Superseded;
        version.superseded_at = Some(Timestamp(now));
        version.revoke_after = activation.revoke_superseded;
        version.overlap_until = activation
            .overlap
            .map(|overlap| Timestamp(now.saturating_add(overlap.into())).truncated_to_micros());
        if activation.overlap == Some(WireDuration::ZERO) {
            self.end_overlap(name, number);
        }
    }

    /// What becomes of a superseded version when its overlap is over.
    pub(crate) fn end_overlap(&mut self, name: &str, number: u32) {
        let Some(version) = self.version(name, number) else {
            return;
        };
        if version.revoke_after {
            self.revoke(name, number, RevocationReason::Superseded);
        } else {
            version.state = VersionState::Retired;
            version.overlap_until = None;
        }
    }

    /// What becomes of versions that are replaced.
    pub(crate) fn superseded_policy(&self, name: &str) -> SupersededPolicy {
        superseded_policy(self.after.slots.get(name), &self.slot_defaults())
    }

    /// What the groups of the device say of its slots, where those say nothing themselves.
    fn slot_defaults(&self) -> SlotDefaults {
        slot_defaults(&self.context.groups.get(), &self.after, self.context.now)
    }

    /// Takes out the oldest versions that are out of use, beyond as many as the policy allows.
    pub(crate) fn trim_versions(&mut self, name: &str) {
        let Some(slot) = self.after.slots.get(name) else {
            return;
        };
        let max = match slot.policy.max_versions {
            0 => self.slot_defaults().max_versions.unwrap_or(0),
            max => max,
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        if max == 0 || slot.versions.len() <= max {
            return;
        }
        let excess = slot.versions.len().saturating_sub(max);
        let out_of_use = slot.versions.values().filter(|version| {
            let is_out = version.is_over() || version.state == VersionState::Retired;
            is_out && slot.active_version != Some(version.version)
        });
        let numbers: Vec<u32> = out_of_use
            .take(excess)
            .map(|version| version.version)
            .collect();
        for number in numbers {
            self.remove_version(name, number);
        }
    }

    /// Takes out a slot with its versions.
    pub(crate) fn remove_slot(&mut self, name: &str) {
        self.slots.insert(name.to_owned());
        self.after.slots.remove(name);
        let text = format!("Updated: slots.{name}");
        self.record(HistoryScope::Device, SHADOW_UPDATED, text);
    }

    /// Takes out a version; its number is not given again.
    pub(crate) fn remove_version(&mut self, name: &str, number: u32) {
        self.versions.insert((name.to_owned(), number));
        if let Some(slot) = self.slot(name) {
            slot.versions.remove(&number);
            slot.version_floor = slot.version_floor.max(number.saturating_add(1));
        }
    }

    /// Revokes a version, or puts it on hold; a certificate follows. The slot keeps its status.
    pub(crate) fn revoke(&mut self, name: &str, number: u32, reason: RevocationReason) {
        self.mark_revoked(name, number, reason);
        let slot = self.after.slots.get(name);
        let version = slot.and_then(|slot| slot.versions.get(&number));
        if let Some(certificate) = version.and_then(Version::certificate) {
            self.follow_up(Task::revoke(name, certificate, reason));
        }
    }

    fn mark_revoked(&mut self, name: &str, number: u32, reason: RevocationReason) {
        let now = self.now();
        let Some(version) = self.version(name, number) else {
            return;
        };
        let before = std::mem::replace(&mut version.state, VersionState::Revoked);
        if reason == RevocationReason::CertificateHold {
            version.before_hold = Some(before);
        } else {
            version.before_hold = None;
            version.overlap_until = None;
        }
        version.revoked_at = Some(Timestamp(now));
        version.revocation_reason = Some(reason);
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
            set.execute(match kept {
                Kept::Windows(windows) => dms_windows_put(&device.id, windows),
                Kept::Nothing => dms_windows_delete(&device.id),
            });
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

/// SHA-256 of the certificate, hex.
fn fingerprint(certificate: &CertificateDer) -> String {
    hex::encode(HashAlgorithm::Sha256.digest(certificate.der()))
}

/// A certificate as a version that is not used yet.
pub(crate) fn certificate_version(
    number: u32,
    certificate: &Certificate,
    now: OffsetDateTime,
) -> Version {
    let serial = &certificate.serial_number;
    Version {
        serial_number: Some(serial.clone()),
        authority_key_id: certificate.authority_key_id.clone(),
        ca: CertificateRef::from(certificate).ca,
        fingerprint: Some(fingerprint(&certificate.certificate)),
        public_key_id: Some(certificate.subject_key_id.clone()),
        expires_at: Some(certificate.valid_to.truncated_to_micros()),
        ..Version::pending(number, Value::from(serial.as_str()), now)
    }
}
