//! Request bodies as clients send them.

use std::sync::Arc;

use lamassu_core::ca::{
    AlternativeName, CaError, CertificateStatus, CreateCa, CreateCaRequest, CreateCertificate,
    ImportCa, ImportCertificate, IssuanceProfile, KeySource, ProfileChoice, RawMessage,
    RevokeCertificates, SignCsr, Validity,
};
use lamassu_core::ids::{CaId, CaRequestId, EngineId, KeyRef, ProfileId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::kms::PrivateKeyBytes;
use lamassu_core::pem::{CertificateDer, CsrDer, EXAMPLE_CERTIFICATE, EXAMPLE_REQUEST};
use lamassu_core::query::QueryError;
use lamassu_core::subject::Subject;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::CrlShards;
use lamassu_crypto::PrivateKey;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use serde_json::{Map, Value, json};

use crate::revocations::parse_filters;

/// A profile that is sent along wins over one that is named.
fn profile_choice(inline: Option<IssuanceProfile>, id: ProfileId) -> ProfileChoice {
    match inline {
        Some(profile) => ProfileChoice::Inline(Box::new(profile)),
        None if id.is_empty() => ProfileChoice::Default,
        None => ProfileChoice::Stored(id),
    }
}

/// `POST /v1/cas`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreateCa")]
#[schemars(example = json!({
    "id": "factory-root",
    "subject": {"common_name": "Factory root", "organization": "Example", "country": "ES"},
    "key_metadata": {"type": "ECDSA", "bits": 256},
    "ca_expiration": {"type": "Duration", "duration": "10y"},
    "profile_id": "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21",
    "metadata": {"site": "Mondragon"},
}))]
pub(super) struct CreateCaBody {
    /// Free text, at most 255 octets; a UUID when empty.
    id: CaId,
    /// The CA that issues it; none for a root.
    parent_id: CaId,
    /// Its subject; the common name is required.
    subject: Subject,
    /// A key to reuse, or what a new one shall be.
    key_metadata: KeyBody,
    /// How long its certificate lasts. Required.
    ca_expiration: Validity,
    /// Default profile of what it issues. Required.
    profile_id: ProfileId,
    /// Where a new key is made; the default engine when empty.
    engine_id: EngineId,
    /// Free object.
    metadata: Option<Map<String, Value>>,
    /// A stored profile for the CA certificate itself.
    ca_issuance_profile_id: ProfileId,
    /// A profile for the CA certificate itself; wins over a stored one.
    ca_issuance_profile: Option<IssuanceProfile>,
    /// Into how many shards, with CRLs of their own, what it issues is divided, for good: 2 to 1024. One CRL when
    /// absent.
    #[schemars(with = "Option<u32>", range(min = 2, max = 1024))]
    crl_shards: Option<CrlShards>,
}

/// A key to reuse, or what a new one shall be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CaKey")]
struct KeyBody {
    /// A key of the KMS to reuse; wins over a new one.
    key_id: KeyRef,
    /// `RSA`, `ECDSA`, `Ed25519` or `ML-DSA`.
    #[schemars(example = &"ECDSA")]
    #[serde(rename = "type")]
    key_type: String,
    /// RSA modulus or curve size in bits; 256 for Ed25519; 44, 65, 87 for ML-DSA.
    #[schemars(example = 256)]
    bits: u32,
}

impl KeyBody {
    /// A key that is named wins over what a new one would be.
    fn source(self, engine_id: EngineId) -> KeySource {
        if self.key_id.is_empty() {
            KeySource::New {
                key_type: self.key_type,
                bits: self.bits,
                engine_id,
            }
        } else {
            KeySource::Existing(self.key_id)
        }
    }
}

impl From<CreateCaBody> for CreateCa {
    fn from(body: CreateCaBody) -> Self {
        let key = body.key_metadata.source(body.engine_id);
        Self {
            id: body.id,
            parent: (!body.parent_id.is_empty()).then_some(body.parent_id),
            subject: body.subject,
            key,
            expiration: body.ca_expiration,
            profile_id: body.profile_id,
            metadata: body.metadata.unwrap_or_default(),
            ca_profile: profile_choice(body.ca_issuance_profile, body.ca_issuance_profile_id),
            crl_shards: body.crl_shards,
        }
    }
}

