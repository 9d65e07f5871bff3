//! Signing and verifying.

use std::sync::Arc;

use ::metrics::Counter;
use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{EngineError, KeyLocation, Signer};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{KmsError, SignMessage};
use lamassu_crypto::{Message, PublicKey, SignatureScheme, VerifyError};
use lamassu_db::{AuditRecord, Event, WriteSet};

use crate::algorithm::Question;
use crate::cache::UsableKey;
use crate::engines::{no_signer, refused};
use crate::events::{self, Verification};
use crate::metrics::{self, Purpose};
use crate::service::Kms;

impl Kms {
    /// Signs for a client. The signature leaves only once its event is stored.
    pub(crate) async fn sign_message(
        &self,
        caller: &Caller,
        named: &KeyRef,
        asked: &SignMessage,
    ) -> Result<Vec<u8>, KmsError> {
        require_complete(asked)?;
        let key = self.usable_key(named).await?;
        let question = Question::parse(asked, &key.public)?;
        let signer = self.engine_signer(&key).await?;
        let signature = signer
            .sign(question.scheme, question.message)
            .await
            .map_err(|error| refused(&key.engine_id, error))?;
        metrics::signatures(&key.engine_id, Purpose::Api).increment(1);
        let event = events::signed(caller, named, &signature, self.db.now());
        self.record(caller, "kms.sign", &key, event).await?;
        Ok(signature)
    }

    /// Verifies for a client, with the stored public key: no engine is needed.
    pub(crate) async fn verify_message(
        &self,
        caller: &Caller,
        named: &KeyRef,
        asked: &SignMessage,
        signature: &[u8],
    ) -> Result<bool, KmsError> {
        require_complete(asked)?;
        let key = self.usable_key(named).await?;
        let question = Question::parse(asked, &key.public)?;
        let valid = match key
            .public
            .verify(question.scheme, question.message, signature)
        {
            Ok(()) => true,
            Err(VerifyError::Mismatch) => false,
            Err(VerifyError::WrongKey) => return Err(KmsError::UnsupportedAlgorithm),
            Err(VerifyError::DigestLength { .. }) => return Err(KmsError::DigestSize),
            Err(VerifyError::RawOnly) => {
                return Err(KmsError::MessageType(asked.message_type.clone()));
            }
        };
        let event = events::verified(caller, named, Verification { valid }, self.db.now());
        self.record(caller, "kms.verify", &key, event).await?;
        Ok(valid)
    }

    /// The handle that the platform's own signatures are made with: no query and no file is read
    /// for a key that was used lately.
    pub(crate) async fn platform_signer(
        &self,
        named: &KeyRef,
    ) -> Result<Arc<dyn Signer>, KmsError> {
        let key = self.usable_key(named).await?;
        Ok(Arc::new(CountedSigner {
            signer: self.engine_signer(&key).await?,
            signatures: metrics::signatures(&key.engine_id, Purpose::Platform),
        }))
    }

    async fn engine_signer(&self, key: &UsableKey) -> Result<Arc<dyn Signer>, KmsError> {
        let engine = self.engines.holder(&key.engine_id)?;
        engine.signer(&key.handle).await.map_err(no_signer)
    }

    async fn record(
        &self,
        caller: &Caller,
        operation: &'static str,
        key: &UsableKey,
        event: Event,
    ) -> Result<(), KmsError> {
        let mut set = WriteSet::new();
        set.event(event);
        let resource = events::resource(&key.key_id);
        set.audit(AuditRecord::done(
            caller,
            operation,
            resource,
            self.db.now(),
        ));
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(())
    }
}

fn require_complete(asked: &SignMessage) -> Result<(), KmsError> {
    if asked.algorithm.is_empty() || asked.message_type.is_empty() {
        return Err(KmsError::Validation);
    }
    Ok(())
}

/// Counts the signatures that the platform makes.
#[derive(Debug)]
struct CountedSigner {
    signer: Arc<dyn Signer>,
    signatures: Counter,
}

#[async_trait]
impl Signer for CountedSigner {
    fn public_key(&self) -> &PublicKey {
        self.signer.public_key()
    }

    fn location(&self) -> KeyLocation {
        self.signer.location()
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        let signature = self.signer.sign(scheme, message).await?;
        self.signatures.increment(1);
        Ok(signature)
    }
}
