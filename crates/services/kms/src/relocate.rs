//! Moving a key from one engine into another.
//!
//! A crash at any point leaves the key usable in exactly one engine, and what it leaves in the other
//! one has a row of its own, which the reaper finds. The key has another handle in its new engine:
//! so no late deletion in the old one, nor a move back, can meet the wrong material.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{CryptoEngine, EngineError, KeyHandle};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::{Key, KmsError};
use lamassu_crypto::{PrivateKey, PublicKey};
use lamassu_db::{Attempt, AuditRecord, WriteSet, retry_races};

use crate::create::handle_for;
use crate::engines::{no_signer, refused};
use crate::events;
use crate::import::{not_taken, unsupported};
use crate::jobs::REAPER_JOB;
use crate::metrics;
use crate::service::Kms;
use crate::store::{
    Half, Leftover, LeftoverState, StoredKey, claim_leftover, insert_leftover, pkcs11_uri,
    relocate, remove_leftover,
};

/// The event of a move, and its name in the audit log.
const MOVED: &str = "kms.engine.update";

/// A key on its way.
#[derive(Debug)]
struct Move<'a> {
    /// As it was when the move began.
    stored: &'a StoredKey,
    source: &'a Arc<dyn CryptoEngine>,
    target: &'a Arc<dyn CryptoEngine>,
    /// Its handle in the target.
    handle: KeyHandle,
}

impl Kms {
    /// 1. Everything that can refuse, the private key in hand. 2. A row that says what the target
    ///    may hold from now on. 3. The target takes the key and signs as the same key. 4. One write
    ///    set: the key is there, and what the source holds is to be forgotten. 5. The source forgets.
    pub(crate) async fn relocate(
        &self,
        caller: &Caller,
        named: &KeyRef,
        engine: &EngineId,
    ) -> Result<Key, KmsError> {
        if engine.is_empty() {
            return Err(KmsError::Validation);
        }
        let stored = self.stored_key(named).await?;
        let target = self.engines.requested(engine)?;
        if stored.key.engine_id == *engine {
            return Ok(stored.key);
        }
        let source = self.engines.holder(&stored.key.engine_id)?;
        let private = source.export(&stored.handle).await;
        let private = private.map_err(|error| not_given(source.as_ref(), &stored.handle, error))?;
        if !target.info().supports(private.public_key().spec()) {
            return Err(unsupported(target.info(), private.public_key().spec()));
        }
        let moving = Move {
            handle: handle_for(None)?,
            stored: &stored,
            source,
            target,
        };
        self.announce(&moving).await?;
        let moved = match self.put(&moving, private).await {
            Ok(()) => self.switch(caller, named, &moving).await,
            Err(error) => Err(error),
        };
        match moved {
            Ok(key) => {
                metrics::moved(&key.engine_id);
                let leaving = (&moving.stored.handle, moving.source);
                self.forget_leftover(leaving.1, leaving.0).await;
                Ok(key)
            }
            Err(error) => {
                self.take_back(&moving).await;
                Err(error)
            }
        }
    }

    async fn announce(&self, moving: &Move<'_>) -> Result<(), KmsError> {
        let mut set = WriteSet::new();
        insert_leftover(
            &mut set,
            &Leftover {
                handle: moving.handle.clone(),
                engine_id: moving.target.info().id.clone(),
                state: LeftoverState::Moving,
                since: self.db.now(),
            },
        );
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(())
    }

    /// Gives the key to the target, and asks it which key it has now: one that mixes keys up must
    /// not be the only holder of this one.
    async fn put(&self, moving: &Move<'_>, private: PrivateKey) -> Result<(), KmsError> {
        let expected = private.public_key().clone();
        let taken = moving.target.import(&moving.handle, private).await;
        let taken = taken.map_err(|error| not_taken(moving.target.as_ref(), error))?;
        let signer = moving.target.signer(&moving.handle).await;
        let signer = signer.map_err(|error| not_taken(moving.target.as_ref(), error))?;
        require_same(&expected, &taken)?;
        require_same(&expected, signer.public_key())?;
        require_same(&expected, &public_half(&moving.stored.key)?)
    }

