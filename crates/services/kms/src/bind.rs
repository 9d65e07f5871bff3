//! Which certificates use a key.

use lamassu_core::caller::Caller;
use lamassu_core::ids::{KeyRef, SerialNumber};
use lamassu_core::kms::{BOUND_RESOURCES, Key, KmsError, is_request};
use serde_json::{Value, json};

use crate::service::Kms;
use crate::update::Update;

impl Kms {
    /// Appends the certificate to the key's metadata if it is not there. Binds that run at the
    /// same time all survive: each is a compare-and-set on the revision that it read.
    pub(crate) async fn bind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        self.update(caller, named, Update::METADATA, |key| {
            Ok(with_certificate(key, serial))
        })
        .await
        .map(drop)
    }

    /// Removes the certificate from the key's metadata if it is there.
    pub(crate) async fn unbind(
        &self,
        caller: &Caller,
        named: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError> {
        self.update(caller, named, Update::METADATA, |key| {
            Ok(without_certificate(key, serial))
        })
        .await
        .map(drop)
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
        Value::Array(bound) => {
            // From now on the certificate keeps the key.
            bound.retain(|resource| !is_request(resource));
            bound.push(certificate);
        }
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
