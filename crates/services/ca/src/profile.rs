//! Issuance profiles: create, replace, delete.

use lamassu_core::ca::{CaError, IssuanceProfile};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::ProfileId;
use lamassu_db::{Attempt, WriteSet, retry_races};

use crate::events::{Change, Teller};
use crate::limits::validate;
use crate::service::CaService;
use crate::store::authority;
use crate::store::profile::{self, StoredProfile};

/// How many CAs are named that have a profile.
const USERS_NAMED: u32 = 10;

impl CaService {
    /// Stores a profile under a new id.
    pub(crate) async fn add_profile(
        &self,
        caller: &Caller,
        mut profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError> {
        validate(&profile)?;
        profile.id = ProfileId::from(uuid::Uuid::new_v4().to_string());
        let now = self.db.now();
        let mut set = WriteSet::new();
        profile::insert(&mut set, &profile, now).map_err(StorageFailure::from)?;
        Teller { caller, now }.profile_created(&mut set, &profile);
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        tracing::info!(profile_id = %profile.id, "profile created");
        Ok(profile)
    }

    /// Replaces the content of a profile.
    pub(crate) async fn replace_profile(
        &self,
        caller: &Caller,
        profile: IssuanceProfile,
    ) -> Result<IssuanceProfile, CaError> {
        let updated = retry_races(|| self.try_replace_profile(caller, &profile)).await?;
        self.ready.forget_profile(&updated.id);
        Ok(updated)
    }

    async fn try_replace_profile(
        &self,
        caller: &Caller,
        profile: &IssuanceProfile,
    ) -> Result<IssuanceProfile, Attempt<CaError>> {
        let stored = self.stored_profile(&profile.id).await?;
        let updated = profile.clone().keeping(&stored.profile);
        validate(&updated)?;
        let now = self.db.now();
        let mut set = WriteSet::new();
        profile::update(&mut set, stored.revision, &updated)?;
        let change = Change {
            previous: &stored.profile,
            updated: &updated,
        };
        Teller { caller, now }.profile_updated(&mut set, &change);
        self.db.commit(set).await?;
        Ok(updated)
    }

    /// Deletes a profile, unless it is the default one of a CA, which would issue nothing any more. CAs that are ended
    /// for good do not count.
    pub(crate) async fn remove_profile(
        &self,
        caller: &Caller,
        id: &ProfileId,
    ) -> Result<(), CaError> {
        retry_races(|| self.try_remove_profile(caller, id)).await?;
        self.ready.forget_profile(id);
        Ok(())
    }

    async fn try_remove_profile(
        &self,
        caller: &Caller,
        id: &ProfileId,
    ) -> Result<(), Attempt<CaError>> {
        let stored = self.stored_profile(id).await?;
        let users = authority::ids_of_profile(&self.db, id, USERS_NAMED).await?;
        if !users.is_empty() {
            return Err(CaError::ProfileInUse(users.join(", ")).into());
        }
        let mut set = WriteSet::new();
        // In this order: the deletion waits for whoever gives a CA this profile now, and the guard sees it.
        profile::delete(&mut set, id, stored.revision);
        authority::guard_unused_profile(&mut set, id);
        Teller {
            caller,
            now: self.db.now(),
        }
        .profile_deleted(&mut set, id);
        self.db.commit(set).await?;
        Ok(())
    }

    /// The profile of this id, as it is now.
    pub(crate) async fn stored_profile(&self, id: &ProfileId) -> Result<StoredProfile, CaError> {
        let stored = profile::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored.ok_or(CaError::ProfileNotFound)
    }
}
