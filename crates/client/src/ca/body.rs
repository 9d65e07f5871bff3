//! Bodies of what changes CAs and certificates.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::ca::{
    AlternativeName, CaError, CertificateStatus, CreateCa, CreateCertificate, ImportCa,
    ImportCertificate, KeySource, ProfileChoice, RawMessage, Validity,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, CaRequestId, EngineId, KeyRef, ProfileId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_core::percent::encode;
use lamassu_core::query::Filter;
use lamassu_core::subject::Subject;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::CrlShards;
use lamassu_crypto::pem::{PemLabel, der_to_pem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::peer::internal;
use crate::profile_body::explicit;

/// The members of bodies that choose a profile.
pub(super) fn profile(
    choice: &ProfileChoice,
) -> Result<(Option<Value>, Option<&ProfileId>), StorageFailure> {
    Ok(match choice {
        ProfileChoice::Inline(profile) => (Some(explicit(profile).map_err(internal)?), None),
        ProfileChoice::Stored(id) => (None, Some(id)),
        ProfileChoice::Default => (None, None),
    })
}

#[derive(Serialize)]
pub(super) struct CreateCaBody<'a> {
    id: &'a CaId,
    parent_id: Option<&'a CaId>,
    subject: &'a Subject,
    key_metadata: KeyBody<'a>,
    ca_expiration: &'a Validity,
    profile_id: &'a ProfileId,
    engine_id: Option<&'a EngineId>,
    metadata: &'a Map<String, Value>,
    ca_issuance_profile_id: Option<&'a ProfileId>,
    ca_issuance_profile: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_shards: Option<CrlShards>,
}

#[derive(Default, Serialize)]
pub(super) struct KeyBody<'a> {
    key_id: Option<&'a KeyRef>,
    #[serde(rename = "type")]
    key_type: &'a str,
    bits: u32,
}

impl<'a> KeyBody<'a> {
    /// The member of bodies that says which key, and the one that says where to make it.
    pub(super) fn new(source: &'a KeySource) -> (Self, Option<&'a EngineId>) {
        match source {
            KeySource::Existing(key) => {
                let key_id = Some(key);
                let key = Self {
                    key_id,
                    ..Self::default()
                };
                (key, None)
            }
            KeySource::New {
                key_type,
                bits,
                engine_id,
            } => {
                let key = Self {
                    key_id: None,
                    key_type,
                    bits: *bits,
                };
                (key, Some(engine_id))
            }
        }
    }
}

#[derive(Serialize)]
pub(super) struct CreateCaRequestBody<'a> {
    pub(super) id: &'a CaRequestId,
    pub(super) subject: &'a Subject,
    pub(super) key_metadata: KeyBody<'a>,
    pub(super) engine_id: Option<&'a EngineId>,
    pub(super) metadata: &'a Map<String, Value>,
}

impl<'a> CreateCaBody<'a> {
    pub(super) fn new(request: &'a CreateCa) -> Result<Self, StorageFailure> {
        let (key_metadata, engine_id) = KeyBody::new(&request.key);
        let (ca_issuance_profile, ca_issuance_profile_id) = profile(&request.ca_profile)?;
        Ok(Self {
            id: &request.id,
            parent_id: request.parent.as_ref(),
            subject: &request.subject,
            key_metadata,
            ca_expiration: &request.expiration,
            profile_id: &request.profile_id,
            engine_id,
            metadata: &request.metadata,
            ca_issuance_profile_id,
            ca_issuance_profile,
            crl_shards: request.crl_shards,
        })
    }
}

#[derive(Serialize)]
pub(super) struct SignBody<'a> {
    pub(super) csr: Option<&'a CsrDer>,
    pub(super) profile: Option<Value>,
    pub(super) profile_id: Option<&'a ProfileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verify_csr_signature: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct StatusBody {
    pub(super) status: CertificateStatus,
    pub(super) revocation_reason: RevocationReason,
}

#[derive(Serialize)]
pub(super) struct RevocationsBody<'a> {
    pub(super) ca_id: Option<&'a CaId>,
    pub(super) profile_id: Option<&'a ProfileId>,
    pub(super) issued_after: Timestamp,
    pub(super) issued_before: Timestamp,
    pub(super) filter: Vec<String>,
    pub(super) revocation_reason: RevocationReason,
}

