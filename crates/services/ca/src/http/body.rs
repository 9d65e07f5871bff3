//! Request bodies as clients send them.

use lamassu_core::ca::{
    CaError, CertificateStatus, CreateCa, IssuanceProfile, KeySource, ProfileChoice, SignCsr,
    Validity,
};
use lamassu_core::ids::{CaId, EngineId, KeyRef, ProfileId};
use lamassu_core::pem::CsrDer;
use lamassu_core::subject::Subject;
use lamassu_core::usage::RevocationReason;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A profile that is sent along wins over one that is named.
fn profile_choice(inline: Option<IssuanceProfile>, id: ProfileId) -> ProfileChoice {
    match inline {
        Some(profile) => ProfileChoice::Inline(Box::new(profile)),
        None if id.is_empty() => ProfileChoice::Default,
        None => ProfileChoice::Stored(id),
    }
}

/// `POST /v1/cas`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CreateCaBody {
    id: CaId,
    parent_id: CaId,
    subject: Subject,
    key_metadata: KeyBody,
    ca_expiration: Validity,
    profile_id: ProfileId,
    engine_id: EngineId,
    metadata: Option<Map<String, Value>>,
    ca_issuance_profile_id: ProfileId,
    ca_issuance_profile: Option<IssuanceProfile>,
}

/// A key to reuse, or what a new one shall be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyBody {
    key_id: KeyRef,
    #[serde(rename = "type")]
    key_type: String,
    bits: u32,
}

impl From<CreateCaBody> for CreateCa {
    fn from(body: CreateCaBody) -> Self {
        let key = if body.key_metadata.key_id.is_empty() {
            KeySource::New {
                key_type: body.key_metadata.key_type,
                bits: body.key_metadata.bits,
                engine_id: body.engine_id,
            }
        } else {
            KeySource::Existing(body.key_metadata.key_id)
        };
        Self {
            id: body.id,
            parent: (!body.parent_id.is_empty()).then_some(body.parent_id),
            subject: body.subject,
            key,
            expiration: body.ca_expiration,
            profile_id: body.profile_id,
            metadata: body.metadata.unwrap_or_default(),
            ca_profile: profile_choice(body.ca_issuance_profile, body.ca_issuance_profile_id),
        }
    }
}

/// `POST /v1/cas/{id}/certificates/sign`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignBody {
    csr: Option<CsrDer>,
    profile: Option<IssuanceProfile>,
    profile_id: ProfileId,
    verify_csr_signature: Option<bool>,
}

impl From<SignBody> for SignCsr {
    fn from(body: SignBody) -> Self {
        Self {
            csr: body.csr,
            profile: profile_choice(body.profile, body.profile_id),
            verify_csr_signature: body.verify_csr_signature,
        }
    }
}

/// `PUT /v1/certificates/{sn}/status`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusBody {
    status: String,
    pub(super) revocation_reason: RevocationReason,
}

impl StatusBody {
    /// The wanted status; an empty or unknown one breaks the rules of the body.
    pub(super) fn status(&self) -> Result<CertificateStatus, CaError> {
        self.status.parse().map_err(|_| CaError::Validation)
    }
}
