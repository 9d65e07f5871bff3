//! A crypto engine that fails as it is told to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lamassu_core::crypto_engine::{
    CryptoEngine, EngineError, EngineInfo, KeyHandle, KeyRetention, Signer, Unsupported,
};
use lamassu_crypto::{KeySpec, PrivateKey, PublicKey};
use lamassu_crypto_software::SoftwareEngine;
use tokio::sync::Semaphore;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Too many slow keys.
    Busy,
    /// The back end does not answer.
    Unavailable,
    /// The back end fails.
    Failing,
    /// It cannot delete at all.
    CannotDelete,
    /// Generation or import makes the key and never answers.
    SilentAfterMaking,
    /// It forgets no key, today.
    DeletionFails,
    /// It gives no private key away.
    KeepsKeys,
    /// Import keeps another key than the one that it was given.
    MixingUp,
    /// Generation waits for [`Faulty::open_gate`] before it makes the key.
    Gated,
}

/// Keys in memory that outlive the service, and an engine on top that can be told to fail.
#[derive(Debug)]
pub(crate) struct Faulty {
    info: EngineInfo,
    keys: SoftwareEngine,
    fault: Mutex<Fault>,
    /// A permit per generation that has begun.
    begun: Semaphore,
    gate: Semaphore,
}

impl Faulty {
    pub(crate) fn over(keys: SoftwareEngine) -> Arc<Self> {
        let info = EngineInfo {
            retention: KeyRetention::Durable,
            ..keys.info().clone()
        };
        Arc::new(Self {
            info,
            keys,
            fault: Mutex::new(Fault::None),
            begun: Semaphore::new(0),
            gate: Semaphore::new(0),
        })
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    /// Waits until a generation has begun that was not waited for before.
    pub(crate) async fn generation_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }

    pub(crate) async fn n_keys(&self) -> usize {
        self.keys.list(None, 100).await.unwrap().len()
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn check(&self) -> Result<(), EngineError> {
        match self.fault() {
            Fault::Busy => Err(EngineError::Busy),
            Fault::Unavailable => Err(EngineError::Unavailable("no route".into())),
            Fault::Failing => Err(EngineError::Failed("smoke".into())),
            Fault::None
            | Fault::CannotDelete
            | Fault::SilentAfterMaking
            | Fault::DeletionFails
            | Fault::KeepsKeys
            | Fault::MixingUp
            | Fault::Gated => Ok(()),
        }
    }
}

#[async_trait]
impl CryptoEngine for Faulty {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    async fn generate(&self, handle: &KeyHandle, spec: KeySpec) -> Result<PublicKey, EngineError> {
        self.check()?;
        if self.fault() == Fault::Gated {
            self.begun.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
        }
        let made = self.keys.generate(handle, spec).await;
        if self.fault() == Fault::SilentAfterMaking {
            self.begun.add_permits(1);
            std::future::pending::<()>().await;
        }
        made
    }

    async fn import(&self, handle: &KeyHandle, key: PrivateKey) -> Result<PublicKey, EngineError> {
        self.check()?;
        let taken = match self.fault() {
            Fault::MixingUp => self.keys.generate(handle, key.public_key().spec()).await,
            _ => self.keys.import(handle, key).await,
        };
        if self.fault() == Fault::SilentAfterMaking {
            self.begun.add_permits(1);
            std::future::pending::<()>().await;
        }
        taken
    }

    async fn health(&self) -> Result<(), EngineError> {
        self.check()
    }

    async fn signer(&self, handle: &KeyHandle) -> Result<Arc<dyn Signer>, EngineError> {
        self.check()?;
        self.keys.signer(handle).await
    }

    async fn export(&self, handle: &KeyHandle) -> Result<PrivateKey, EngineError> {
        self.check()?;
        if self.fault() == Fault::KeepsKeys {
            return Err(EngineError::Unsupported(Unsupported::Export));
        }
        self.keys.export(handle).await
    }

    async fn delete(&self, handle: &KeyHandle) -> Result<(), EngineError> {
        self.check()?;
        if self.fault() == Fault::CannotDelete {
            return Err(EngineError::Unsupported(Unsupported::Delete));
        }
        if self.fault() == Fault::DeletionFails {
            return Err(EngineError::Failed("jammed".into()));
        }
        self.keys.delete(handle).await
    }

    async fn list(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<Vec<KeyHandle>, EngineError> {
        self.keys.list(after, limit).await
    }
}
