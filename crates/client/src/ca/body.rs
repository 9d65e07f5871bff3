//! Bodies of what changes CAs and certificates.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::ca::{
    CaError, CreateCertificate, ImportCa, ImportCertificate, KeySource, RawMessage,
};
use lamassu_core::ids::{CaId, EngineId, KeyRef, ProfileId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::pem::CertificateDer;
use lamassu_core::percent::encode;
use lamassu_core::query::Filter;
use lamassu_core::subject::Subject;
use lamassu_crypto::pem::{PemLabel, der_to_pem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::profile;
use crate::peer::internal;

#[derive(Serialize)]
pub(super) struct ImportCaBody<'a> {
    id: &'a CaId,
    ca: &'a CertificateDer,
    private_key: Option<String>,
    profile_id: &'a ProfileId,
    engine_id: &'a EngineId,
    parent_id: Option<&'a CaId>,
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
