//! Validation: OCSP (RFC 6960) and CRLs (RFC 5280).

mod shard;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ca::Member;
use crate::caller::Caller;
use crate::duration::WireDuration;
use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::page::Page;
use crate::query::{ListRequest, QueryError};
use crate::timestamp::Timestamp;

pub use shard::{Bucket, CrlShard, CrlShards, NoCrlShards};

/// The job of the validation authority that makes the last CRLs of deleted CAs; whoever has one to make wakes
/// it by this name.
pub const FINAL_CRL_JOB: &str = "va-final-crl";

/// The job of the validation authority that compares the revoked entries with the CA service: when a process takes it
/// over, which is at start where there is one process, once a day from then on, and when the CA service wakes it,
/// because certificates have another issuer.
pub const RECONCILE_JOB: &str = "va-reconcile";

/// How a CA's CRLs are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({
    "refresh_interval": "6d23h",
    "validity": "1w",
    "subject_key_id_signer": "4f1d2c6b8a9e0d3f5c7b1a2e4d6f8c0b9a3e5d71",
    "regenerate_on_revoke": true,
}))]
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
    /// Delta CRLs are made, and valid for so long; none without it. A revocation makes a new delta CRL
    /// then, and complete CRLs are made by `refresh_interval` only. Kept by an update that does not
    /// name it.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(with = "Option<WireDuration>", example = "1d")]
    pub delta_validity: Member<WireDuration>,
}

/// Why options are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsFault {
    /// A CRL would have expired before it was made.
    #[error("validity must be at least 1s")]
    Validity,
    /// Negative.
    #[error("refresh_interval must not be negative")]
    RefreshInterval,
    /// A delta CRL would have expired before it was made.
    #[error("delta_validity must be at least 1s")]
    DeltaValidity,
}

impl OptionsFault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Validity, Self::RefreshInterval, Self::DeltaValidity];
}

impl CrlOptions {
    /// These options as they replace stored ones: what older clients do not know is kept.
    #[must_use]
    pub fn keeping(self, stored: &Self) -> Self {
        Self {
            delta_validity: self.delta_validity.or_stored(&stored.delta_validity),
            ..self
        }
    }

    /// Checks what no CRL could be made with. A refresh interval of zero, or one that is longer than
    /// the validity, is the default one.
    ///
    /// # Errors
    ///
    /// [`OptionsFault`] names the member.
    pub fn validate(&self) -> Result<(), OptionsFault> {
        let shortest = WireDuration::from_secs(1);
        if self.validity < shortest {
            return Err(OptionsFault::Validity);
        }
        if self.refresh_interval.is_negative() {
            return Err(OptionsFault::RefreshInterval);
        }
        match self.delta_validity.value() {
            Some(validity) if *validity < shortest => Err(OptionsFault::DeltaValidity),
            Some(_) | None => Ok(()),
        }
    }
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
    /// Into how many shards the CA's certificates are divided, each with a CRL of its own; absent
    /// where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 2, max = 1024), example = 16)]
    pub crl_shards: Option<CrlShards>,
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

    /// The newest delta CRL of the CA with this subject key identifier (hex).
    async fn delta_crl(&self, caller: &Caller, ca_ski: &str) -> Result<Crl, VaError>;

    /// The newest CRL of this shard of the CA with this subject key identifier (hex).
    async fn shard_crl(
        &self,
        caller: &Caller,
        ca_ski: &str,
        shard: CrlShard,
    ) -> Result<Crl, VaError>;

    /// Takes a CRL, DER or PEM, of the CA with this subject key identifier (hex), whose key is not here.
    async fn import_crl(
        &self,
        caller: &Caller,
        ca_ski: &str,
        crl: Bytes,
    ) -> Result<VaRole, VaError>;

    /// The certificate of the CA with this subject key identifier (hex), DER: caIssuers.
    async fn ca_certificate(&self, caller: &Caller, ca_ski: &str) -> Result<Bytes, VaError>;

    /// The role of the CA with this subject key identifier (hex).
    async fn role(&self, caller: &Caller, ca_ski: &str) -> Result<VaRole, VaError>;

    /// Sets how the CRLs of the CA with this subject key identifier (hex) are made; its role is made
    /// where there is none yet.
    async fn set_role_options(
        &self,
        caller: &Caller,
        ca_ski: &str,
        options: CrlOptions,
    ) -> Result<VaRole, VaError>;

    /// Lists roles.
    async fn roles(&self, caller: &Caller, request: &ListRequest) -> Result<Page<VaRole>, VaError>;
}

/// Why a CRL that was made elsewhere is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlFault {
    /// Neither DER nor PEM of a CRL.
    #[error("it cannot be read")]
    Unreadable,
    /// Of another issuer.
    #[error("it is not of this CA")]
    Issuer,
    /// Not signed by the CA's key.
    #[error("its signature is not the CA's")]
    Signature,
    /// Without a number, or with one of more than 63 bits.
    #[error("it has no CRL number that is supported")]
    Number,
    /// Without `nextUpdate`, or it lies before `thisUpdate`.
    #[error("it does not say until when it is valid")]
    NextUpdate,
    /// `thisUpdate` lies in the future.
    #[error("it is not valid yet")]
    NotYetValid,
    /// `nextUpdate` has passed.
    #[error("it is outdated")]
    Outdated,
    /// A critical extension: it is about a part of the CA's certificates.
    #[error("it has a critical extension")]
    Partial,
}

impl CrlFault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unreadable,
        Self::Issuer,
        Self::Signature,
        Self::Number,
        Self::NextUpdate,
        Self::NotYetValid,
        Self::Outdated,
        Self::Partial,
    ];
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
    /// The options of a role cannot work.
    #[error("struct validation error: {0}")]
    Options(OptionsFault),
    /// What was sent is not a CRL that can be taken.
    #[error("CRL refused: {0}")]
    CrlRefused(CrlFault),
    /// The CRLs of a CA whose key is here are made here.
    #[error("CRLs of this CA are made here")]
    CrlsMadeHere,
    /// There is a CRL with this number already, or with a higher one.
    #[error("a CRL with this number or a higher one is there already")]
    CrlOutdated,
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
            Self::Options(_) | Self::CrlRefused(_) | Self::Query(_) => ErrorKind::Invalid,
            Self::CrlsMadeHere | Self::CrlOutdated => ErrorKind::Conflict,
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
