//! Keys that were used lately, so that a signature costs no query.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::{EngineId, KeyId};
use lamassu_core::kms::{Key, KeyStatus, KmsError};
use lamassu_crypto::PublicKey;
use moka::sync::Cache;

use crate::key_address::KeyAddress;
use crate::store::StoredKey;

/// References that are remembered.
const MAX_ENTRIES: u64 = 10_000;

/// How long one is remembered: the longest that a process goes on with a key that another
/// process has deleted, disabled or moved, should it not hear of that. In this process it counts at
/// once.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);

/// What signing and verifying need of a key.
#[derive(Debug)]
pub(crate) struct UsableKey {
    pub(crate) key_id: KeyId,
    pub(crate) handle: KeyHandle,
    pub(crate) engine_id: EngineId,
    pub(crate) public: PublicKey,
    pub(crate) status: KeyStatus,
}

impl UsableKey {
    /// Refuses to sign with a key that was disabled.
    pub(crate) const fn require_active(&self) -> Result<(), KmsError> {
        match self.status {
            KeyStatus::Active => Ok(()),
            KeyStatus::Disabled => Err(KmsError::KeyDisabled),
        }
    }
}

impl TryFrom<StoredKey> for UsableKey {
    type Error = KmsError;

    fn try_from(stored: StoredKey) -> Result<Self, KmsError> {
        let public = PublicKey::from_spki_der(stored.key.public_key.der())
            .map_err(|error| KmsError::Engine(Box::new(error)))?;
        Ok(Self {
            key_id: stored.key.key_id,
            handle: stored.handle,
            engine_id: stored.key.engine_id,
            public,
            status: stored.key.status,
        })
    }
}

/// A moment before a read, see [`KeyCache::keep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// Keys by what they were asked for with.
#[derive(Debug)]
pub(crate) struct KeyCache {
    keys: Cache<KeyAddress, Arc<UsableKey>>,
    /// Counts what was forgotten. Whoever keeps or forgets holds it: what is kept is never older than
    /// what was forgotten, not even for a moment.
    epoch: Mutex<u64>,
}

impl KeyCache {
    pub(crate) fn new() -> Self {
        Self {
            keys: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(TIME_TO_LIVE)
                .build(),
            epoch: Mutex::default(),
        }
    }

    pub(crate) fn find(&self, address: &KeyAddress) -> Option<Arc<UsableKey>> {
        self.keys.get(address)
    }

    /// Taken before the read whose result is to be kept.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(*self.lock())
    }

    /// Remembers what was read, unless something was forgotten since: the row may be older than
    /// the deletion.
    pub(crate) fn keep(&self, address: &KeyAddress, key: Arc<UsableKey>, read_at: Epoch) {
        let epoch = self.lock();
        if *epoch == read_at.0 {
            self.keys.insert(address.clone(), key);
        }
    }

    /// Forgets what one reference meant: it turned out to be no longer true.
    pub(crate) fn forget_address(&self, address: &KeyAddress) {
        let _epoch = self.advance();
        self.keys.invalidate(address);
    }

    /// Forgets everything: another process has changed a key.
    pub(crate) fn forget_all(&self) {
        let _epoch = self.advance();
        self.keys.invalidate_all();
    }

    /// Forgets a key under all its names.
    pub(crate) fn forget(&self, key: &Key) {
        let _epoch = self.advance();
        self.keys.invalidate(&KeyAddress::Id(key.key_id.clone()));
        let names =
            std::iter::once(key.key_id.as_str()).chain(key.aliases.iter().map(String::as_str));
        for name in names {
            self.keys
                .invalidate(&KeyAddress::IdOrAlias(name.to_owned()));
        }
    }

    fn advance(&self) -> MutexGuard<'_, u64> {
        let mut epoch = self.lock();
        *epoch = epoch.wrapping_add(1);
        epoch
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
