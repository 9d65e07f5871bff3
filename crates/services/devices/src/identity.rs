//! Replacing the identity slot as v1 does: connectors write it back whole to add to its history.
//!
//! What v1 does not know stays as it is: windows of versions that go on, states, policy. History is
//! added to and never taken away.

use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{IDENTITY, SecretType, SlotStatus, VersionState};
use lamassu_core::device::{Device, DeviceError, DeviceStatus, IdentityReplacement};
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Attempt, retry_races};
use serde_json::Value;

use crate::change::Change;
use crate::follow_up::Task;
use crate::lifecycle::Windows;
use crate::service::DevicesService;
use crate::store::{Slot, StoredDevice, Version};

impl DevicesService {
    pub(crate) async fn replace(
        &self,
        caller: &Caller,
        id: &DeviceId,
        request: &IdentityReplacement,
    ) -> Result<Device, DeviceError> {
        let status = status(request)?;
        retry_races(|| self.try_replace(caller, id, request, status)).await
    }

    async fn try_replace(
        &self,
        caller: &Caller,
        id: &DeviceId,
        request: &IdentityReplacement,
        status: DeviceStatus,
    ) -> Result<Device, Attempt<DeviceError>> {
        let stored = self.store.device(id).await?;
        let stored = stored.ok_or(DeviceError::Unknown)?;
        if stored.device.status == DeviceStatus::Decommissioned {
            return Ok(stored.device);
        }
        let mut change = Change::of(&stored, self.change_by(caller));
        if status == DeviceStatus::Revoked {
            revoke_active(&mut change, &stored);
        }
        write_slot(&mut change, request);
        for (at, event) in &request.events {
            change.record_at(IDENTITY, *at, event.clone());
        }
        change.set_slot_status(IDENTITY, status);
        let (set, after) = change.into_write_set("device.identity.update");
        self.db.commit(set).await?;
        Ok(after.device)
    }
}

/// The status, if the request keeps the rules.
fn status(request: &IdentityReplacement) -> Result<DeviceStatus, DeviceError> {
    let status: DeviceStatus = request.status.parse()?;
    let is_of_slot = !matches!(
        status,
        DeviceStatus::NoIdentity | DeviceStatus::Decommissioned
    );
    let versions = &request.versions;
    let is_whole = versions.is_empty() || versions.contains_key(&request.active_version);
    if is_of_slot && is_whole {
        Ok(status)
    } else {
        Err(DeviceError::Validation)
    }
}

/// The certificate of the version that is active now is revoked, unless it is.
fn revoke_active(change: &mut Change<'_>, stored: &StoredDevice) {
    let Some(active) = stored.identity().and_then(|slot| slot.active()) else {
        return;
    };
    if active.state != VersionState::Revoked
        && let Some(certificate) = active.certificate()
    {
        let reason = RevocationReason::Unspecified;
        change.follow_up(Task::revoke(IDENTITY, certificate, reason));
    }
}

fn write_slot(change: &mut Change<'_>, request: &IdentityReplacement) {
    let now = change.now();
    let slot = change.slot_or_new(IDENTITY, SecretType::X509);
    if slot.status == SlotStatus::Empty {
        // A slot that a client writes has no former status to tell of.
        slot.status = SlotStatus::Active;
    }
    if !request.slot_type.is_empty() {
        slot.type_in_v1.clone_from(&request.slot_type);
    }
    let end = request.expiration_date.map(Timestamp::truncated_to_micros);
    let same_end = slot.windows.as_ref().map(|windows| windows.not_after) == end;
    if !same_end {
        slot.windows = end.map(Windows::at_the_end);
    }
    slot.active_version = Some(request.active_version);
    let mut gone: Vec<u32> = slot.versions.keys().copied().collect();
    gone.retain(|number| !request.versions.contains_key(number));
    let waits = |slot: &Slot, number: &u32| {
        let version = slot.versions.get(number);
        version.is_some_and(|version| version.state == VersionState::Pending)
    };
    gone.retain(|number| !waits(slot, number));
    let mut replaced = Vec::new();
    for (number, serial) in &request.versions {
        let known = slot.versions.get(number);
        if known.and_then(|version| version.serial_number.as_ref()) == Some(serial) {
            continue;
        }
        let secret = Value::from(serial.as_str());
        let version = Version {
            serial_number: Some(serial.clone()),
            activated_at: Some(Timestamp(now)),
            state: VersionState::Superseded,
            ..Version::pending(*number, secret, now)
        };
        replaced.extend(slot.versions.insert(*number, version));
    }
    // Whoever writes a slot from an older copy leaves out the certificate that the device uses: it stays the device's.
    replaced.retain(|version: &Version| version.state != VersionState::Active);
    for version in &replaced {
        change.let_go(IDENTITY, version);
    }
    for number in gone {
        change.remove_version(IDENTITY, number);
    }
    for number in request.versions.keys() {
        let is_active = *number == request.active_version;
        let Some(version) = change.version(IDENTITY, *number) else {
            continue;
        };
        match version.state {
            VersionState::Pending | VersionState::Superseded | VersionState::Retired
                if is_active =>
            {
                version.state = VersionState::Active;
                version.activated_at = version.activated_at.or(Some(Timestamp(now)));
                version.overlap_until = None;
            }
            VersionState::Active if !is_active => version.state = VersionState::Superseded,
            _ => {}
        }
    }
    change.retire_doubles(IDENTITY, request.active_version);
}
