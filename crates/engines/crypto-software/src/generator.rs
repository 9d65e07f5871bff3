//! Making keys without stopping everything else.

use lamassu_core::crypto_engine::EngineError;
use lamassu_crypto::{KeySpec, PrivateKey};

use crate::slow_keys::SlowKeys;

/// Makes private keys, slow ones on threads of their own and only so many at a time.
///
/// One generator serves all engines of a process that make keys in its memory. Clones share the
/// bounds.
#[derive(Debug, Clone)]
pub struct KeyGenerator(SlowKeys);

impl KeyGenerator {
    /// A generator that makes at most `n_workers` slow keys at the same time, at least one.
    #[must_use]
    pub fn new(n_workers: usize) -> Self {
        Self(SlowKeys::new(n_workers))
    }

    /// Makes a key. When the caller goes away, a key being made is finished and dropped.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`] when all places are taken, [`EngineError::Key`] when the key cannot
    /// be made.
    pub async fn generate(&self, spec: KeySpec) -> Result<PrivateKey, EngineError> {
        let Some(leave) = self.0.admit(spec).await? else {
            return Ok(PrivateKey::generate(spec)?);
        };
        let made = tokio::task::spawn_blocking(move || {
            let made = PrivateKey::generate(spec);
            drop(leave);
            made
        });
        let key = made
            .await
            .map_err(|join| EngineError::Failed(join.into()))??;
        Ok(key)
    }
}
