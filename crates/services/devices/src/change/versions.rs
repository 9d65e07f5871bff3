//! Versions of a slot within a change: which one is in use, and what becomes of those before.

use lamassu_core::ca::enrollment::Revoke;
use lamassu_core::ca::{Certificate, CertificateRef, CertificateStatus, RenewalWindows};
use lamassu_core::device::slot::{
    IDENTITY, SecretType, SlotStatus, SupersededPolicy, VersionState,
};
use lamassu_core::device::{BindIdentity, DeviceStatus};
use lamassu_core::device_group::SlotDefaults;
use lamassu_core::duration::WireDuration;
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_crypto::HashAlgorithm;
use serde_json::Value;
use time::OffsetDateTime;

use super::Change;
use crate::follow_up::Task;
use crate::group_policy::{slot_defaults, superseded_policy};
use crate::lifecycle::{Windows, status_of_certificate};
use crate::renewal_windows::of_policy;
use crate::store::{HistoryScope, Version};

pub(crate) const PROVISIONED: &str = "PROVISIONED";

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

impl Change<'_> {
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

    /// Takes out a version; its number is not given again.
    pub(crate) fn remove_version(&mut self, name: &str, number: u32) {
        self.versions.insert((name.to_owned(), number));
        let Some(slot) = self.slot(name) else { return };
        slot.version_floor = slot.version_floor.max(number.saturating_add(1));
        let gone = slot.versions.remove(&number);
        // Only v1 takes out the certificate that the device uses, as clients do that write a slot from an older copy.
        if let Some(gone) = gone.filter(|gone| gone.state != VersionState::Active) {
            self.let_go(name, &gone);
        }
    }

    /// Has the certificate of a version that is gone lose its attachment, and its validity where that was to come:
    /// the slot was the last that knew of it. One that is bound again goes on under its new number.
    ///
    /// What a renewal superseded is revoked by whoever renews. A crash puts that off until the sweep, which looks
    /// for versions.
    pub(crate) fn let_go(&mut self, name: &str, gone: &Version) {
        let Some(certificate) = gone.certificate() else {
            return;
        };
        let slot = self.after.slots.get(name);
        let mut others = slot.into_iter().flat_map(|slot| slot.versions.values());
        if others.any(|other| other.is_same_certificate(gone)) {
            return;
        }
        let superseded = RevocationReason::Superseded;
        if gone.revocation_reason == Some(superseded) || gone.is_due_for_revocation() {
            self.follow_up(Task::revoke(name, certificate.clone(), superseded));
        }
        self.follow_up(Task::detach(name, certificate));
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
