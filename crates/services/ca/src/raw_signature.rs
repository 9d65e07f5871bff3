//! Signing and verifying what is no certificate with a CA's key.
//!
//! The algorithm is one of the exact names of the wire and must fit the key: a signature of another
//! family than the one asked for would be taken for what it is not. The CA's status does not
//! matter. Verifying needs only the certificate, so it works without the private key, too.

use lamassu_core::ca::{CaError, CertificateAuthority, RawMessage};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::EngineError;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::CaId;
use lamassu_core::kms::KmsError;
use lamassu_core::kms::algorithm::{message_of, scheme_of};
use lamassu_crypto::{Message, PublicKey, SignError, SignatureScheme, VerifyError};
use lamassu_db::{DbError, WriteSet};
use lamassu_x509 as x509;

use crate::events::Teller;
use crate::issue_failure::not_signed;
use crate::metrics;
use crate::service::CaService;

impl CaService {
    /// Signs a message. The signature leaves only once its event is stored.
    pub(crate) async fn sign_raw(
        &self,
        caller: &Caller,
        id: &CaId,
        asked: &RawMessage,
    ) -> Result<Vec<u8>, CaError> {
        require_complete(asked)?;
        let ca = self.authority(id).await?;
        let (scheme, message) = question(asked)?;
        let public_key = public_key(&ca)?;
        let signer = self
            .ready
            .signer(caller, &public_key, &ca.certificate.subject_key_id)
            .await?;
        let signed = signer.sign(scheme, message).await;
        let signature = signed.map_err(|error| match error {
            EngineError::Sign(SignError::WrongKey) | EngineError::Unsupported(_) => {
                refused(KmsError::UnsupportedAlgorithm)
            }
            other => not_signed(other),
        })?;
        let mut set = WriteSet::new();
        let now = self.db.now();
        Teller { caller, now }.ca_signed(&mut set, id, &signature);
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        metrics::raw_signature();
        Ok(signature)
    }

    /// Whether the CA's key made this signature.
    pub(crate) async fn verify_raw(
        &self,
        id: &CaId,
        asked: &RawMessage,
        signature: &[u8],
    ) -> Result<bool, CaError> {
        require_complete(asked)?;
        let ca = self.authority(id).await?;
        let (scheme, message) = question(asked)?;
        match public_key(&ca)?.verify(scheme, message, signature) {
            Ok(()) => Ok(true),
            Err(VerifyError::Mismatch) => Ok(false),
            Err(VerifyError::WrongKey) => Err(refused(KmsError::UnsupportedAlgorithm)),
            Err(VerifyError::DigestLength { .. }) => Err(refused(KmsError::DigestSize)),
            Err(VerifyError::RawOnly) => {
                Err(refused(KmsError::MessageType(asked.message_type.clone())))
            }
        }
    }
}

fn refused(error: KmsError) -> CaError {
    CaError::KmsRefused(error)
}

fn require_complete(asked: &RawMessage) -> Result<(), CaError> {
    if asked.algorithm.is_empty() || asked.message_type.is_empty() {
        return Err(CaError::Validation);
    }
    Ok(())
}

/// Scheme and message, as the words of the wire mean them.
fn question(asked: &RawMessage) -> Result<(SignatureScheme, Message<'_>), CaError> {
    let scheme = scheme_of(&asked.algorithm).ok_or(refused(KmsError::UnsupportedAlgorithm))?;
    let message = message_of(scheme, &asked.message_type, &asked.message).map_err(refused)?;
    Ok((scheme, message))
}

fn public_key(ca: &CertificateAuthority) -> Result<PublicKey, CaError> {
    let unreadable = |reason: String| StorageFailure::from(DbError::corrupt("der", reason));
    let parsed = x509::Certificate::from_der(ca.certificate.certificate.der().clone())
        .map_err(|error| unreadable(error.to_string()))?;
    let key = parsed
        .public_key()
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(key)
}
