//! Which version is in use: activation, rollback, revocation.

use lamassu_core::ca::{CertificateStatus, RenewalWindows};
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{
    ActivateVersion, IDENTITY, RevokeVersion, SlotV2, VersionId, VersionState,
};
use lamassu_core::device::{DeviceStatus, RegistryError};
use lamassu_core::duration::WireDuration;
use lamassu_core::revision::Precondition;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Attempt, retry_races};

use super::{ca_refusal, there};
use crate::change::{Activation, Change, PROVISIONED};
use crate::follow_up::Task;
use crate::lifecycle::Windows;
use crate::registry::whole_slot_in_v2;
use crate::service::DevicesService;
use crate::store::{Slot, Version};

/// Longest comment, in characters.
const MAX_COMMENT_CHARS: usize = 512;

const RE_PROVISIONED: &str = "RE-PROVISIONED";

impl DevicesService {
    pub(super) async fn activate(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: &ActivateVersion,
        expected: &Precondition,
    ) -> Result<SlotV2, RegistryError> {
        check(request)?;
        retry_races(|| self.try_activate(caller, version, request, expected)).await
    }

    async fn try_activate(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: &ActivateVersion,
        expected: &Precondition,
    ) -> Result<SlotV2, Attempt<RegistryError>> {
        let VersionId { slot: id, number } = version;
        let stored = self.changeable(id, expected).await?;
        let slot = there(&stored, &id.name)?;
        let wanted = slot.versions.get(number);
        let wanted = wanted.ok_or(RegistryError::VersionNotFound)?;
        if slot.active_version == Some(*number) && wanted.state == VersionState::Active {
            return Ok(whole_slot_in_v2(slot));
        }
        self.check_activatable(caller, wanted).await?;
        let dms = self.of_dms(caller, &stored, id).await?;
        let mut change = Change::of(&stored, self.change_by(caller));
        let policy = change.superseded_policy(&id.name);
        let overlap = request.overlap.or(policy.overlap);
        let revoke = request
            .revoke_superseded
            .or(policy.revoke_superseded)
            .or(dms.revoke_superseded);
        let windows = change.windows_of(&id.name, dms);
        let retire = (overlap, revoke.unwrap_or(false));
        let activation = Activation {
            comment: request.comment.as_deref().filter(|text| !text.is_empty()),
            ..activation(slot, wanted, retire, windows)
        };
        move_metadata(&mut change, slot, wanted, windows);
        change.activate(&id.name, *number, activation);
        self.commit_slot(change, id, "device.slot.version.activate")
            .await
    }

    /// A certificate is activated only while the CA service says that it is active.
    async fn check_activatable(
        &self,
        caller: &Caller,
        wanted: &Version,
    ) -> Result<(), RegistryError> {
        let ends = wanted.expires_at.is_some_and(|end| end.0 <= self.db.now());
        if wanted.state.is_final() || ends {
            return Err(RegistryError::NotActivatable);
        }
        let Some(certificate) = wanted.certificate() else {
            return Ok(());
        };
        let certificate = self.ca.certificate_named(caller, &certificate).await;
        let certificate = certificate.map_err(ca_refusal)?;
        if certificate.status == CertificateStatus::Active {
            Ok(())
        } else {
            Err(RegistryError::NotActivatable)
        }
    }

    pub(super) async fn revoke(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: RevokeVersion,
        expected: &Precondition,
    ) -> Result<SlotV2, RegistryError> {
        retry_races(|| self.try_revoke(caller, version, request, expected)).await
    }

