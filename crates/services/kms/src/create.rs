//! Making a key: a row first, then the key, then the row is shown.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{CryptoEngine, EngineError, KeyHandle};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{KeyId, OperationId};
use lamassu_core::kms::{
    CreateKey, GENERATION_DEADLINE, Key, KeyStatus, KeyType, KmsError, MAX_NAME_OCTETS,
};
use lamassu_core::pem::PublicKeyDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_crypto::{KeySpec, PublicKey};
use lamassu_db::{AuditRecord, WriteSet};
use tokio::time::Instant;
use uuid::Uuid;

use crate::engines::refused;
use crate::events;
use crate::jobs::REAPER_JOB;
use crate::metrics;
use crate::service::Kms;
use crate::store::{Half, NewKey, PENDING, insert_pending, mark_ready, pkcs11_uri};

/// Refuses a name that no index takes.
pub(crate) const fn require_short(name: &str) -> Result<(), KmsError> {
    if name.len() > MAX_NAME_OCTETS {
        return Err(KmsError::NameTooLong);
    }
    Ok(())
}

impl Kms {
    /// 1. Everything that can refuse. 2. The row, pending. 3. The key, in the engine. 4. The row,
    ///    ready, with event and audit record. A crash after 2 leaves a row that the reaper finds.
    pub(crate) async fn create(&self, caller: &Caller, asked: CreateKey) -> Result<Key, KmsError> {
        if asked.algorithm.is_empty() || asked.size == 0 {
            return Err(KmsError::Validation);
        }
        require_short(&asked.name)?;
        let engine = self.engines.requested(&asked.engine_id)?;
        let spec = spec_for(&asked, engine.as_ref())?;
        let handle = handle_for(asked.operation.as_ref())?;
        if asked.operation.is_some() {
            let made = self.store.key_made_as(&handle).await;
            if let Some(made) = made.map_err(StorageFailure::from)? {
                return Ok(made.key);
            }
        }
        let new = NewKey {
            handle,
            key_id: None,
            engine_id: engine.info().id.clone(),
            algorithm: KeyType::of(spec).as_str(),
            size: spec.bits(),
            name: asked.name,
            tags: asked.tags,
            metadata: asked.metadata,
            created_at: self.db.now(),
        };
        // A handle that is taken: the same operation is being carried out at this moment.
        if self.reserve(&new).await? == Reserved::No {
            return Err(KmsError::Busy);
        }
        let public = self.generate(engine, &new, spec).await?;
        let (handle, key) = (
            new.handle.clone(),
            shown(named_by_id(new, &public), &public),
        );
        self.show(caller, &handle, key, Origin::Made).await
    }

