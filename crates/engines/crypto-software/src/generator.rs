//! Making keys without stopping everything else.

use std::sync::Arc;

use lamassu_core::crypto_engine::EngineError;
use lamassu_crypto::{KeySpec, PrivateKey};
use tokio::sync::Semaphore;

/// Makes private keys, RSA keys on threads of their own and only so many at a time.
///
/// An RSA key takes from a tenth of a second (2048 bits) to a minute (8192 bits) of a core; all
/// other kinds take well below a millisecond and are made at once. One generator serves all
/// engines of a process. Clones share the bounds.
#[derive(Debug, Clone)]
pub struct KeyGenerator {
    /// Requests that may be waiting or running.
    places: Arc<Semaphore>,
    /// Requests that may be running.
    workers: Arc<Semaphore>,
}

impl KeyGenerator {
    /// Slow keys that may be asked for at once before [`EngineError::Busy`].
    pub const PLACES: usize = 64;

    /// A generator that makes at most `n_workers` slow keys at the same time, at least one.
    #[must_use]
    pub fn new(n_workers: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(Self::PLACES)),
            workers: Arc::new(Semaphore::new(n_workers.max(1))),
        }
    }

    /// Makes a key. When the caller goes away, a key being made is finished and dropped.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`] when all places are taken, [`EngineError::Key`] when the key cannot
    /// be made.
    pub async fn generate(&self, spec: KeySpec) -> Result<PrivateKey, EngineError> {
        if !is_slow(spec) {
            return Ok(PrivateKey::generate(spec)?);
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| EngineError::Busy)?;
        let worker = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|closed| EngineError::Failed(closed.into()))?;
        let made = tokio::task::spawn_blocking(move || {
            let made = PrivateKey::generate(spec);
            drop((place, worker));
            made
        });
        let key = made
            .await
            .map_err(|join| EngineError::Failed(join.into()))??;
        Ok(key)
    }
}

fn is_slow(spec: KeySpec) -> bool {
    match spec {
        KeySpec::Rsa(_) => true,
        KeySpec::Ec(_)
        | KeySpec::Ed25519
        | KeySpec::MlDsa44
        | KeySpec::MlDsa65
        | KeySpec::MlDsa87 => false,
    }
}
