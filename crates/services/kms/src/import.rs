//! Taking a private key from outside: read, row, engine, row shown.

use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{CryptoEngine, EngineError, EngineInfo};
use lamassu_core::error::{ErrorKind, StorageFailure};
use lamassu_core::ids::KeyId;
use lamassu_core::kms::{ImportKey, Key, KeyType, KmsError, PrivateKeyBytes};
use lamassu_crypto::{KeyError, KeySpec, PrivateKey};

use crate::create::{Origin, Reserved, handle_for, require_short, shown};
use crate::engines::refused;
use crate::metrics;
use crate::service::Kms;
use crate::store::NewKey;

/// What a PEM text holds somewhere; DER of a key does not.
const PEM_MARK: &[u8] = b"-----BEGIN ";

impl Kms {
    /// 1. Everything that can refuse. 2. The row, pending, which reserves the key id: so a key that
    ///    exists is refused before an engine sees the material. 3. The engine. 4. The row, ready,
    ///    with event and audit record. A crash after 2 leaves a row that the reaper finds.
    pub(crate) async fn import(&self, caller: &Caller, asked: ImportKey) -> Result<Key, KmsError> {
        let read = read(&asked.private_key);
        // What cannot be read is refused first, a wrong size only by the engine in question.
        let read = match read {
            Err(KeyError::RsaSize { bits }) => Err(bits),
            Err(error) => return Err(unreadable(&error, &asked.private_key)),
            Ok(private) => Ok(private),
        };
        require_short(&asked.name)?;
        let engine = self.engines.requested(&asked.engine_id)?;
        let private = read.map_err(|bits| unsupported(engine.info(), KeySpec::Rsa(bits)))?;
        let spec = private.public_key().spec();
        if !engine.info().supports(spec) {
            return Err(unsupported(engine.info(), spec));
        }
        let new = NewKey {
            handle: handle_for(asked.operation.as_ref())?,
            key_id: Some(KeyId::from(private.public_key().key_id_sha256_hex())),
            engine_id: engine.info().id.clone(),
            algorithm: KeyType::of(spec).as_str(),
            size: spec.bits(),
            name: asked.name,
            tags: asked.tags,
            metadata: asked.metadata,
            created_at: self.db.now(),
        };
        if self.reserve(&new).await? == Reserved::No {
            return self.brought_before(&new).await;
        }
        let (handle, key) = (new.handle.clone(), shown(new, private.public_key()));
        if let Err(error) = engine.import(&handle, private).await {
            self.give_up(engine, &handle, &error).await;
            return Err(not_taken(engine.as_ref(), error));
        }
        metrics::imported(&key.engine_id);
        self.show(caller, &handle, key, Origin::Outside).await
    }

    /// The key is there. To the operation that brought it that is no refusal.
    async fn brought_before(&self, new: &NewKey) -> Result<Key, KmsError> {
        let same = self.store.key_made_as(&new.handle).await;
        let same = same.map_err(StorageFailure::from)?;
        if let Some(same) = same.filter(|same| Some(&same.key.key_id) == new.key_id.as_ref()) {
            return Ok(same.key);
        }
        let Some(key_id) = &new.key_id else {
            return Err(KmsError::Busy);
        };
        let is_unsettled = self.store.is_unsettled(key_id).await;
        if is_unsettled.map_err(StorageFailure::from)? {
            Err(KmsError::KeyUnsettled)
        } else {
            Err(KmsError::KeyExists)
        }
    }
}

fn read(sent: &PrivateKeyBytes) -> Result<PrivateKey, KeyError> {
    let octets = sent.as_slice();
    let is_pem = octets
        .windows(PEM_MARK.len())
        .any(|window| window == PEM_MARK);
    if is_pem {
        PrivateKey::from_pem(octets)
    } else {
        PrivateKey::from_der(octets)
    }
}

fn unreadable(error: &KeyError, sent: &PrivateKeyBytes) -> KmsError {
    if sent.as_slice().is_empty() {
        return KmsError::PrivateKeyRequired;
    }
    match error {
        KeyError::UnknownAlgorithm(_) => KmsError::PrivateKeyType,
        KeyError::Malformed
        | KeyError::NoPemBlock
        | KeyError::Encrypted
        | KeyError::UnknownCurve
        | KeyError::RsaSize { .. }
        | KeyError::RsaComponents
        | KeyError::Invalid
        | KeyError::NoSeed
        | KeyError::NotGenerated(_)
        | KeyError::Library => KmsError::PrivateKeyUnreadable,
    }
}

/// What an engine does not announce: the kind at all, or only this size of it.
pub(crate) fn unsupported(engine: &EngineInfo, spec: KeySpec) -> KmsError {
    let key_type = KeyType::of(spec);
    let provider = engine.provider.clone();
    let mut announced = engine.supported.iter().map(|spec| KeyType::of(*spec));
    if announced.any(|known| known == key_type) {
        KmsError::KeySizeUnsupported {
            size: spec.bits(),
            key_type: key_type.as_str().to_owned(),
            provider,
        }
    } else {
        KmsError::KeyTypeUnsupported {
            key_type: key_type.as_str().to_owned(),
            provider,
        }
    }
}

/// Why the engine did not take the key. Only that it is down or never takes any is told; what else
/// is wrong with it goes to the log.
pub(crate) fn not_taken(engine: &dyn CryptoEngine, error: EngineError) -> KmsError {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Invalid => refused(&engine.info().id, error),
        _ => match error {
            EngineError::Unsupported(_) => refused(&engine.info().id, error),
            other => KmsError::ImportFailed(Box::new(other)),
        },
    }
}
