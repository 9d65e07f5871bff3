//! Which certificates use a key.

use lamassu_core::caller::Caller;
use lamassu_core::ids::{KeyRef, SerialNumber};
use lamassu_core::kms::{BOUND_RESOURCES, Key, KmsError};
use lamassu_db::{Attempt, AuditRecord, WriteSet, retry_races_up_to};
use serde_json::{Value, json};

use crate::events;
use crate::service::Kms;
use crate::store::{StoredKey, set_metadata};

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

    /// Removes the certificate from the key's metadata if it is there.
    pub(crate) async fn unbind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        retry_races_up_to(ATTEMPTS, || self.try_unbind(caller, named, serial)).await
    }

    async fn try_bind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), Attempt<KmsError>> {
        let stored = self.stored_key(named).await?;
        match with_certificate(&stored.key, serial) {
            Some(updated) => self.store_bindings(caller, named, &stored, &updated).await,
            None => Ok(()),
        }
    }

    async fn try_unbind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), Attempt<KmsError>> {
        let stored = self.stored_key(named).await?;
        match without_certificate(&stored.key, serial) {
            Some(updated) => self.store_bindings(caller, named, &stored, &updated).await,
            None => Ok(()),
        }
    }

    async fn store_bindings(
        &self,
        caller: &Caller,
        named: &KeyRef,
        stored: &StoredKey,
        updated: &Key,
    ) -> Result<(), Attempt<KmsError>> {
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
            updated,
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
    let certificate = resource(serial);
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

/// The key with one certificate less, or `None` when it does not have it.
fn without_certificate(key: &Key, serial: &SerialNumber) -> Option<Key> {
    let certificate = resource(serial);
    let mut updated = key.clone();
    let bound = updated
        .metadata
        .get_mut(BOUND_RESOURCES)
        .and_then(Value::as_array_mut)?;
    let before = bound.len();
    bound.retain(|known| *known != certificate);
    (bound.len() < before).then_some(updated)
}

fn resource(serial: &SerialNumber) -> Value {
    json!({ "resource_type": "certificate", "resource_id": serial.as_str() })
}
