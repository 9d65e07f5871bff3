//! Slots as v2 offers them: reading, making, deleting; and the calls of the rest.
//!
//! A change reads the device, decides, and commits at the revision that was read; who names a revision of
//! the slot is refused where it is another one. What the CA service must know before is asked before, what
//! it must do is a task that commits with the change.

mod activate;
mod add;
mod secret;

use async_trait::async_trait;
use lamassu_core::ca::CaError;
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{
    ActivateVersion, AddVersion, IDENTITY, PutSlot, RevokeSecrets, RevokeVersion, SecretType,
    SlotId, SlotList, SlotPolicy, SlotStatus, SlotV2, SlotVersion, VerifiedToken, VerifyToken,
    VersionId, VersionState, is_slot_name,
};
use lamassu_core::device::v2::{CountedPage, ListHistory};
use lamassu_core::device::{DeviceStatus, RegistryError, SlotService};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::ids::DeviceId;
use lamassu_core::revision::Precondition;
use lamassu_core::usage::RevocationReason;
use lamassu_db::list::{ListError, Restriction, count, list};
use lamassu_db::{Attempt, retry_races};

use crate::change::Change;
use crate::follow_up::Task;
use crate::registry::{slot_in_v2, total, whole_slot_in_v2};
use crate::service::DevicesService;
use crate::store::{
    DEVICE_COLUMN, HistoryScope, SHADOW_UPDATED, SLOT_COLUMN, SLOT_VERSIONS, Slot, StoredDevice,
    listed_version,
};

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
    ) -> Result<SlotV2, RegistryError> {
        check_name(&slot.name)?;
        check_policy(request.policy.as_ref())?;
        retry_races(|| async {
            let stored = self.changeable(slot, &expected).await?;
            let known = stored.slots.get(&slot.name);
            let is_identity = slot.name == IDENTITY;
            let known_type = known.map(|slot| slot.secret_type);
            let fixed = known_type.or_else(|| is_identity.then_some(SecretType::X509));
            if fixed.is_some_and(|fixed| fixed != request.secret_type) {
                return Err(RegistryError::SecretTypeImmutable.into());
            }
            let same = known.filter(|known| {
                let policy = request.policy.as_ref();
                policy.is_none_or(|policy| *policy == known.policy)
            });
            if let Some(same) = same {
                return Ok(whole_slot_in_v2(same));
            }
            let mut change = Change::of(&stored, self.change_by(caller));
            let changed = change.slot_or_new(&slot.name, request.secret_type);
            if let Some(policy) = &request.policy {
                changed.policy = policy.clone();
            }
            if known.is_some() {
                let scope = HistoryScope::Slot(slot.name.clone());
                change.record(scope, SHADOW_UPDATED, "Updated: policy".to_owned());
                change.trim_versions(&slot.name);
            }
            self.commit_slot(change, slot, "device.slot.update").await
        })
        .await
    }

    async fn delete_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        secrets: RevokeSecrets,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        if slot.name == IDENTITY {
            return Err(RegistryError::IdentityRequired);
        }
        retry_races(|| async {
            let stored = self.changeable(slot, &expected).await?;
            let gone = there(&stored, &slot.name)?;
            let mut change = Change::of(&stored, self.change_by(caller));
            for version in gone.versions.values() {
                let Some(certificate) = version.certificate() else {
                    continue;
                };
                if secrets == RevokeSecrets::Yes && version.is_valid_certificate() {
                    let reason = RevocationReason::CessationOfOperation;
                    change.follow_up(Task::revoke(&slot.name, certificate.clone(), reason));
                }
                change.follow_up(Task::detach(&slot.name, certificate));
            }
            change.remove_slot(&slot.name);
            let (set, _) = change.into_write_set("device.slot.delete");
            self.db.commit(set).await?;
            Ok(())
        })
        .await
    }

    async fn add_version(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: AddVersion,
        expected: Precondition,
    ) -> Result<SlotVersion, RegistryError> {
        self.add(caller, slot, &request, &expected).await
    }

    async fn activate_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: ActivateVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError> {
        self.activate(caller, version, &request, &expected).await
    }

    async fn revoke_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: RevokeVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError> {
        self.revoke(caller, version, request, &expected).await
    }

    async fn delete_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let VersionId { slot, number } = version;
        retry_races(|| async {
            let stored = self.changeable(slot, &expected).await?;
            let found = there(&stored, &slot.name)?;
            let gone = found.versions.get(number);
            let gone = gone.ok_or(RegistryError::VersionNotFound)?;
            let is_out = matches!(
                gone.state,
                VersionState::Pending
                    | VersionState::Retired
                    | VersionState::Expired
                    | VersionState::Revoked
            );
            if !is_out || found.active_version == Some(*number) {
                return Err(RegistryError::VersionInUse.into());
            }
            let mut change = Change::of(&stored, self.change_by(caller));
            change.remove_version(&slot.name, *number);
            if let Some(certificate) = gone.certificate() {
                change.follow_up(Task::detach(&slot.name, certificate));
            }
            let (set, _) = change.into_write_set("device.slot.version.delete");
            self.db.commit(set).await?;
            Ok(())
        })
        .await
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
