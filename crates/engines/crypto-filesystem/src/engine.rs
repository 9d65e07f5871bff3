//! The engine: the port over the key files.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::crypto_engine::{
    CryptoEngine, EngineError, EngineInfo, EngineType, KeyHandle, KeyRetention, SecurityLevel,
    Signer,
};
use lamassu_core::ids::EngineId;
use lamassu_crypto::{KeySpec, PrivateKey, PublicKey};
use lamassu_crypto_software::KeyGenerator;

use crate::config::FilesystemConfig;
use crate::error::{KeyFileError, OpenError};
use crate::store::KeyStore;

/// Keys in a directory.
pub struct FilesystemEngine {
    info: EngineInfo,
    generator: KeyGenerator,
    store: Arc<KeyStore>,
}

impl FilesystemEngine {
    /// Opens the directory, creating it when it is missing. Blocks on the disk, and once for a
    /// fraction of a second where encrypted keys exist: a passphrase is checked against one.
    ///
    /// # Errors
    ///
    /// What [`OpenError`] says, with the path in question.
    pub fn open(config: FilesystemConfig, generator: KeyGenerator) -> Result<Self, OpenError> {
        config.validate()?;
        let secret = config.secret()?;
        let store = KeyStore::open(config.storage_directory, secret)?;
        Ok(Self {
            info: EngineInfo {
                id: EngineId::from(config.id),
                engine_type: EngineType::Golang,
                security_level: SecurityLevel::Host,
                retention: KeyRetention::Durable,
                provider: "Golang".to_owned(),
                name: "Filesystem".to_owned(),
                metadata: config.metadata,
                supported: KeySpec::GENERATED.to_vec(),
            },
            generator,
            store: Arc::new(store),
        })
    }

    /// Runs `work` on a thread that may wait for the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&KeyStore) -> Result<T, KeyFileError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|join| EngineError::Failed(join.into()))?
            .map_err(EngineError::from)
    }

    async fn keep(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError> {
        let public = key.public_key().clone();
        let handle = handle.clone();
        self.on_disk(move |store| store.create(&handle, key))
            .await?;
        Ok(public)
    }
}

#[async_trait]
impl CryptoEngine for FilesystemEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    async fn generate(&self, handle: &KeyHandle, spec: KeySpec) -> Result<PublicKey, EngineError> {
        self.info.require(spec)?;
        let free = handle.clone();
        self.on_disk(move |store| store.require_free(&free)).await?;
        let key = self.generator.generate(spec).await?;
        self.keep(handle, key).await
    }

    async fn import(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError> {
        self.info.require(key.public_key().spec())?;
        self.keep(handle, key).await
    }

    async fn signer(&self, handle: &KeyHandle) -> Result<Arc<dyn Signer>, EngineError> {
        if let Some(key) = self.store.cached(handle) {
            return Ok(key);
        }
        let handle = handle.clone();
        let key = self.on_disk(move |store| store.load(&handle)).await?;
        Ok(key)
    }

    async fn export(&self, handle: &KeyHandle) -> Result<PrivateKey, EngineError> {
        let handle = handle.clone();
        self.on_disk(move |store| store.export(&handle)).await
    }

    fn place(&self) -> String {
        self.store.location().display().to_string()
    }

    async fn missing(&self, handles: Vec<KeyHandle>) -> Result<Vec<KeyHandle>, EngineError> {
        self.on_disk(move |store| store.missing(handles)).await
    }

    async fn delete(&self, handle: &KeyHandle) -> Result<(), EngineError> {
        let handle = handle.clone();
        self.on_disk(move |store| store.delete(&handle)).await
    }

    async fn list(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<Vec<KeyHandle>, EngineError> {
        let after = after.cloned();
        self.on_disk(move |store| store.list(after.as_ref(), limit))
            .await
    }
}

impl fmt::Debug for FilesystemEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesystemEngine")
            .field("id", &self.info.id)
            .field("directory", &self.store.location())
            .finish_non_exhaustive()
    }
}