    /// Writes the row of a key in the making.
    pub(crate) async fn reserve(&self, new: &NewKey) -> Result<Reserved, KmsError> {
        let mut set = WriteSet::new();
        insert_pending(&mut set, new);
        match self.db.commit(set).await {
            Ok(_) => Ok(Reserved::Yes),
            Err(error) if error.failed(PENDING) => Ok(Reserved::No),
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    async fn generate(
        &self,
        engine: &Arc<dyn CryptoEngine>,
        new: &NewKey,
        spec: KeySpec,
    ) -> Result<PublicKey, KmsError> {
        let begun = Instant::now();
        let making = engine.generate(&new.handle, spec);
        match tokio::time::timeout(GENERATION_DEADLINE, making).await {
            Ok(Ok(public)) => {
                metrics::created(&new.engine_id, begun.elapsed());
                Ok(public)
            }
            Ok(Err(error)) => {
                self.give_up(engine, &new.handle, &error).await;
                Err(refused(&new.engine_id, error))
            }
            // The engine may still make it: the row stays for the reaper.
            Err(_elapsed) => Err(KmsError::Busy),
        }
    }

    /// Lets a key that its engine holds be there for everybody.
    pub(crate) async fn show(
        &self,
        caller: &Caller,
        handle: &KeyHandle,
        key: Key,
        origin: Origin,
    ) -> Result<Key, KmsError> {
        let now = self.db.now();
        let (event, operation) = match origin {
            Origin::Made => (events::created(caller, &key, now), "kms.create"),
            Origin::Outside => (events::imported(caller, &key, now), "kms.import"),
        };
        let mut set = WriteSet::new();
        mark_ready(&mut set, handle, &key, now);
        set.event(event);
        let resource = events::resource(&key.key_id);
        set.audit(AuditRecord::done(caller, operation, resource, now));
        match self.db.commit(set).await {
            Ok(_) => {
                // Its id may have been an alias of another key until now.
                self.cache.forget(&key);
                Ok(key)
            }
            // The operation was discarded meanwhile: nothing refers to this key.
            Err(error) if error.failed(PENDING) => {
                if let Some(engine) = self.engines.by_id(&key.engine_id) {
                    self.abandon(engine, handle).await;
                }
                Err(KmsError::KeyNotFound)
            }
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    /// Removes what a call began that failed so. An engine that is away leaves nothing to remove, and
    /// would leave a row for every refusal.
    pub(crate) async fn give_up(
        &self,
        engine: &Arc<dyn CryptoEngine>,
        handle: &KeyHandle,
        error: &EngineError,
    ) {
        if matches!(error, EngineError::NotReached(_) | EngineError::Busy) {
            if let Err(error) = self.remove_reservation(handle).await {
                tracing::debug!(%error, "row of a key that was not begun left to the reaper");
            }
        } else {
            self.abandon(engine, handle).await;
        }
    }

    /// Removes what was begun. What fails here is left to the reaper.
    async fn abandon(&self, engine: &Arc<dyn CryptoEngine>, handle: &KeyHandle) {
        if let Err(error) = self.remove_pending(engine, handle).await {
            tracing::debug!(%error, "key in the making left to the reaper");
            // So that it knows when that is due.
            self.db.wake(REAPER_JOB);
        }
    }
}

/// Whether a row for a key in the making was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// It was.
    Yes,
    /// Its handle or its key id is taken.
    No,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// Its engine made it.
    Made,
    /// Somebody brought it.
    Outside,
}

fn spec_for(asked: &CreateKey, engine: &dyn CryptoEngine) -> Result<KeySpec, KmsError> {
    let info = engine.info();
    let key_type = KeyType::from_name(&asked.algorithm).filter(|known| {
        let mut supported = info.supported.iter().map(|spec| KeyType::of(*spec));
        supported.any(|supported| supported == *known)
    });
    let Some(key_type) = key_type else {
        return Err(KmsError::KeyTypeUnsupported {
            key_type: asked.algorithm.clone(),
            provider: info.provider.clone(),
        });
    };
    let spec = key_type.with_size(asked.size);
    spec.filter(|spec| info.supports(*spec))
        .ok_or_else(|| KmsError::KeySizeUnsupported {
            size: asked.size,
            key_type: asked.algorithm.clone(),
            provider: info.provider.clone(),
        })
}

/// The key's name in the engine: the operation, so that what it made is found by it.
pub(crate) fn handle_for(operation: Option<&OperationId>) -> Result<KeyHandle, KmsError> {
    let text = operation.map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string);
    KeyHandle::try_new(&text).map_err(|_| KmsError::Validation)
}

/// Without a name a key that is made here is called by its id.
fn named_by_id(new: NewKey, public: &PublicKey) -> NewKey {
    if !new.name.is_empty() {
        return new;
    }
    let name = public.key_id_sha256_hex();
    NewKey { name, ..new }
}

/// The key as clients see it.
pub(crate) fn shown(new: NewKey, public: &PublicKey) -> Key {
    let key_id = KeyId::from(public.key_id_sha256_hex());
    Key {
        pkcs11_uri: pkcs11_uri(&new.engine_id, &key_id, Half::Private),
        key_id,
        name: new.name,
        aliases: Vec::new(),
        engine_id: new.engine_id,
        has_private_key: true,
        algorithm: new.algorithm.to_owned(),
        size: new.size,
        public_key: PublicKeyDer::from_der(public.spki_der().to_vec()),
        creation_ts: Timestamp::from(new.created_at),
        tags: new.tags,
        metadata: new.metadata,
        status: KeyStatus::Active,
        usage: None,
    }
}
