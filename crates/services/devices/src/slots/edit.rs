//! Slots are made, changed and deleted, and versions that are out of use.

use lamassu_core::caller::Caller;
use lamassu_core::device::RegistryError;
use lamassu_core::device::slot::{
    IDENTITY, PutOutcome, PutSlot, RevokeSecrets, SecretType, SlotId, VersionId, VersionState,
};
use lamassu_core::revision::Precondition;
use lamassu_core::usage::RevocationReason;
use lamassu_db::retry_races;

use super::{check_name, check_policy, there};
use crate::change::Change;
use crate::follow_up::Task;
use crate::registry::whole_slot_in_v2;
use crate::renewal_windows::present;
use crate::service::DevicesService;
use crate::store::{HistoryScope, SHADOW_UPDATED};

impl DevicesService {
    pub(super) async fn put(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: &PutSlot,
        expected: &Precondition,
    ) -> Result<PutOutcome, RegistryError> {
        check_name(&slot.name)?;
        check_policy(request.policy.as_ref())?;
        retry_races(|| async {
            let stored = self.changeable(slot, expected).await?;
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
                return Ok(PutOutcome::Updated(whole_slot_in_v2(same)));
            }
            let dms = self.of_dms(caller, &stored, slot).await?;
            let mut change = Change::of(&stored, self.change_by(caller));
            let changed = change.slot_or_new(&slot.name, request.secret_type);
            if let Some(policy) = &request.policy {
                changed.policy = policy.clone();
            }
            if known.is_some() {
                let scope = HistoryScope::Slot(slot.name.clone());
                change.record(scope, SHADOW_UPDATED, "Updated: policy".to_owned());
                change.trim_versions(&slot.name);
                let windows = change.windows_of(&slot.name, dms);
                if known.and_then(present).is_some_and(|was| was != windows) {
                    change.move_windows(&slot.name, windows);
                }
            }
            let put = self.commit_slot(change, slot, "device.slot.update");
            let put = put.await?;
            Ok(match known {
                Some(_) => PutOutcome::Updated(put),
                None => PutOutcome::Made(put),
            })
        })
        .await
    }

    pub(super) async fn remove_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        secrets: RevokeSecrets,
        expected: &Precondition,
    ) -> Result<(), RegistryError> {
        if slot.name == IDENTITY {
            return Err(RegistryError::IdentityRequired);
        }
        retry_races(|| async {
            let stored = self.changeable(slot, expected).await?;
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

    pub(super) async fn remove_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        expected: &Precondition,
    ) -> Result<(), RegistryError> {
        let VersionId { slot, number } = version;
        retry_races(|| async {
            let stored = self.changeable(slot, expected).await?;
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
            let (set, _) = change.into_write_set("device.slot.version.delete");
            self.db.commit(set).await?;
            Ok(())
        })
        .await
    }
}
