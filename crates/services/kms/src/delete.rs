//! Destroying a key: first for everybody, then in its engine, then its row.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{CryptoEngine, EngineError, KeyHandle};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{EngineId, KeyRef, OperationId};
use lamassu_core::kms::{BOUND_RESOURCES, Key, KmsError, is_request};
use lamassu_db::{Attempt, AuditRecord, CommitError, WriteSet, retry_races};
use serde_json::Value;

use crate::create::handle_for;
use crate::engines::refused;
use crate::events;
use crate::jobs::REAPER_JOB;
use crate::metrics;
use crate::service::Kms;
use crate::store::{
    REVISION, StoredKey, UnsettledState, delete_pending, delete_settled, mark_deleting,
    unmark_deleting,
};

impl Kms {
    pub(crate) async fn delete(&self, caller: &Caller, named: &KeyRef) -> Result<(), KmsError> {
        let marked = retry_races(|| async {
            let stored = self.stored_key(named).await?;
            // Whoever withdraws the request destroys the key, by its operation.
            if is_bound(&stored.key) && !has_certificates(&stored.key) {
                return Err(Attempt::Refused(KmsError::KeyRequested));
            }
            self.mark(caller, &stored).await?;
            Ok(stored)
        })
        .await?;
        self.destroy(caller, named, &marked).await
    }

    /// Destroys what an operation made, at whatever point it stopped.
    pub(crate) async fn discard_operation(
        &self,
        caller: &Caller,
        operation: &OperationId,
    ) -> Result<(), KmsError> {
        let handle = handle_for(Some(operation))?;
        // Between the two reads a key may become ready; then removing the pending one fails and
        // the attempt starts again.
        let ready = retry_races(|| async {
            if let Some(unsettled) = self.store.unsettled_by_handle(&handle).await? {
                let engine = self.engines.holder(&unsettled.engine_id)?;
                match unsettled.state {
                    UnsettledState::Pending => self.remove_pending(engine, &handle).await?,
                    // The reaper or whoever deletes it is at it.
                    UnsettledState::Deleting => {}
                }
                return Ok(None);
            }
            let Some(stored) = self.store.key_made_as(&handle).await? else {
                return Ok(None);
            };
            self.mark(caller, &stored).await?;
            Ok(Some(stored))
        })
        .await?;
        match ready {
            Some(stored) => {
                let named = KeyRef::from(&stored.key.key_id);
                self.destroy(caller, &named, &stored).await
            }
            None => Ok(()),
        }
    }

    /// From here on nobody finds the key. Keys that certificates use are refused.
    async fn mark(&self, caller: &Caller, stored: &StoredKey) -> Result<(), Attempt<KmsError>> {
        if has_certificates(&stored.key) {
            return Err(KmsError::KeyInUse.into());
        }
        self.engines.holder(&stored.key.engine_id)?;
        let now = self.db.now();
        let mut set = WriteSet::new();
        mark_deleting(&mut set, &stored.handle, stored.revision, now);
        let resource = events::resource(&stored.key.key_id);
        set.audit(AuditRecord::done(caller, "kms.delete", resource, now));
        self.db.commit(set).await?;
        self.cache.forget(&stored.key);
        Ok(())
    }

    /// Lets the engine forget a marked key, and removes its row.
    async fn destroy(
        &self,
        caller: &Caller,
        named: &KeyRef,
        marked: &StoredKey,
    ) -> Result<(), KmsError> {
        let engine_id = &marked.key.engine_id;
        let engine = self.engines.holder(engine_id)?;
        match engine.delete(&marked.handle).await {
            Ok(()) => Ok(self
                .finish_deletion(caller, named, &marked.handle, engine_id)
                .await
                .map_err(StorageFailure::from)?),
            Err(error @ EngineError::Unsupported(_)) => {
                self.unmark(marked).await?;
                Err(refused(engine_id, error))
            }
            Err(error) => {
                self.db.wake(REAPER_JOB);
                Err(refused(engine_id, error))
            }
        }
    }

    /// The engine cannot delete at all: the key is as it was.
    async fn unmark(&self, marked: &StoredKey) -> Result<(), KmsError> {
        let now = self.db.now();
        let mut set = WriteSet::new();
        unmark_deleting(&mut set, &marked.handle, now);
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(())
    }

    /// Removes the row of a key that its engine has forgotten. Whoever comes second finds it done.
    pub(crate) async fn finish_deletion(
        &self,
        caller: &Caller,
        named: &KeyRef,
        handle: &KeyHandle,
        engine_id: &EngineId,
    ) -> Result<(), CommitError> {
        let mut set = WriteSet::new();
        delete_settled(&mut set, handle);
        set.event(events::deleted(caller, named, self.db.now()));
        match self.db.commit(set).await {
            Ok(_) => {
                metrics::deleted(engine_id);
                Ok(())
            }
            Err(error) if error.failed(REVISION) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a key in the making, from its engine first. A lost race means that it is no longer
    /// in the making.
    pub(crate) async fn remove_pending(
        &self,
        engine: &Arc<dyn CryptoEngine>,
        handle: &KeyHandle,
    ) -> Result<(), Attempt<KmsError>> {
        let deleted = engine.delete(handle).await;
        deleted.map_err(|error| refused(&engine.info().id, error))?;
        Ok(self.remove_reservation(handle).await?)
    }

    /// Removes the row of a key in the making that its engine does not have.
    pub(crate) async fn remove_reservation(&self, handle: &KeyHandle) -> Result<(), CommitError> {
        let mut set = WriteSet::new();
        delete_pending(&mut set, handle);
        self.db.commit(set).await?;
        Ok(())
    }
}

/// Whether certificates use the key, or a request for a CA waits with it.
pub(crate) fn is_bound(key: &Key) -> bool {
    !bound(key).is_empty()
}

fn has_certificates(key: &Key) -> bool {
    !bound(key).iter().all(is_request)
}

fn bound(key: &Key) -> &[Value] {
    match key.metadata.get(BOUND_RESOURCES) {
        Some(Value::Array(resources)) => resources,
        Some(_) | None => &[],
    }
}
