//! The CA's key in the KMS, for OCSP answers and CRLs.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{EngineError, Signer};
use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_core::kms::{KmsError, KmsService};

use crate::authority::Authority;
use crate::delegates::DelegateError;

/// Why a CA does not sign.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    /// The key is not here, or not usable: it will not help to ask again.
    #[error("the key of the CA is not here")]
    NoKey(#[source] KmsError),
    /// The KMS has another key under this id.
    #[error("the KMS gave another key than the CA's")]
    WrongKey,
    /// The CA does not delegate.
    #[error(transparent)]
    NotDelegated(#[from] DelegateError),
    /// The KMS failed.
    #[error("the KMS did not give the key of the CA")]
    Kms(#[source] KmsError),
    /// The key of a delegated responder does not sign any more.
    #[error("the key of the OCSP responder is gone")]
    LostDelegate(#[source] EngineError),
    /// The engine did not sign.
    #[error("the key of the CA did not sign")]
    Engine(#[from] EngineError),
}

impl SigningError {
    /// Whether it may work later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Kms(error) => error.kind() == ErrorKind::Unavailable,
            Self::Engine(error) => error.kind() == ErrorKind::Unavailable,
            Self::NotDelegated(error) => error.is_temporary(),
            Self::NoKey(_) | Self::WrongKey | Self::LostDelegate(_) => false,
        }
    }
}

/// The signer of a CA. Keys made here are found by their digest, imported ones by what the
/// certificate calls them.
pub(crate) async fn signer(
    kms: &dyn KmsService,
    caller: &Caller,
    authority: &Authority,
) -> Result<Arc<dyn Signer>, SigningError> {
    let signer = match kms.signer(caller, &authority.key).await {
        Err(KmsError::KeyNotFound) => kms.signer(caller, &authority.key_alias).await,
        outcome => outcome,
    };
    let signer = signer.map_err(|error| match error {
        KmsError::KeyNotFound | KmsError::KeyEngineMissing | KmsError::SigningKey(_) => {
            SigningError::NoKey(error)
        }
        other => SigningError::Kms(other),
    })?;
    if signer.public_key().spki_der() != authority.certificate.spki_der().as_ref() {
        return Err(SigningError::WrongKey);
    }
    Ok(signer)
}
