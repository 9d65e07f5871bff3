//! Slots as v2 offers them: reading, making, deleting; and the calls of the rest.
//!
//! A change reads the device, decides, and commits at the revision that was read; who names a revision of
//! the slot is refused where it is another one. What the CA service must know before is asked before, what
//! it must do is a task that commits with the change.

mod activate;
mod add;
mod edit;
mod secret;

use async_trait::async_trait;
use lamassu_core::ca::CaError;
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{
    ActivateVersion, AddVersion, IDENTITY, PutOutcome, PutSlot, RevokeSecrets, RevokeVersion,
    SecretType, SlotId, SlotList, SlotPolicy, SlotStatus, SlotV2, SlotVersion, VerifiedToken,
    VerifyToken, VersionId, is_slot_name,
};
use lamassu_core::device::v2::{CountedPage, ListHistory};
use lamassu_core::device::{DeviceStatus, RegistryError, SlotService};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::ids::DeviceId;
use lamassu_core::revision::Precondition;
use lamassu_db::Attempt;
use lamassu_db::list::{ListError, Restriction, count, list};

use crate::change::Change;
use crate::registry::{slot_in_v2, total, whole_slot_in_v2};
use crate::service::DevicesService;
use crate::store::{DEVICE_COLUMN, SLOT_COLUMN, SLOT_VERSIONS, Slot, StoredDevice, listed_version};

/// Bookmarks of versions; whose comes from the request every time.
const SCOPE_VERSIONS: &str = "v2/devices/slots/versions";

#[async_trait]
impl SlotService for DevicesService {
    async fn slots(
        &self,
        _caller: &Caller,
        device: &DeviceId,
        with_versions: bool,
    ) -> Result<SlotList, RegistryError> {
        let stored = self.existing(device).await?;
        let show = if with_versions {
            whole_slot_in_v2
        } else {
            slot_in_v2
        };
        let identity = stored.identity().filter(|slot| is_there(slot));
        let others = stored.slots.values().filter(|slot| slot.name != IDENTITY);
        Ok(SlotList {
            list: identity.into_iter().chain(others).map(show).collect(),
        })
    }

    async fn slot(&self, _caller: &Caller, slot: &SlotId) -> Result<SlotV2, RegistryError> {
        let stored = self.existing(&slot.device).await?;
        Ok(whole_slot_in_v2(there(&stored, &slot.name)?))
    }

    async fn slot_versions(
        &self,
        _caller: &Caller,
        slot: &SlotId,
        request: &ListHistory,
    ) -> Result<CountedPage<SlotVersion>, RegistryError> {
        let stored = self.existing(&slot.device).await?;
        there(&stored, &slot.name)?;
        let of_slot = [
            Restriction::Is(DEVICE_COLUMN, slot.device.as_str().into()),
            Restriction::Is(SLOT_COLUMN, slot.name.as_str().into()),
        ];
        let asked = &request.request;
        let page = list(&self.db, &SLOT_VERSIONS, SCOPE_VERSIONS, asked, &of_slot).await;
        let page = page.map_err(ListError::into_error::<RegistryError>)?;
        let versions: Result<Vec<_>, _> = page.list.iter().map(listed_version).collect();
        let total = if request.count {
            let counted = count(&self.db, &SLOT_VERSIONS, &asked.filters, &of_slot).await;
            Some(total(counted)?)
        } else {
            None
        };
        Ok(CountedPage {
            next: page.next,
            list: versions.map_err(StorageFailure::from)?,
            total,
        })
    }

    async fn put_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: PutSlot,
        expected: Precondition,
    ) -> Result<PutOutcome, RegistryError> {
        let change = ("device.slot.update", named(slot));
        let put = self.put(caller, slot, &request, &expected);
        self.refusals.watch(caller, change, put).await
    }

    async fn delete_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        secrets: RevokeSecrets,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let change = ("device.slot.delete", named(slot));
        let deleted = self.remove_slot(caller, slot, secrets, &expected);
        self.refusals.watch(caller, change, deleted).await
    }

    async fn add_version(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: AddVersion,
        expected: Precondition,
    ) -> Result<SlotVersion, RegistryError> {
        let change = ("device.slot.version.add", named(slot));
        let added = self.add(caller, slot, &request, &expected);
        self.refusals.watch(caller, change, added).await
    }

    async fn activate_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: ActivateVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError> {
        let change = ("device.slot.version.activate", version_named(version));
        let activated = self.activate(caller, version, &request, &expected);
        self.refusals.watch(caller, change, activated).await
    }

    async fn revoke_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: RevokeVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError> {
        let change = ("device.slot.version.revoke", version_named(version));
        let revoked = self.revoke(caller, version, request, &expected);
        self.refusals.watch(caller, change, revoked).await
    }

    async fn delete_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let change = ("device.slot.version.delete", version_named(version));
        let deleted = self.remove_version(caller, version, &expected);
        self.refusals.watch(caller, change, deleted).await
    }

    async fn verify_token(
        &self,
        _caller: &Caller,
        slot: &SlotId,
        token: VerifyToken,
    ) -> Result<VerifiedToken, RegistryError> {
        let stored = self.existing(&slot.device).await?;
        let found = there(&stored, &slot.name)?;
        if found.secret_type != SecretType::Token {
            return Err(RegistryError::invalid("slot", "holds no tokens"));
        }
        let key = secret::key(&self.db).await?;
        Ok(secret::verify(&key, found, &token.token, self.db.now()))
    }
}