/// `POST /v1/cas/import`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ImportCa")]
#[schemars(example = json!({"id": "partner-root", "ca": EXAMPLE_CERTIFICATE, "profile_id": "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21"}))]
pub(super) struct ImportCaBody {
    /// Free text; a UUID when empty.
    id: CaId,
    /// The certificate. Required.
    ca: Option<CertificateDer>,
    /// Its key in PEM, base64; none when empty.
    #[schemars(with = "PrivateKeyBytes")]
    private_key: SentKey,
    /// Default profile of what it issues.
    profile_id: ProfileId,
    /// Where the key is put; the default engine when empty.
    engine_id: EngineId,
    /// Its issuing CA, where that is known.
    parent_id: CaId,
    /// Into how many shards, with CRLs of their own, what it issues is divided, for good: 2 to 1024. One CRL when
    /// absent.
    #[schemars(with = "Option<u32>", range(min = 2, max = 1024))]
    crl_shards: Option<CrlShards>,
}

/// Base64 of a private key in PEM; nothing when empty. Wiped once it is read.
#[derive(Debug, Default)]
struct SentKey(Option<Arc<PrivateKey>>);

impl<'de> Deserialize<'de> for SentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let octets = PrivateKeyBytes::deserialize(deserializer)?;
        if octets.as_slice().is_empty() {
            return Ok(Self(None));
        }
        let key = PrivateKey::from_pem(octets.as_slice())
            .map_err(|_| de::Error::custom("tls: failed to parse private key"))?;
        Ok(Self(Some(Arc::new(key))))
    }
}

impl TryFrom<ImportCaBody> for ImportCa {
    type Error = CaError;

    fn try_from(body: ImportCaBody) -> Result<Self, CaError> {
        Ok(Self {
            id: body.id,
            certificate: body.ca.ok_or(CaError::Validation)?,
            private_key: body.private_key.0,
            profile_id: body.profile_id,
            engine_id: body.engine_id,
            parent: (!body.parent_id.is_empty()).then_some(body.parent_id),
            crl_shards: body.crl_shards,
        })
    }
}

/// `POST /v1/certificates/import`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ImportCertificate")]
#[schemars(example = json!({"certificate": EXAMPLE_CERTIFICATE, "metadata": {"site": "Mondragon"}}))]
pub(super) struct ImportCertificateBody {
    /// The certificate. Required.
    certificate: Option<CertificateDer>,
    /// Free object.
    metadata: Option<Map<String, Value>>,
}

impl TryFrom<ImportCertificateBody> for ImportCertificate {
    type Error = CaError;

    fn try_from(body: ImportCertificateBody) -> Result<Self, CaError> {
        Ok(Self {
            certificate: body.certificate.ok_or(CaError::Validation)?,
            metadata: body.metadata,
        })
    }
}

/// `POST /v1/certificates`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreateCertificate")]
#[schemars(example = json!({
    "ca_id": "factory-root",
    "key_spec": {"type": "ECDSA", "bits": 256},
    "subject": {"common_name": "gateway-0001"},
    "issuance_profile_id": "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21",
}))]
pub(super) struct CreateCertificateBody {
    /// The CA that issues it. Required.
    ca_id: CaId,
    /// A key to reuse, or what a new one shall be.
    key_spec: KeySpecBody,
    /// Its subject.
    subject: Subject,
    /// The serial number of a certificate of the same CA, whose subject it has, byte by byte, instead of
    /// `subject`. Not in the reference.
    #[schemars(example = &"")]
    successor_of: String,
    /// Alternative names; they are in the certificate where the profile has `honor_extensions`. Not in the
    /// reference.
    alternative_names: Vec<AlternativeName>,
    /// A stored profile; the default one of the CA without.
    issuance_profile_id: ProfileId,
    /// A profile; wins over a stored one.
    issuance_profile: Option<IssuanceProfile>,
    /// Free object.
    metadata: Option<Map<String, Value>>,
}

/// What a key type may be called. Any other word leaves it open, as clients of the reference write `0`
/// or `UNKNOWN` beside a key to reuse.
const KEY_TYPES: [&str; 5] = ["RSA", "ECDSA", "DSA", "Ed25519", "ML-DSA"];