    /// From here on the key is in the target. Fails when somebody deleted or moved it meanwhile, or
    /// when the reaper took the move for one that a crash had left.
    async fn switch(
        &self,
        caller: &Caller,
        named: &KeyRef,
        moving: &Move<'_>,
    ) -> Result<Key, KmsError> {
        let by_id = KeyRef::from(&moving.stored.key.key_id);
        retry_races(|| async {
            let stored = self.stored_key(&by_id).await?;
            if stored.handle != moving.stored.handle {
                return Err(KmsError::KeyUnsettled.into());
            }
            self.try_switch(caller, named, moving, &stored).await
        })
        .await
    }

    async fn try_switch(
        &self,
        caller: &Caller,
        named: &KeyRef,
        moving: &Move<'_>,
        stored: &StoredKey,
    ) -> Result<Key, Attempt<KmsError>> {
        let target = &moving.target.info().id;
        let updated = Key {
            engine_id: target.clone(),
            pkcs11_uri: pkcs11_uri(target, &stored.key.key_id, Half::Private),
            ..stored.key.clone()
        };
        let now = self.db.now();
        let mut set = WriteSet::new();
        remove_leftover(&mut set, &moving.handle, LeftoverState::Moving);
        relocate(&mut set, stored, target, &moving.handle);
        insert_leftover(
            &mut set,
            &Leftover {
                handle: stored.handle.clone(),
                engine_id: stored.key.engine_id.clone(),
                state: LeftoverState::Leaving,
                since: now,
            },
        );
        let keys = events::Pair {
            previous: &stored.key,
            updated: &updated,
        };
        set.event(events::updated(MOVED, caller, named, keys, now));
        let resource = events::resource(&updated.key_id);
        set.audit(AuditRecord::done(caller, MOVED, resource, now));
        self.db.commit(set).await?;
        self.cache.forget(&stored.key);
        Ok(updated)
    }

    /// Removes what a move that failed put into the target, unless nobody knows whether it failed:
    /// that is found out by the reaper, much later.
    async fn take_back(&self, moving: &Move<'_>) {
        let mut set = WriteSet::new();
        claim_leftover(&mut set, &moving.handle, self.db.now());
        match self.db.commit(set).await {
            Ok(_) => self.forget_leftover(moving.target, &moving.handle).await,
            Err(error) => tracing::debug!(%error, "moved key left to the reaper"),
        }
    }

    /// Lets an engine forget what is leaving it. What fails here is left to the reaper.
    async fn forget_leftover(&self, engine: &Arc<dyn CryptoEngine>, handle: &KeyHandle) {
        if let Err(error) = self.try_forget_leftover(engine, handle).await {
            tracing::debug!(%error, "moved key left to the reaper");
            self.db.wake(REAPER_JOB);
        }
    }

    /// Lets an engine forget what is leaving it, and removes the row that says so.
    pub(crate) async fn try_forget_leftover(
        &self,
        engine: &Arc<dyn CryptoEngine>,
        handle: &KeyHandle,
    ) -> Result<(), Attempt<KmsError>> {
        let deleted = engine.delete(handle).await;
        deleted.map_err(|error| refused(&engine.info().id, error))?;
        let mut set = WriteSet::new();
        remove_leftover(&mut set, handle, LeftoverState::Leaving);
        self.db.commit(set).await?;
        Ok(())
    }
}

fn public_half(key: &Key) -> Result<PublicKey, KmsError> {
    PublicKey::from_spki_der(key.public_key.der()).map_err(|error| KmsError::Engine(error.into()))
}

/// The target has another key than the one that it was given.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the engine holds another key than the one that it was given")]
struct AnotherKey;

fn require_same(expected: &PublicKey, found: &PublicKey) -> Result<(), KmsError> {
    if expected == found {
        Ok(())
    } else {
        Err(KmsError::ImportFailed(Box::new(AnotherKey)))
    }
}

/// Why an engine did not give a private key away.
fn not_given(engine: &dyn CryptoEngine, handle: &KeyHandle, error: EngineError) -> KmsError {
    match error {
        EngineError::Unsupported(_) => refused(&engine.info().id, error),
        other => no_signer(engine, handle, other),
    }
}