    async fn try_revoke(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: RevokeVersion,
        expected: &Precondition,
    ) -> Result<SlotV2, Attempt<RegistryError>> {
        let VersionId { slot: id, number } = version;
        let stored = self.changeable(id, expected).await?;
        let slot = there(&stored, &id.name)?;
        let revoked = slot.versions.get(number);
        let revoked = revoked.ok_or(RegistryError::VersionNotFound)?;
        // A hold can still become final.
        let is_hold = request.reason == RevocationReason::CertificateHold;
        if revoked.state == VersionState::Revoked && (is_hold || !revoked.is_on_hold()) {
            return Ok(whole_slot_in_v2(slot));
        }
        let mut change = Change::of(&stored, self.change_by(caller));
        change.revoke(&id.name, *number, request.reason);
        if slot.active_version == Some(*number) {
            let next = if request.fallback {
                self.fallback(caller, slot, revoked).await?
            } else {
                None
            };
            match next {
                Some(next) => {
                    let dms = self.of_dms(caller, &stored, id).await?;
                    let windows = change.windows_of(&id.name, dms);
                    let activation = activation(slot, next, (None, false), windows);
                    move_metadata(&mut change, slot, next, windows);
                    change.activate(&id.name, next.version, activation);
                }
                None => change.set_slot_status(&id.name, DeviceStatus::Revoked),
            }
        }
        self.commit_slot(change, id, "device.slot.version.revoke")
            .await
    }

    /// The version that is used instead of one that is revoked: the newest that was superseded, then
    /// the newest that was retired, and is still valid.
    async fn fallback<'s>(
        &self,
        caller: &Caller,
        slot: &'s Slot,
        revoked: &Version,
    ) -> Result<Option<&'s Version>, RegistryError> {
        for state in [VersionState::Superseded, VersionState::Retired] {
            let candidates = slot.versions.values().rev();
            for candidate in candidates
                .filter(|version| version.state == state && !version.is_same_certificate(revoked))
            {
                match self.check_activatable(caller, candidate).await {
                    Ok(()) => return Ok(Some(candidate)),
                    Err(RegistryError::NotActivatable | RegistryError::CertificateNotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }
}

fn check(request: &ActivateVersion) -> Result<(), RegistryError> {
    if request.overlap.is_some_and(WireDuration::is_negative) {
        return Err(RegistryError::invalid("overlap", "negative"));
    }
    let comment = request.comment.as_deref().unwrap_or_default();
    if comment.chars().count() > MAX_COMMENT_CHARS {
        return Err(RegistryError::invalid(
            "comment",
            "longer than 512 characters",
        ));
    }
    Ok(())
}

/// How a version takes the place of the active one: forward, or back to a former one.
fn activation(
    slot: &Slot,
    wanted: &Version,
    (overlap, revoke_superseded): (Option<WireDuration>, bool),
    windows: RenewalWindows,
) -> Activation<'static> {
    let number = wanted.version;
    let before = slot.active_version;
    let entry = match (before, wanted.state) {
        (Some(before), VersionState::Superseded | VersionState::Retired) => (
            RE_PROVISIONED,
            format!("Active Version rolled back from {before} to {number}"),
        ),
        (None, _) if slot.name == IDENTITY => (PROVISIONED, String::new()),
        (None, _) => (PROVISIONED, format!("New Active Version set to {number}")),
        (Some(_), _) => {
            let mode = match wanted.bind_mode.as_deref() {
                Some("RENEWED") => "RENEWED",
                _ => RE_PROVISIONED,
            };
            (mode, format!("New Active Version set to {number}"))
        }
    };
    Activation {
        entry,
        comment: None,
        overlap,
        revoke_superseded,
        windows: wanted.expires_at.map(|end| Windows::of(end, windows)),
        status: None,
    }
}

/// On a way back the attachment moves to the certificate that is in use again.
fn move_metadata(change: &mut Change<'_>, slot: &Slot, wanted: &Version, windows: RenewalWindows) {
    let is_back = matches!(
        wanted.state,
        VersionState::Superseded | VersionState::Retired
    );
    let Some(certificate) = wanted.certificate().filter(|_| is_back) else {
        return;
    };
    change.attach(&slot.name, certificate, windows);
    let given_up = slot
        .active()
        .filter(|given_up| !given_up.is_same_certificate(wanted));
    if let Some(given_up) = given_up.and_then(Version::certificate) {
        change.follow_up(Task::detach(&slot.name, given_up));
    }
}