/// A key to reuse, or what a new one shall be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CertificateKey")]
struct KeySpecBody {
    /// `RSA`, `ECDSA`, `Ed25519` or `ML-DSA`, for a new key.
    #[schemars(example = &"ECDSA")]
    #[serde(rename = "type")]
    key_type: String,
    /// Size in bits, for a new key.
    #[schemars(example = 256)]
    bits: u32,
    /// Where a new key is made; the default engine when empty.
    engine_id: EngineId,
    /// A key of the KMS to reuse; then nothing is said of a new one.
    #[schemars(example = &"")]
    key_identifier: KeyRef,
}

impl KeySpecBody {
    /// One of the two ways must be complete, and not both; half of the other one is passed over.
    fn source(self) -> Result<KeySource, CaError> {
        let makes_one = KEY_TYPES.contains(&self.key_type.as_str()) && self.bits != 0;
        match (makes_one, self.key_identifier.is_empty()) {
            (true, true) => Ok(KeySource::New {
                key_type: self.key_type,
                bits: self.bits,
                engine_id: self.engine_id,
            }),
            (false, false) => Ok(KeySource::Existing(self.key_identifier)),
            (true, false) | (false, true) => Err(CaError::KeySpec),
        }
    }
}

impl TryFrom<CreateCertificateBody> for CreateCertificate {
    type Error = CaError;

    fn try_from(body: CreateCertificateBody) -> Result<Self, CaError> {
        if body.ca_id.is_empty() {
            return Err(CaError::Validation);
        }
        let successor_of = match body.successor_of.as_str() {
            "" => None,
            serial => Some(SerialNumber::parse(serial).ok_or(CaError::CertificateNotFound)?),
        };
        Ok(Self {
            ca: body.ca_id,
            key: body.key_spec.source()?,
            subject: body.subject,
            successor_of,
            alternative_names: body.alternative_names,
            profile: profile_choice(body.issuance_profile, body.issuance_profile_id),
            metadata: body.metadata.unwrap_or_default(),
        })
    }
}

/// `POST /v1/cas/{id}/profile`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "SetCaProfile")]
pub(super) struct ProfileIdBody {
    /// Default profile of what it issues from now on.
    pub(super) profile_id: ProfileId,
}

/// `POST /v1/cas/{id}/reissue`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ReissueCa")]
#[schemars(example = json!({"profile_id": "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21"}))]
pub(super) struct ReissueBody {
    /// A profile for the new certificate; wins over a stored one.
    profile: Option<IssuanceProfile>,
    /// A stored profile; that of the present certificate without.
    profile_id: ProfileId,
}

impl From<ReissueBody> for ProfileChoice {
    fn from(body: ReissueBody) -> Self {
        profile_choice(body.profile, body.profile_id)
    }
}

/// `POST /v1/cas/{id}/signature/sign` and `…/verify`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CaMessage")]
#[schemars(example = json!({"message": "aGVsbG8=", "message_type": "raw", "signature_algorithm": "ECDSA_SHA_256"}))]
pub(super) struct SignatureBody {
    /// The message or its digest, base64.
    message: Base64,
    /// Which of the two it is: `raw`, or `hash` or `digest`.
    #[schemars(example = &"raw")]
    message_type: String,
    /// For example `ECDSA_SHA_256`.
    #[schemars(example = &"ECDSA_SHA_256")]
    signature_algorithm: String,
    /// The signature to verify, base64; not looked at when signing.
    pub(super) signature: Base64,
}

impl From<SignatureBody> for RawMessage {
    fn from(body: SignatureBody) -> Self {
        Self {
            algorithm: body.signature_algorithm,
            message: body.message.0,
            message_type: body.message_type,
        }
    }
}

/// `POST /v1/cas/requests`: the members of a new CA, as far as they are for its issuing CA to see,
/// and `key_id` beside `key_metadata` as well as in it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreateCaRequest")]
#[schemars(example = json!({
    "id": "factory-2",
    "subject": {"common_name": "Factory 2", "organization": "Example"},
    "key_metadata": {"type": "ECDSA", "bits": 384},
}))]
pub(super) struct CaRequestBody {
    /// Free text; a UUID when empty.
    id: CaRequestId,
    /// The subject that is asked for; the common name is required.
    subject: Subject,
    /// A key to reuse, or what a new one shall be.
    key_metadata: KeyBody,
    /// A key of the KMS to reuse; the same as `key_metadata.key_id`, and wins.
    #[schemars(example = &"")]
    key_id: KeyRef,
    /// Where a new key is made; the default engine when empty.
    engine_id: EngineId,
    /// Free object.
    metadata: Option<Map<String, Value>>,
}

