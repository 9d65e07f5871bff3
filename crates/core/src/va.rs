//! Validation: OCSP (RFC 6960) and CRLs (RFC 5280).

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::duration::WireDuration;
use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::page::Page;
use crate::query::{ListRequest, QueryError};
use crate::timestamp::Timestamp;

/// How a CA's CRLs are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CrlOptions {
    /// A new CRL is due so long after the last one.
    pub refresh_interval: WireDuration,
    /// `nextUpdate` lies so long after `thisUpdate`.
    pub validity: WireDuration,
    /// Hex key identifier of the signer; the CA's own by default.
    #[schemars(example = &"4f1d2c6b8a9e0d3f5c7b1a2e4d6f8c0b9a3e5d71")]
    pub subject_key_id_signer: String,
    /// Whether a revocation makes a new CRL at once.
    pub regenerate_on_revoke: bool,
}

/// The newest CRL of a CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatestCrl {
    /// `cRLNumber`; 0 before the first.
    #[schemars(example = 7)]
    pub version: u64,
    /// `thisUpdate`.
    pub valid_from: Timestamp,
    /// `nextUpdate`; zero before the first.
    pub valid_until: Timestamp,
}

/// What the validation authority does for one CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaRole {
    /// Hex subject key identifier of the CA.
    #[schemars(example = &"4f1d2c6b8a9e0d3f5c7b1a2e4d6f8c0b9a3e5d71")]
    pub ca_ski: String,
    /// How its CRLs are made.
    pub crl_options: CrlOptions,
    /// The newest one.
    pub latest_crl: LatestCrl,
}

/// A CRL ready to be served.
#[derive(Clone, Debug)]
pub struct Crl {
    /// DER.
    pub der: Bytes,
    /// SHA-256 of the DER, lower-case hex.
    pub digest: String,
    /// `cRLNumber`.
    pub number: u64,
    /// `thisUpdate`.
    pub this_update: Timestamp,
    /// `nextUpdate`.
    pub next_update: Timestamp,
}

/// An OCSP answer ready to be served; protocol errors are answers too.
#[derive(Clone, Debug)]
pub struct OcspAnswer {
    /// DER of the OCSPResponse.
    pub der: Bytes,
    /// How long it may be kept; `None` for errors and for answers to a nonce.
    pub cache: Option<OcspLifetime>,
}

/// The times of an OCSP answer that caches may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspLifetime {
    /// `thisUpdate`.
    pub this_update: Timestamp,
    /// `nextUpdate`.
    pub next_update: Timestamp,
}

/// Validation.
#[async_trait]
pub trait VaService: Send + Sync + fmt::Debug {
    /// Answers an OCSP request, DER. Never fails: what goes wrong is an OCSP error response.
    async fn ocsp(&self, caller: &Caller, request: Bytes) -> OcspAnswer;

    /// The newest CRL of the CA with this subject key identifier (hex); made on the spot when
    /// there is none yet.
    async fn crl(&self, caller: &Caller, ca_ski: &str) -> Result<Crl, VaError>;

    /// The certificate of the CA with this subject key identifier (hex), DER: caIssuers.
    async fn ca_certificate(&self, caller: &Caller, ca_ski: &str) -> Result<Bytes, VaError>;

    /// The role of the CA with this subject key identifier (hex).
    async fn role(&self, caller: &Caller, ca_ski: &str) -> Result<VaRole, VaError>;

    /// Lists roles.
    async fn roles(&self, caller: &Caller, request: &ListRequest) -> Result<Page<VaRole>, VaError>;
}

/// Why the validation authority refused.
#[derive(Debug, thiserror::Error)]
pub enum VaError {
    /// No role has this key identifier.
    #[error("VA role not found")]
    RoleNotFound,
    /// No CA has this key identifier.
    #[error("CA not found")]
    CaNotFound,
    /// The CA cannot sign a CRL: its key is not here, or its certificate does not allow it.
    #[error("CRL not found")]
    CrlNotFound(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A list parameter is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The CRL could not be signed or stored.
    #[error("CRL could not be made")]
    CrlFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The CA service or the KMS does not answer.
    #[error("validation data unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl ServiceError for VaError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::RoleNotFound | Self::CaNotFound | Self::CrlNotFound(_) => ErrorKind::NotFound,
            Self::Query(_) => ErrorKind::Invalid,
            Self::CrlFailed(_) => ErrorKind::Internal,
            Self::Unavailable(_) => ErrorKind::Unavailable,
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
