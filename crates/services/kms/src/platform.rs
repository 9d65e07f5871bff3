//! The handle that the platform's own certificates, CRLs and OCSP answers are signed with.

use std::sync::{Arc, PoisonError, RwLock};

use ::metrics::Counter;
use async_trait::async_trait;
use lamassu_core::crypto_engine::{EngineError, KeyLocation, Signer};
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::KmsError;
use lamassu_crypto::{Message, PublicKey, SignatureScheme};
use time::OffsetDateTime;

use crate::cache::UsableKey;
use crate::finder::KeyFinder;
use crate::key_address::KeyAddress;
use crate::metrics::{self, Purpose};
use crate::service::Kms;
use crate::usage::{Operation, UsageBook};

impl Kms {
    /// No query is made and no file is read for a key that was used lately.
    pub(crate) async fn platform_signer(
        &self,
        named: &KeyRef,
    ) -> Result<Arc<dyn Signer>, KmsError> {
        let address = KeyAddress::parse(named)?;
        let (key, signer) = self.finder.signing(&address).await?;
        Ok(Arc::new(PlatformSigner {
            public_key: key.public.clone(),
            signatures: metrics::signatures(&key.engine_id, Purpose::Platform),
            held: RwLock::new(Held { key, signer }),
            finder: self.finder.clone(),
            usage: Arc::clone(&self.usage),
            clock: self.db.clone(),
            address,
        }))
    }
}

/// Signs with a key for as long as it may. Services keep it for hours: what happens to the key
/// meanwhile (disabled, moved, deleted) is seen at each signature, which costs a look into memory.
#[derive(Debug)]
struct PlatformSigner {
    public_key: PublicKey,
    address: KeyAddress,
    finder: KeyFinder,
    held: RwLock<Held>,
    usage: Arc<UsageBook>,
    clock: lamassu_db::Db,
    signatures: Counter,
}

/// What the last signature was made with.
#[derive(Clone, Debug)]
struct Held {
    key: Arc<UsableKey>,
    signer: Arc<dyn Signer>,
}

impl PlatformSigner {
    fn held(&self) -> Held {
        self.held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who signs now. The signer that is held serves as long as the key is where it was.
    async fn current(&self) -> Result<Held, EngineError> {
        let held = self.held();
        let key = self.finder.usable(&self.address).await;
        let key = key.map_err(not_signed)?;
        key.require_active().map_err(not_signed)?;
        if key.handle == held.key.handle {
            return Ok(held);
        }
        let (key, signer) = self
            .finder
            .signing(&self.address)
            .await
            .map_err(not_signed)?;
        if key.public != self.public_key {
            return Err(EngineError::KeyNotFound);
        }
        let moved = Held { key, signer };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = moved.clone();
        Ok(moved)
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }
}

#[async_trait]
impl Signer for PlatformSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn location(&self) -> KeyLocation {
        self.held().signer.location()
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        let Held { key, signer } = self.current().await?;
        let signature = signer.sign(scheme, message).await?;
        self.signatures.increment(1);
        self.usage.note(&key.key_id, Operation::Sign, self.now());
        Ok(signature)
    }
}

/// The service's refusal in the words of an engine.
fn not_signed(error: KmsError) -> EngineError {
    match error {
        KmsError::KeyNotFound => EngineError::KeyNotFound,
        KmsError::KeyDisabled => EngineError::KeyDisabled,
        other => match other.kind() {
            ErrorKind::Unavailable => EngineError::Unavailable(Box::new(other)),
            _ => EngineError::Failed(Box::new(other)),
        },
    }
}
