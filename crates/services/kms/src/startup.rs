//! What the last process left: keys of engines that ended with it.

use lamassu_core::caller::Caller;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_db::{AuditRecord, WriteSet, system_caller};

use crate::delete::is_bound;
use crate::events;
use crate::service::{Kms, StartError};
use crate::store::{StoredKey, mark_lost, remove_ready};

/// Keys settled per write set.
const BATCH: u32 = 200;

impl Kms {
    /// Removes the rows of keys that are gone; those that certificates use stay and show that
    /// they have no private key.
    pub(crate) async fn settle_volatile_keys(&self) -> Result<(), StartError> {
        for engine in self.engines.volatile_ids() {
            self.settle_keys_of(engine).await?;
        }
        Ok(())
    }

    async fn settle_keys_of(&self, engine: &EngineId) -> Result<(), StartError> {
        let caller = system_caller("kms-start");
        let mut after = String::new();
        loop {
            let keys = self.store.keys_of_engine(engine, &after, BATCH).await?;
            let Some(last) = keys.last() else {
                return Ok(());
            };
            last.handle.as_str().clone_into(&mut after);
            let mut set = WriteSet::new();
            for stored in keys.iter().filter(|stored| stored.key.has_private_key) {
                self.settle(&caller, stored, &mut set);
            }
            if !set.is_empty() {
                self.db.commit(set).await?;
            }
        }
    }

    fn settle(&self, caller: &Caller, stored: &StoredKey, set: &mut WriteSet) {
        let now = self.db.now();
        let resource = events::resource(&stored.key.key_id);
        if is_bound(&stored.key) {
            mark_lost(set, &stored.handle, stored.revision);
            set.audit(AuditRecord::done(caller, "kms.lost", resource, now));
        } else {
            remove_ready(set, &stored.handle, stored.revision);
            let named = KeyRef::from(&stored.key.key_id);
            set.event(events::deleted(caller, &named, now));
            set.audit(AuditRecord::done(caller, "kms.delete", resource, now));
        }
    }
}
