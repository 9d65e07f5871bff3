//! Creating, reading, listing and replacing DMSs.

use lamassu_core::caller::Caller;
use lamassu_core::dms::{Dms, DmsError, DmsStats};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DmsId;
use lamassu_core::page::Page;
use lamassu_core::patch::{PatchOperation, apply_to_object};
use lamassu_core::query::ListRequest;
use lamassu_db::list::{ListError, count, list};
use lamassu_db::{AuditRecord, DbError, WriteSet, retry_races};

use crate::service::DmsManager;
use crate::store::{self, StoredDms};
use crate::{events, profile, settings};

impl DmsManager {
    /// Stores a new DMS.
    pub(crate) async fn create(&self, caller: &Caller, sent: Dms) -> Result<Dms, DmsError> {
        if sent.id.is_empty() || sent.name.is_empty() {
            return Err(DmsError::Validation);
        }
        let now = self.db.now();
        let (settings, secrets) = settings::for_create(sent.settings)?;
        let dms = Dms {
            settings,
            creation_ts: now.into(),
            ..sent
        };
        profile::check_before_saving(&self.directory, caller, &dms.settings).await?;
        let secrets = self.seal(&dms.id, &secrets).await?;
        let mut set = WriteSet::new();
        set.expect_one(store::insert(&dms, &secrets)?, store::NEW_ID);
        set.event(events::created(caller, &dms, now));
        set.audit(AuditRecord::done(
            caller,
            "dms.create",
            events::subject(&dms),
            now,
        ));
        match self.db.commit(set).await {
            Ok(_) => Ok(dms),
            Err(error) if error.failed(store::NEW_ID) => Err(DmsError::DmsExists),
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    /// Replaces name, metadata and settings.
    pub(crate) async fn update(&self, caller: &Caller, sent: Dms) -> Result<Dms, DmsError> {
        retry_races(|| async {
            let stored = store::by_id(&self.db, &sent.id).await?;
            let stored = stored.ok_or(DmsError::DmsNotFound)?;
            let (updated, set) = self.replacement(caller, &stored, &sent).await?;
            let committed = self.db.commit(set).await;
            // Whatever came of it, the next enrollment sees what is stored.
            self.directory.forget();
            committed?;
            Ok(updated)
        })
        .await
    }

    async fn replacement(
        &self,
        caller: &Caller,
        stored: &StoredDms,
        sent: &Dms,
    ) -> Result<(Dms, WriteSet), DmsError> {
        let previous = &stored.dms;
        let now = self.db.now();
        let secrets = self.unseal(stored).await?;
        let (settings, secrets) =
            settings::for_update(sent.settings.clone(), &previous.settings, &secrets)?;
        let updated = Dms {
            id: previous.id.clone(),
            name: sent.name.clone(),
            metadata: sent.metadata.clone(),
            creation_ts: previous.creation_ts,
            settings,
        };
        profile::check_before_saving(&self.directory, caller, &updated.settings).await?;
        let secrets = self.seal(&updated.id, &secrets).await?;
        let mut set = WriteSet::new();
        set.expect_one(
            store::update(&updated, &secrets, stored.revision)?,
            store::REVISION,
        );
        set.event(events::updated(caller, previous, &updated, now));
        set.audit(AuditRecord::done(
            caller,
            "dms.update",
            events::subject(&updated),
            now,
        ));
        Ok((updated, set))
    }

    /// Changes the metadata by a patch; what changes nothing is told to nobody.
    pub(crate) async fn patch(
        &self,
        caller: &Caller,
        id: &DmsId,
        operations: &[PatchOperation],
    ) -> Result<Dms, DmsError> {
        retry_races(|| async {
            let stored = store::by_id(&self.db, id).await?;
            let stored = stored.ok_or(DmsError::DmsNotFound)?;
            let (patched, set) = self.patched(caller, stored, operations)?;
            if let Some(set) = set {
                let committed = self.db.commit(set).await;
                self.directory.forget();
                committed?;
            }
            Ok(patched)
        })
        .await
    }

    fn patched(
        &self,
        caller: &Caller,
        stored: StoredDms,
        operations: &[PatchOperation],
    ) -> Result<(Dms, Option<WriteSet>), DmsError> {
        let StoredDms {
            dms: previous,
            secrets,
            revision,
        } = stored;
        let metadata = apply_to_object(&previous.metadata, operations, &[])?;
        if metadata == previous.metadata {
            return Ok((previous, None));
        }
        let updated = Dms {
            metadata,
            ..previous.clone()
        };
        let now = self.db.now();
        let mut set = WriteSet::new();
        set.expect_one(
            store::update(&updated, &secrets, revision)?,
            store::REVISION,
        );
        set.event(events::metadata_updated(caller, &previous, &updated, now));
        set.audit(AuditRecord::done(
            caller,
            "dms.metadata.update",
            events::subject(&updated),
            now,
        ));
        Ok((updated, Some(set)))
    }

    /// Deletes the DMS; its devices keep naming it as their owner. What let devices in under it lets none
    /// in under another one of the same id.
    pub(crate) async fn delete(&self, caller: &Caller, id: &DmsId) -> Result<(), DmsError> {
        retry_races(|| async {
            let stored = store::by_id(&self.db, id).await?;
            let stored = stored.ok_or(DmsError::DmsNotFound)?;
            let now = self.db.now();
            let mut set = WriteSet::new();
            set.expect_one(store::delete(id, stored.revision), store::REVISION);
            set.execute(store::password::delete_of(id));
            set.execute(store::approval::end_of(id, now));
            set.execute(store::repeat::delete_of(id));
            set.event(events::deleted(caller, &stored.dms, now));
            let resource = events::subject(&stored.dms);
            set.audit(AuditRecord::done(caller, "dms.delete", resource, now));
            let committed = self.db.commit(set).await;
            self.directory.forget();
            committed?;
            Ok(())
        })
        .await
    }

    /// The DMS of this id.
    pub(crate) async fn dms_by_id(&self, id: &DmsId) -> Result<Dms, DmsError> {
        let stored = store::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored.map(|stored| stored.dms).ok_or(DmsError::DmsNotFound)
    }

    /// One page of DMSs.
    pub(crate) async fn list(&self, request: &ListRequest) -> Result<Page<Dms>, DmsError> {
        let page = list(&self.db, &store::TABLE, "dms", request, &[])
            .await
            .map_err(ListError::into_error::<DmsError>)?;
        let page = page.try_map(|row| Ok::<_, DbError>(StoredDms::try_from(row)?.dms));
        Ok(page.map_err(StorageFailure::from)?)
    }

    /// How many DMSs pass the filters.
    pub(crate) async fn count(&self, request: &ListRequest) -> Result<DmsStats, DmsError> {
        let total = count(&self.db, &store::TABLE, &request.filters, &[])
            .await
            .map_err(ListError::into_error::<DmsError>)?;
        Ok(DmsStats {
            total: u64::try_from(total).unwrap_or_default(),
        })
    }
}
