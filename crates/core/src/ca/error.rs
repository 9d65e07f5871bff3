//! Why the CA service refuses.

use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::kms::KmsError;
use crate::query::QueryError;

/// Why the CA service refused.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A required member is missing or breaks a rule.
    #[error("struct validation error")]
    Validation,
    /// No CA has this id, or a request to sign is missing.
    #[error("CA not found")]
    CaNotFound,
    /// The CA id is taken.
    #[error("CA already exists")]
    CaExists,
    /// The CA is not active.
    #[error("CA Status inconsistent")]
    CaStatus,
    /// The status may not follow the present one.
    #[error("new status transition not allowed for certificate")]
    StatusTransition,
    /// No profile has this id.
    #[error("issuance profile not found")]
    ProfileNotFound,
    /// No certificate has this serial number.
    #[error("certificate not found")]
    CertificateNotFound,
    /// No request for a CA has this id.
    #[error("CA request not found")]
    RequestNotFound,
    /// The id is taken, or another request for the same key is pending.
    #[error("CA request already exists")]
    RequestExists,
    /// No job has this id.
    #[error("job not found")]
    JobNotFound,
    /// Several issuers used this serial number; ask below one of them.
    #[error("several certificates have this serial number, issued by: {0}")]
    AmbiguousSerial(String),
    /// The request cannot be read.
    #[error("could not parse the certificate request: {0}")]
    MalformedCsr(String),
    /// The request does not prove possession of its key.
    #[error("invalid CSR signature")]
    CsrSignature,
    /// The profile does not let this request or key through; the text says which rule.
    #[error("{0}")]
    Policy(String),
    /// The named key does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// A list parameter is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The KMS refused for a reason that the client can mend.
    #[error("{0}")]
    KmsRefused(#[source] KmsError),
    /// The KMS did not sign, or what it signed does not verify.
    #[error("KMS sign operation failed: {0}")]
    SignFailed(
        std::borrow::Cow<'static, str>,
        #[source] Option<Box<dyn std::error::Error + Send + Sync>>,
    ),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl ServiceError for CaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation
            | Self::CaStatus
            | Self::StatusTransition
            | Self::MalformedCsr(_)
            | Self::CsrSignature
            | Self::Policy(_)
            | Self::Query(_) => ErrorKind::Invalid,
            Self::CaNotFound
            | Self::ProfileNotFound
            | Self::CertificateNotFound
            | Self::RequestNotFound
            | Self::JobNotFound
            | Self::KeyNotFound => ErrorKind::NotFound,
            Self::CaExists | Self::RequestExists | Self::AmbiguousSerial(_) => ErrorKind::Conflict,
            Self::KmsRefused(cause) => cause.kind(),
            Self::SignFailed(..) => ErrorKind::Internal,
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        if let Self::Query(error) = self {
            return error.code();
        }
        None
    }
}
