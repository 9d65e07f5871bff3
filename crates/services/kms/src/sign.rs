//! Signing and verifying.

use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{KmsError, SignMessage};
use lamassu_crypto::VerifyError;
use lamassu_db::{AuditRecord, Event, WriteSet};

use crate::algorithm::Question;
use crate::cache::UsableKey;
use crate::engines::refused;
use crate::events::{self, Verification};
use crate::key_address::KeyAddress;
use crate::metrics::{self, Purpose};
use crate::service::Kms;
use crate::usage::Operation;

impl Kms {
    /// Signs for a client. The signature leaves only once its event is stored.
    pub(crate) async fn sign_message(
        &self,
        caller: &Caller,
        named: &KeyRef,
        asked: &SignMessage,
    ) -> Result<Vec<u8>, KmsError> {
        require_complete(asked)?;
        let address = KeyAddress::parse(named)?;
        let key = self.finder.usable(&address).await?;
        let question = Question::parse(asked, &key.public)?;
        let (key, signer) = self.finder.signing(&address).await?;
        let signature = signer
            .sign(question.scheme, question.message)
            .await
            .map_err(|error| refused(&key.engine_id, error))?;
        metrics::signatures(&key.engine_id, Purpose::Api).increment(1);
        self.usage.note(&key.key_id, Operation::Sign, self.db.now());
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
        let address = KeyAddress::parse(named)?;
        let key = self.finder.usable(&address).await?;
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
        self.usage
            .note(&key.key_id, Operation::Verify, self.db.now());
        let event = events::verified(caller, named, Verification { valid }, self.db.now());
        self.record(caller, "kms.verify", &key, event).await?;
        Ok(valid)
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
