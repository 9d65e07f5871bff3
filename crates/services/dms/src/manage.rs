//! Creating, reading, listing and replacing DMSs.

use lamassu_core::caller::Caller;
use lamassu_core::dms::{Dms, DmsError, DmsStats};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DmsId;
use lamassu_core::page::Page;
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
        let dms = Dms {
            settings: settings::for_create(sent.settings),
            creation_ts: now.into(),
            ..sent
        };
        profile::check_before_saving(&self.directory, caller, &dms.settings).await?;
        let mut set = WriteSet::new();
        set.expect_one(store::insert(&dms)?, store::NEW_ID);
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
        let StoredDms {
            dms: previous,
            revision,
        } = stored;
        let now = self.db.now();
        let updated = Dms {
            id: previous.id.clone(),
            name: sent.name.clone(),
            metadata: sent.metadata.clone(),
            creation_ts: previous.creation_ts,
            settings: settings::for_update(sent.settings.clone(), &previous.settings),
        };
        profile::check_before_saving(&self.directory, caller, &updated.settings).await?;
        let mut set = WriteSet::new();
        set.expect_one(store::update(&updated, *revision)?, store::REVISION);
        set.event(events::updated(caller, previous, &updated, now));
        set.audit(AuditRecord::done(
            caller,
            "dms.update",
            events::subject(&updated),
            now,
        ));
        Ok((updated, set))
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
