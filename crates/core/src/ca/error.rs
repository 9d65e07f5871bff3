//! Why the CA service refuses.

use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::ids::ProfileId;
use crate::kms::KmsError;
use crate::patch::PatchError;
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
    /// The CA is revoked or on hold, so it gets no new certificate.
    #[error("CA already revoked")]
    CaRevoked,
    /// The CA has reached its end, so it gets no new certificate.
    #[error("CA is expired")]
    CaExpired,
    /// CAs are not deleted together with those below them here.
    #[error("cascade delete operations are not allowed by configuration")]
    CascadeForbidden,
    /// The CA that issued the certificate is still here.
    #[error("cannot delete certificate: issuer CA still exists")]
    IssuerExists,
    /// The certificate is the current one of a CA.
    #[error("cannot delete certificate: it is the certificate of a CA")]
    CertificateInUse,
    /// A certificate with this issuer and serial number is stored already.
    #[error("certificate already exists")]
    CertificateExists,
    /// The private key sent along is not the one of the certificate.
    #[error("CA and the provided key don't match")]
    KeyMismatch,
    /// Neither a new key nor an existing one is described, or both are.
    #[error("invalid key spec: exactly one of (Type+Bits) or KeyIdentifier must be provided")]
    KeySpec,
    /// The certificate cannot be taken in; the text says why.
    #[error("certificate cannot be imported: {0}")]
    NotImportable(String),
    /// The KMS did not take the private key.
    #[error("could not import key: {0}")]
    KeyNotImported(#[source] KmsError),
    /// The patch of metadata cannot be applied; the text says why.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The status may not follow the present one.
    #[error("new status transition not allowed for certificate")]
    StatusTransition,
    /// No profile has this id.
    #[error("issuance profile not found")]
    ProfileNotFound,
    /// The profile that a certificate is to be issued under is not there, though a CA, a DMS or a request names it.
    #[error("issuance profile not found: {0}")]
    ProfileGone(ProfileId),
    /// These CAs issue under the profile where a request names none.
    #[error("issuance profile is in use by CAs: {0}")]
    ProfileInUse(String),
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
    /// Several issuers used this serial number: those named. The parameter `ca_id` chooses one.
    #[error("several certificates have this serial number, choose by ca_id: {0}")]
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
            | Self::CaRevoked
            | Self::CaExpired
            | Self::IssuerExists
            | Self::KeyMismatch
            | Self::KeySpec
            | Self::NotImportable(_)
            | Self::Patch(_)
            | Self::StatusTransition
            | Self::MalformedCsr(_)
            | Self::CsrSignature
            | Self::Policy(_)
            | Self::Query(_) => ErrorKind::Invalid,
            Self::CaNotFound
            | Self::ProfileNotFound
            | Self::ProfileGone(_)
            | Self::CertificateNotFound
            | Self::RequestNotFound
            | Self::JobNotFound
            | Self::KeyNotFound => ErrorKind::NotFound,
            Self::CascadeForbidden => ErrorKind::Forbidden,
            Self::CaExists
            | Self::RequestExists
            | Self::AmbiguousSerial(_)
            | Self::ProfileInUse(_)
            | Self::CertificateInUse
            | Self::CertificateExists => ErrorKind::Conflict,
            Self::KmsRefused(cause) | Self::KeyNotImported(cause) => cause.kind(),
            Self::SignFailed(..) => ErrorKind::Internal,
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        if let Self::Query(error) = self {
            return error.code();
        }
        if let Self::Patch(error) = self {
            return error.code();
        }
        None
    }
}
