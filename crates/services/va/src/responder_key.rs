//! The keys of delegated OCSP responders: in the KMS, one per CA, the same for all processes on one
//! database and for all certificates that the CA gives it, until one of these is revoked: others may
//! have the key then. So its certificates are noted, whichever process they are of.
//!
//! A row names the operation before the key is made, so that a key which a crash left is destroyed
//! before the next one is made. Keys of CAs that are gone are destroyed by the daily comparison.

use std::collections::BTreeSet;
use std::sync::Arc;

use lamassu_core::ca::{CaError, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::ids::{CaId, KeyId, KeyRef, OperationId};
use lamassu_core::kms::{CreateKey, KmsError, key_name};
use lamassu_core::va::VaError;
use lamassu_db::{WriteSet, system_caller};
use time::Duration;

use crate::delegates::DelegateError;
use crate::service::VaService;
use crate::store::responder_key::{self, Ending, ResponderKey};

/// A key that is not there after this time was left by a crash. It is small, and soon made.
const PATIENCE: Duration = Duration::MINUTE;

/// Who makes and destroys keys: not whoever asks a question.
const CALLER: &str = "va-ocsp-responder";

/// The key of a CA's responder.
#[derive(Debug)]
pub(crate) struct CertifiedKey {
    pub(crate) signer: Arc<dyn Signer>,
    /// What made it.
    pub(crate) operation: OperationId,
    /// Its certificates so far.
    pub(crate) certificates: Vec<Ending>,
}

impl VaService {
    /// The key of a CA's responder; made where there is none that may be used.
    pub(crate) async fn responder_key(
        &self,
        ca: &CaId,
        name: &str,
    ) -> Result<CertifiedKey, DelegateError> {
        let caller = &system_caller(CALLER);
        if let Some(stored) = responder_key::of_ca(&self.db, ca).await? {
            match &stored.key_id {
                Some(key) => match self.certified_key(caller, &stored, key).await {
                    Ok(Some(usable)) => return Ok(usable),
                    // Somebody has deleted it.
                    Ok(None) | Err(DelegateError::Kms(KmsError::KeyNotFound)) => {}
                    Err(error) => return Err(error),
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

    /// A key that there is, unless one of its certificates is revoked: what it signed is given no more then.
    async fn certified_key(
        &self,
        caller: &Caller,
        stored: &ResponderKey,
        key: &KeyId,
    ) -> Result<Option<CertifiedKey>, DelegateError> {
        let ResponderKey {
            ca_id, operation, ..
        } = stored;
        let certificates = responder_key::certificates(&self.db, ca_id, operation).await?;
        // What was heard of here counts as much as what the CA service says: no certificate of the key would be
        // used for long.
        let is_in_use = responder_key::is_in_use(&self.db, ca_id, operation).await?;
        if !is_in_use || self.is_any_revoked(caller, ca_id, &certificates).await? {
            self.presigned.forget_all();
            tracing::info!(%ca_id, key_id = %key, "key of an ocsp responder given up");
            return Ok(None);
        }
        Ok(Some(CertifiedKey {
            signer: self.signer_of(caller, key).await?,
            operation: operation.clone(),
            certificates,
        }))
    }

    async fn is_any_revoked(
        &self,
        caller: &Caller,
        ca: &CaId,
        certificates: &[Ending],
    ) -> Result<bool, DelegateError> {
        for Ending { serial, .. } in certificates {
            let status = self.ca.certificate_status(caller, ca, serial).await;
            let status = status.map_err(DelegateError::Refused)?;
            if status.is_some_and(|info| info.status == CertificateStatus::Revoked) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn make_responder_key(
        &self,
        caller: &Caller,
        ca: &CaId,
        name: &str,
    ) -> Result<CertifiedKey, DelegateError> {
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
        Ok(CertifiedKey {
            signer: self.signer_of(caller, &key).await?,
            operation,
            certificates: Vec::new(),
        })
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

    /// Destroys the keys of responders of CAs that are gone: those that are not among `cas`, and that the CA service
    /// does not know. A CA that cannot be read is there, and one may have been made since `cas` were read. What fails
    /// is tried again the next day.
    pub(crate) async fn sweep_responder_keys(
        &self,
        caller: &Caller,
        cas: &BTreeSet<CaId>,
    ) -> Result<(), VaError> {
        let all = responder_key::all(&self.db).await;
        let all = all.map_err(lamassu_core::error::StorageFailure::from)?;
        for stored in all.iter().filter(|stored| !cas.contains(&stored.ca_id)) {
            let destroyed = match self.ca.ca(caller, &stored.ca_id).await {
                Err(CaError::CaNotFound) => self.destroy_responder_key(caller, stored).await,
                Err(error) => Err(DelegateError::Refused(error)),
                Ok(_) => continue,
            };
            if let Err(error) = destroyed {
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
