//! The engine: a map from handle to key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use lamassu_core::crypto_engine::{
    CryptoEngine, EngineError, EngineInfo, EngineType, KeyHandle, KeyRetention, SecurityLevel,
    Signer,
};
use lamassu_core::ids::EngineId;
use lamassu_crypto::{KeySpec, PrivateKey, PublicKey};

use crate::config::SoftwareConfig;
use crate::generator::KeyGenerator;

type Keys = BTreeMap<KeyHandle, Arc<PrivateKey>>;

/// Keys in memory, wiped when deleted (once their last signature is made) and when the process
/// ends in order.
pub struct SoftwareEngine {
    info: EngineInfo,
    generator: KeyGenerator,
    /// Held for map operations only, never across an await.
    keys: RwLock<Keys>,
}

impl SoftwareEngine {
    /// An engine without keys.
    #[must_use]
    pub fn new(config: SoftwareConfig, generator: KeyGenerator) -> Self {
        Self {
            info: EngineInfo {
                id: EngineId::from(config.id),
                engine_type: EngineType::Golang,
                security_level: SecurityLevel::Host,
                retention: KeyRetention::Process,
                provider: "Software".to_owned(),
                name: "Memory".to_owned(),
                metadata: config.metadata,
                supported: KeySpec::GENERATED.to_vec(),
            },
            generator,
            keys: RwLock::default(),
        }
    }

    /// A thread that panicked while it held the lock has left the map whole: every change is one
    /// map operation.
    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn require_free(&self, handle: &KeyHandle) -> Result<(), EngineError> {
        if self.read().contains_key(handle) {
            Err(EngineError::KeyExists)
        } else {
            Ok(())
        }
    }

    fn keep(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError> {
        let public = key.public_key().clone();
        match self.write().entry(handle.clone()) {
            Entry::Occupied(_) => Err(EngineError::KeyExists),
            Entry::Vacant(place) => {
                place.insert(Arc::new(key));
                Ok(public)
            }
        }
    }
}

#[async_trait]
impl CryptoEngine for SoftwareEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    async fn generate(&self, handle: &KeyHandle, spec: KeySpec) -> Result<PublicKey, EngineError> {
        self.info.require(spec)?;
        self.require_free(handle)?;
        let key = self.generator.generate(spec).await?;
        self.keep(handle, key)
    }

    async fn import(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError> {
        self.info.require(key.public_key().spec())?;
        self.keep(handle, key)
    }

    async fn signer(&self, handle: &KeyHandle) -> Result<Arc<dyn Signer>, EngineError> {
        match self.read().get(handle) {
            Some(key) => Ok(Arc::<PrivateKey>::clone(key)),
            None => Err(EngineError::KeyNotFound),
        }
    }

    async fn export(&self, handle: &KeyHandle) -> Result<PrivateKey, EngineError> {
        let held = self.read().get(handle).cloned();
        let held = held.ok_or(EngineError::KeyNotFound)?;
        Ok(PrivateKey::from_pkcs8_der(&held.to_pkcs8_der()?)?)
    }

    async fn delete(&self, handle: &KeyHandle) -> Result<(), EngineError> {
        self.write().remove(handle);
        Ok(())
    }

    async fn list(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<Vec<KeyHandle>, EngineError> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.read();
        let page = keys.range::<KeyHandle, _>((begin, Bound::Unbounded));
        Ok(page.take(limit).map(|(handle, _)| handle.clone()).collect())
    }
}

impl fmt::Debug for SoftwareEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareEngine")
            .field("id", &self.info.id)
            .field("n_keys", &self.read().len())
            .finish_non_exhaustive()
    }
}
