//! Which certificates use a key.

use lamassu_core::caller::Caller;
use lamassu_core::ids::{KeyRef, SerialNumber};
use lamassu_core::kms::{BOUND_RESOURCES, Key, KmsError};
use lamassu_db::{Attempt, AuditRecord, WriteSet, retry_races_up_to};
use serde_json::{Value, json};

use crate::events;
use crate::service::Kms;
use crate::store::set_metadata;

/// How often a binding is attempted: of those that read the same revision one wins, so as many
/// times as there may reasonably be at the same time.
const ATTEMPTS: usize = 64;

impl Kms {
    /// Appends the certificate to the key's metadata if it is not there. Binds that run at the
    /// same time all survive: each is a compare-and-set on the revision that it read.
    pub(crate) async fn bind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        retry_races_up_to(ATTEMPTS, || self.try_bind(caller, named, serial)).await
    }

    async fn try_bind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), Attempt<KmsError>> {
        let stored = self.stored_key(named).await?;
        let Some(updated) = with_certificate(&stored.key, serial) else {
            return Ok(());
        };
        let now = self.db.now();
        let mut set = WriteSet::new();
        set_metadata(
            &mut set,
            &updated.key_id,
            stored.revision,
            &updated.metadata,
        );
        set.event(events::metadata_updated(
            caller,
            named,
            &stored.key,
            &updated,
            now,
        ));
        let resource = events::resource(&updated.key_id);
        set.audit(AuditRecord::done(
            caller,
            "kms.metadata.update",
            resource,
            now,
        ));
        self.db.commit(set).await?;
        Ok(())
    }
}

/// The key with one more certificate, or `None` when it has it already. A member of another
/// shape, which only a client can have written, is replaced.
fn with_certificate(key: &Key, serial: &SerialNumber) -> Option<Key> {
    let certificate = json!({ "resource_type": "certificate", "resource_id": serial.as_str() });
    let mut updated = key.clone();
    let member = updated
        .metadata
        .entry(BOUND_RESOURCES)
        .or_insert_with(|| Value::Array(Vec::new()));
    match member {
        Value::Array(bound) if bound.contains(&certificate) => return None,
        Value::Array(bound) => bound.push(certificate),
        other => *other = Value::Array(vec![certificate]),
    }
    Some(updated)
}
