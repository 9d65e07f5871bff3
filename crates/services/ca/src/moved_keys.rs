//! What follows from a key's move to another engine: its certificates and requests name that engine.
//!
//! That a key signs does not hang on this: signers look for their key where it is. The key manager tells and
//! audits the move; nothing more is told here.

use async_trait::async_trait;
use lamassu_core::ca::CertificateType;
use lamassu_core::caller::Caller;
use lamassu_core::ids::{EngineId, KeyId, SerialNumber};
use lamassu_core::kms::{BOUND_RESOURCES, is_request};
use lamassu_db::{Db, EventHandler, HandlerError, LoggedEvent, Subscription, WriteSet};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::store::ca_request;
use crate::store::certificate::{StoredCertificate, move_to_engine, of_key, public_key_of};

/// The name of the subscription.
pub const MOVED_SUBSCRIPTION: &str = "ca-moved-keys";

/// The type of the event that tells of a key in another engine.
const MOVED: &str = "kms.engine.update";

/// The reader of the events that [`MovedKeys`] handles: one by one, since the next move of a key counts on
/// the one before.
pub(crate) fn subscription(db: &Db) -> Subscription {
    Subscription::new(db, MOVED_SUBSCRIPTION, &[MOVED])
}

/// Reacts to keys that are moved: see the module.
#[derive(Debug)]
pub(crate) struct MovedKeys {
    pub(crate) db: Db,
}

#[derive(Debug, Deserialize)]
struct Moved {
    updated: MovedKey,
}

/// The part of a key that matters here.
#[derive(Debug, Deserialize)]
struct MovedKey {
    key_id: KeyId,
    engine_id: EngineId,
    #[serde(default)]
    metadata: Map<String, Value>,
}

impl MovedKey {
    /// The certificates that the key manager was told of. Those of keys made elsewhere are found by nothing
    /// else: what they call their key is up to who issued them.
    fn serials(&self) -> Vec<SerialNumber> {
        bound_serials(&self.metadata)
    }

    /// Whether the certificate is for this key, and names another engine.
    fn is_elsewhere(&self, stored: &StoredCertificate) -> bool {
        let certificate = &stored.certificate;
        certificate.certificate_type != CertificateType::ImportedWithoutKey
            && certificate.engine_id != self.engine_id
            && public_key_of(certificate)
                .is_some_and(|key| key.key_id_sha256_hex() == self.key_id.as_str())
    }
}

/// The serial numbers that the metadata of a key in the KMS name: of the certificates that use it.
pub(crate) fn bound_serials(metadata: &Map<String, Value>) -> Vec<SerialNumber> {
    let bound = metadata.get(BOUND_RESOURCES).and_then(Value::as_array);
    let bound = bound
        .into_iter()
        .flatten()
        .filter(|resource| !is_request(resource));
    let texts = bound.filter_map(|resource| resource.get("resource_id")?.as_str());
    texts.filter_map(SerialNumber::parse).collect()
}

#[async_trait]
impl EventHandler for MovedKeys {
    async fn handle(&self, _: &Caller, events: &[LoggedEvent]) -> Result<WriteSet, HandlerError> {
        let mut set = WriteSet::new();
        for event in events {
            let Moved { updated: key } = event.data()?;
            for stored in of_key(&self.db, &[key.key_id.as_str()], &key.serials()).await? {
                if key.is_elsewhere(&stored) {
                    move_to_engine(&mut set, &stored.id, &key.engine_id);
                }
            }
            ca_request::move_to_engine(&mut set, &key.key_id, &key.engine_id);
        }
        Ok(set)
    }
}