#[derive(Serialize)]
pub(super) struct ImportCaBody<'a> {
    id: &'a CaId,
    ca: &'a CertificateDer,
    private_key: Option<String>,
    profile_id: &'a ProfileId,
    engine_id: &'a EngineId,
    parent_id: Option<&'a CaId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_shards: Option<CrlShards>,
}

impl<'a> ImportCaBody<'a> {
    pub(super) fn new(request: &'a ImportCa) -> Result<Self, CaError> {
        let private_key = match &request.private_key {
            Some(key) => {
                let der = key.to_pkcs8_der().map_err(internal)?;
                let pem = der_to_pem(PemLabel::PrivateKey, &der);
                Some(STANDARD.encode(pem))
            }
            None => None,
        };
        Ok(Self {
            id: &request.id,
            ca: &request.certificate,
            private_key,
            profile_id: &request.profile_id,
            engine_id: &request.engine_id,
            parent_id: request.parent.as_ref(),
            crl_shards: request.crl_shards,
        })
    }
}

#[derive(Serialize)]
pub(super) struct ImportCertificateBody<'a> {
    certificate: &'a CertificateDer,
    metadata: Option<&'a Map<String, Value>>,
}

impl<'a> ImportCertificateBody<'a> {
    pub(super) fn new(request: &'a ImportCertificate) -> Self {
        Self {
            certificate: &request.certificate,
            metadata: request.metadata.as_ref(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct CreateCertificateBody<'a> {
    ca_id: &'a CaId,
    key_spec: KeySpecBody<'a>,
    subject: &'a Subject,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor_of: Option<&'a SerialNumber>,
    #[serde(skip_serializing_if = "<[AlternativeName]>::is_empty")]
    alternative_names: &'a [AlternativeName],
    issuance_profile: Option<Value>,
    issuance_profile_id: Option<&'a ProfileId>,
    metadata: &'a Map<String, Value>,
}

#[derive(Default, Serialize)]
struct KeySpecBody<'a> {
    #[serde(rename = "type")]
    key_type: &'a str,
    bits: u32,
    engine_id: Option<&'a EngineId>,
    key_identifier: Option<&'a KeyRef>,
}

impl<'a> CreateCertificateBody<'a> {
    pub(super) fn new(request: &'a CreateCertificate) -> Result<Self, CaError> {
        let key_spec = match &request.key {
            KeySource::Existing(key) => KeySpecBody {
                key_identifier: Some(key),
                ..KeySpecBody::default()
            },
            KeySource::New {
                key_type,
                bits,
                engine_id,
            } => KeySpecBody {
                key_type,
                bits: *bits,
                engine_id: Some(engine_id),
                key_identifier: None,
            },
        };
        let (issuance_profile, issuance_profile_id) = profile(&request.profile)?;
        Ok(Self {
            ca_id: &request.ca,
            key_spec,
            subject: &request.subject,
            successor_of: request.successor_of.as_ref(),
            alternative_names: &request.alternative_names,
            issuance_profile,
            issuance_profile_id,
            metadata: &request.metadata,
        })
    }
}

#[derive(Serialize)]
pub(super) struct ProfileIdBody<'a> {
    pub(super) profile_id: &'a ProfileId,
}

#[derive(Serialize)]
pub(super) struct ReissueBody<'a> {
    pub(super) profile: Option<Value>,
    pub(super) profile_id: Option<&'a ProfileId>,
}

#[derive(Serialize)]
pub(super) struct SignatureBody<'a> {
    message: Base64,
    message_type: &'a str,
    signature_algorithm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Base64>,
}

impl<'a> SignatureBody<'a> {
    pub(super) fn new(message: &'a RawMessage, signature: Option<&[u8]>) -> Self {
        Self {
            message: Base64(message.message.clone()),
            message_type: &message.message_type,
            signature_algorithm: &message.algorithm,
            signature: signature.map(|octets| Base64(octets.to_vec().into())),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Signed {
    pub(super) signed_data: Base64,
}

#[derive(Deserialize)]
pub(super) struct Verified {
    pub(super) valid: bool,
}

/// What a deleted CA leaves in the answer: nothing.
pub(super) type Nothing = BTreeMap<String, Value>;

/// The query of statistics: filters under the name of what they are for.
pub(super) fn filters(query: &mut String, name: &str, filters: &[Filter]) {
    for filter in filters {
        query.push_str(if query.contains('?') { "&" } else { "?" });
        query.push_str(name);
        query.push('=');
        query.push_str(&encode(&filter.to_text()));
    }
}
