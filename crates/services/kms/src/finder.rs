//! Keys by reference, and who signs with them: mostly from memory.

use std::sync::Arc;

use lamassu_core::crypto_engine::{EngineError, Signer};
use lamassu_core::error::StorageFailure;
use lamassu_core::kms::KmsError;

use crate::cache::{KeyCache, UsableKey};
use crate::engines::{Engines, KeyNotGiven, no_signer};
use crate::key_address::KeyAddress;
use crate::store::KeyStore;

/// Where keys are found. Clones share what is remembered.
#[derive(Clone, Debug)]
pub(crate) struct KeyFinder {
    store: KeyStore,
    cache: Arc<KeyCache>,
    engines: Arc<Engines>,
}

impl KeyFinder {
    pub(crate) const fn new(store: KeyStore, cache: Arc<KeyCache>, engines: Arc<Engines>) -> Self {
        Self {
            store,
            cache,
            engines,
        }
    }

    /// What signing and verifying need of the key at an address.
    pub(crate) async fn usable(&self, address: &KeyAddress) -> Result<Arc<UsableKey>, KmsError> {
        if let Some(key) = self.cache.find(address) {
            return Ok(key);
        }
        let read_at = self.cache.epoch();
        let found = self.store.key_by_address(address).await;
        let found = found.map_err(StorageFailure::from)?;
        let stored = found.ok_or(KmsError::KeyNotFound)?;
        let key = Arc::new(UsableKey::try_from(stored)?);
        self.cache.keep(address, Arc::clone(&key), read_at);
        Ok(key)
    }

    /// The key at an address, provided that it may sign, and who signs with it. A key that another
    /// process has moved is looked for a second time.
    pub(crate) async fn signing(
        &self,
        address: &KeyAddress,
    ) -> Result<(Arc<UsableKey>, Arc<dyn Signer>), KmsError> {
        let key = self.usable(address).await?;
        match self.signer_of(&key).await {
            Err(KmsError::SigningKey(cause)) if is_gone(&*cause) => {
                self.cache.forget_address(address);
                let moved = self.usable(address).await?;
                if moved.handle == key.handle {
                    return Err(KmsError::SigningKey(cause));
                }
                let signer = self.signer_of(&moved).await?;
                Ok((moved, signer))
            }
            outcome => Ok((key, outcome?)),
        }
    }

    async fn signer_of(&self, key: &UsableKey) -> Result<Arc<dyn Signer>, KmsError> {
        key.require_active()?;
        let engine = self.engines.holder(&key.engine_id)?;
        let signer = engine.signer(&key.handle).await;
        signer.map_err(|error| no_signer(engine.as_ref(), &key.handle, error))
    }
}

/// Whether the engine said that it has no such key.
fn is_gone(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    cause
        .downcast_ref::<KeyNotGiven>()
        .is_some_and(|cause| matches!(cause.source, EngineError::KeyNotFound))
}
