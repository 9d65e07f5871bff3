//! The bounds on keys that take long to make.

use std::sync::Arc;

use lamassu_core::crypto_engine::EngineError;
use lamassu_crypto::KeySpec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many slow keys may be made at a time, and how many may wait for that. Clones share the bounds.
///
/// An RSA key takes from a tenth of a second (2048 bits) to a minute (8192 bits) of a core; all
/// other kinds take well below a millisecond.
#[derive(Debug, Clone)]
pub struct SlowKeys {
    /// Requests that may be waiting or running.
    places: Arc<Semaphore>,
    /// Requests that may be running.
    workers: Arc<Semaphore>,
}

/// Leave to make one slow key, until it is dropped.
#[derive(Debug)]
pub struct Leave {
    _place: OwnedSemaphorePermit,
    _worker: OwnedSemaphorePermit,
}

impl SlowKeys {
    /// Slow keys that may be asked for at once before [`EngineError::Busy`].
    pub const PLACES: usize = 64;

    /// Bounds for at most `n_workers` slow keys at the same time, at least one.
    #[must_use]
    pub fn new(n_workers: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(Self::PLACES)),
            workers: Arc::new(Semaphore::new(n_workers.max(1))),
        }
    }

    /// Waits until a key of this kind may be made; nothing for the kinds that are made at once.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`] when all places are taken.
    pub async fn admit(&self, spec: KeySpec) -> Result<Option<Leave>, EngineError> {
        if !is_slow(spec) {
            return Ok(None);
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| EngineError::Busy)?;
        let worker = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|closed| EngineError::Failed(closed.into()))?;
        Ok(Some(Leave {
            _place: place,
            _worker: worker,
        }))
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
