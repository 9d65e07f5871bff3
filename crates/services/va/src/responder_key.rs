//! The keys of delegated OCSP responders: in the KMS, one per CA, the same for all processes on one
//! database and for all certificates that the CA gives it, until one of these is revoked: others may
//! have the key then.
//!
//! A row names the operation before the key is made, so that a key which a crash left is destroyed
//! before the next one is made. Keys of CAs that are gone are destroyed by the daily comparison.

use std::collections::BTreeSet;
use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::ids::{CaId, KeyId, KeyRef, OperationId};
use lamassu_core::kms::{CreateKey, KmsError, key_name};
use lamassu_core::va::VaError;
use lamassu_db::{WriteSet, system_caller};
use time::Duration;

use crate::delegates::DelegateError;
use crate::service::VaService;
use crate::store::responder_key::{self, ResponderKey};

/// A key that is not there after this time was left by a crash. It is small, and soon made.
const PATIENCE: Duration = Duration::MINUTE;

/// Who makes and destroys keys: not whoever asks a question.
const CALLER: &str = "va-ocsp-responder";

impl VaService {
    /// The key of a CA's responder; made where there is none.
    pub(crate) async fn responder_key(
        &self,
        ca: &CaId,
        name: &str,
    ) -> Result<Arc<dyn Signer>, DelegateError> {
        let caller = &system_caller(CALLER);
        if let Some(stored) = responder_key::of_ca(&self.db, ca).await? {
            match &stored.key_id {
                Some(key) => match self.signer_of(caller, key).await {
                    // Somebody has deleted it.
                    Err(DelegateError::Kms(KmsError::KeyNotFound)) => {}
                    outcome => return outcome,
                },
                None if self.db.now() - stored.begun_at < PATIENCE => {
                    return Err(DelegateError::Busy);
                }
                None => {}
            }
            self.destroy_responder_key(caller, &stored).await?;
        }
        self.make_responder_key(caller, ca, name).await
    }

    /// Destroys the key of a CA's responder, so that the next one is another.
    pub(crate) async fn replace_responder_key(&self, ca: &CaId) -> Result<(), DelegateError> {
        let stored = responder_key::of_ca(&self.db, ca).await?;
        match stored.filter(|stored| stored.key_id.is_some()) {
            Some(stored) => {
                self.destroy_responder_key(&system_caller(CALLER), &stored)
                    .await
            }
            None => Ok(()),
        }
    }

    async fn make_responder_key(
        &self,
        caller: &Caller,
        ca: &CaId,
        name: &str,
    ) -> Result<Arc<dyn Signer>, DelegateError> {
        let operation = OperationId::fresh();
        let mut set = WriteSet::new();
        responder_key::begin(&mut set, ca, &operation, self.db.now());
        match self.db.commit(set).await {
            Err(error) if error.failed(responder_key::NONE_YET) => return Err(DelegateError::Busy),
            outcome => outcome?,
        };
        let request = CreateKey {
            algorithm: "ECDSA".to_owned(),
            size: 256,
            name: key_name("OCSP responder of ", name),
            operation: Some(operation.clone()),
            ..CreateKey::default()
        };
        let key = match self.kms.create_key(caller, request).await {
            Ok(key) => key.key_id,
            Err(error) => {
                let begun = ResponderKey {
                    ca_id: ca.clone(),
                    operation,
                    key_id: None,
                    begun_at: self.db.now(),
                };
                self.destroy_responder_key(caller, &begun).await?;
                return Err(error.into());
            }
        };
        let mut set = WriteSet::new();
        responder_key::made(&mut set, ca, &operation, &key);
        self.db.commit(set).await?;
        tracing::info!(ca_id = %ca, key_id = %key, "key of an ocsp responder made");
        self.signer_of(caller, &key).await
    }

    /// The signer of this key; any other key may have its id for an alias.
    async fn signer_of(
        &self,
        caller: &Caller,
        key: &KeyId,
    ) -> Result<Arc<dyn Signer>, DelegateError> {
        let signer = self.kms.signer(caller, &KeyRef::from(key)).await?;
        if signer.public_key().key_id_sha256_hex() == key.as_str() {
            Ok(signer)
        } else {
            Err(KmsError::KeyNotFound.into())
        }
    }

    async fn destroy_responder_key(
        &self,
        caller: &Caller,
        stored: &ResponderKey,
    ) -> Result<(), DelegateError> {
        match self.kms.discard(caller, &stored.operation).await {
            Ok(()) | Err(KmsError::KeyNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let mut set = WriteSet::new();
        responder_key::forget(&mut set, &stored.ca_id, &stored.operation);
        self.db.commit(set).await?;
        Ok(())
    }

    /// Destroys the keys of responders of CAs that are gone. What fails is tried again the next day.
    pub(crate) async fn sweep_responder_keys(
        &self,
        caller: &Caller,
        cas: &BTreeSet<CaId>,
    ) -> Result<(), VaError> {
        let all = responder_key::all(&self.db).await;
        let all = all.map_err(lamassu_core::error::StorageFailure::from)?;
        for stored in all.iter().filter(|stored| !cas.contains(&stored.ca_id)) {
            if let Err(error) = self.destroy_responder_key(caller, stored).await {
                tracing::warn!(
                    ca_id = %stored.ca_id,
                    error = &error as &(dyn std::error::Error + 'static),
                    "key of an ocsp responder not destroyed"
                );
            }
        }
        Ok(())
    }
}