impl From<CaRequestBody> for CreateCaRequest {
    fn from(body: CaRequestBody) -> Self {
        let mut key_metadata = body.key_metadata;
        if !body.key_id.is_empty() {
            key_metadata.key_id = body.key_id;
        }
        Self {
            id: body.id,
            subject: body.subject,
            key: key_metadata.source(body.engine_id),
            metadata: body.metadata.unwrap_or_default(),
        }
    }
}

/// `POST /v1/cas/{id}/certificates/sign`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "SignCsr")]
#[schemars(example = json!({"csr": EXAMPLE_REQUEST, "profile_id": "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21"}))]
pub(super) struct SignBody {
    /// The request. Required.
    csr: Option<CsrDer>,
    /// A profile; wins over a stored one.
    profile: Option<IssuanceProfile>,
    /// A stored profile; the default one of the CA without.
    profile_id: ProfileId,
    /// Whether the request must prove possession of its key; as configured without.
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

/// `POST /v1/certificates/revocations`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "RevokeCertificates")]
#[schemars(example = json!({
    "ca_id": "factory-root",
    "issued_before": "2026-03-02T00:00:00Z",
    "filter": ["subject.common_name[ct]sensor"],
    "revocation_reason": "CessationOfOperation",
}))]
pub(super) struct RevocationsBody {
    /// Those that this CA issued.
    ca_id: CaId,
    /// Those that were issued under this stored profile.
    profile_id: ProfileId,
    /// Those that are known since later than this.
    issued_after: Timestamp,
    /// Those that are known since earlier than this.
    issued_before: Timestamp,
    /// Those that fulfil this filter of a list, or all of these.
    #[schemars(with = "FilterTexts")]
    filter: Filters,
    /// Why.
    revocation_reason: RevocationReason,
}

/// [`Filters`] as clients write them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(
    dead_code,
    reason = "read as a value, to refuse it with a text of ours"
)]
enum FilterTexts {
    One(String),
    Several(Vec<String>),
}

/// One filter or several.
#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
struct Filters(Option<Vec<String>>);

impl Default for Filters {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

impl From<Value> for Filters {
    /// Of what is neither a text nor a list of texts nothing is left, and that is refused.
    fn from(value: Value) -> Self {
        Self(match value {
            Value::Null => Some(Vec::new()),
            Value::String(one) => Some(vec![one]),
            Value::Array(several) => several
                .into_iter()
                .map(|one| one.as_str().map(str::to_owned))
                .collect(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        })
    }
}

impl TryFrom<RevocationsBody> for RevokeCertificates {
    type Error = QueryError;

    fn try_from(body: RevocationsBody) -> Result<Self, QueryError> {
        let texts = match body.filter {
            Filters(Some(texts)) => texts,
            Filters(None) => {
                return Err(QueryError::InvalidValue {
                    field: "filter".to_owned(),
                    reason: "neither a text nor a list of texts".to_owned(),
                });
            }
        };
        Ok(Self {
            ca_id: (!body.ca_id.is_empty()).then_some(body.ca_id),
            profile_id: (!body.profile_id.is_empty()).then_some(body.profile_id),
            issued_after: body.issued_after,
            issued_before: body.issued_before,
            filters: parse_filters(&texts)?,
            reason: body.revocation_reason,
        })
    }
}

/// `PUT /v1/certificates/{sn}/status`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "SetCertificateStatus")]
#[schemars(example = json!({"status": "REVOKED", "revocation_reason": "KeyCompromise"}))]
pub(super) struct StatusBody {
    /// The new status.
    #[schemars(with = "CertificateStatus", example = &"REVOKED")]
    status: String,
    /// Why, where it is revoked. Only `CertificateHold` can be released.
    pub(super) revocation_reason: RevocationReason,
}

impl StatusBody {
    /// The wanted status; an empty or unknown one breaks the rules of the body.
    pub(super) fn status(&self) -> Result<CertificateStatus, CaError> {
        self.status.parse().map_err(|_| CaError::Validation)
    }
}