/// A slot as it was asked for, in the audit log.
fn named(slot: &SlotId) -> String {
    let SlotId { device, name } = slot;
    format!("device/{device}/slots/{name}")
}

/// A version as it was asked for, in the audit log.
fn version_named(version: &VersionId) -> String {
    format!("{}/versions/{}", named(&version.slot), version.number)
}

impl DevicesService {
    async fn existing(&self, id: &DeviceId) -> Result<StoredDevice, RegistryError> {
        let stored = self.store.device(id).await.map_err(StorageFailure::from)?;
        stored.ok_or(RegistryError::DeviceNotFound)
    }

    /// The device, if its slots can be changed, and this one is as expected.
    async fn changeable(
        &self,
        slot: &SlotId,
        expected: &Precondition,
    ) -> Result<StoredDevice, Attempt<RegistryError>> {
        let stored = self.store.device(&slot.device).await?;
        let stored = stored.ok_or(RegistryError::DeviceNotFound)?;
        if stored.device.status == DeviceStatus::Decommissioned {
            return Err(RegistryError::Decommissioned.into());
        }
        // What is not there is at no revision.
        let revision = stored.slots.get(&slot.name).map(|slot| slot.revision);
        let is_met = match revision {
            Some(revision) => expected.is_met_by(revision),
            None => *expected == Precondition::None,
        };
        if !is_met {
            return Err(RegistryError::RevisionConflict.into());
        }
        Ok(stored)
    }

    /// Commits a change of a slot, and gives the slot.
    async fn commit_slot(
        &self,
        change: Change<'_>,
        slot: &SlotId,
        operation: &'static str,
    ) -> Result<SlotV2, Attempt<RegistryError>> {
        let (set, after) = change.into_write_set(operation);
        self.db.commit(set).await?;
        let changed = after.slots.get(&slot.name);
        Ok(whole_slot_in_v2(
            changed.ok_or(RegistryError::SlotNotFound)?,
        ))
    }
}

/// Whether clients see the slot: the identity's only once it has a version.
fn is_there(slot: &Slot) -> bool {
    slot.name != IDENTITY || slot.status != SlotStatus::Empty || !slot.versions.is_empty()
}

/// The slot of this name.
fn there<'d>(stored: &'d StoredDevice, name: &str) -> Result<&'d Slot, RegistryError> {
    let slot = stored.slots.get(name).filter(|slot| is_there(slot));
    slot.ok_or(RegistryError::SlotNotFound)
}

fn check_name(name: &str) -> Result<(), RegistryError> {
    if name == IDENTITY || is_slot_name(name) {
        Ok(())
    } else {
        let rule = "lower-case letters, digits, '.', '_' and '-', at most 63 characters";
        Err(RegistryError::invalid("slot", rule))
    }
}

fn check_policy(policy: Option<&SlotPolicy>) -> Result<(), RegistryError> {
    let Some(policy) = policy else { return Ok(()) };
    for (name, duration) in [
        ("policy.overlap", policy.overlap),
        ("policy.preventive_delta", policy.preventive_delta),
        ("policy.critical_delta", policy.critical_delta),
    ] {
        if duration.is_some_and(WireDuration::is_negative) {
            return Err(RegistryError::invalid(name, "negative"));
        }
    }
    Ok(())
}

/// What a failed question to the CA service means here.
fn ca_refusal(error: CaError) -> RegistryError {
    match error {
        CaError::CertificateNotFound => RegistryError::CertificateNotFound,
        error if error.kind() == ErrorKind::Conflict => {
            RegistryError::invalid("secret.serial_number", error.to_string())
        }
        error => RegistryError::CaUnavailable(Box::new(error)),
    }
}
