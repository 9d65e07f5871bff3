//! A certificate that was just made, as it is stored and shown.

use bytes::Bytes;
use lamassu_core::ca::{
    CaError, Certificate, CertificateStatus, CertificateType, IssuerMetadata, KeyMetadata,
};
use lamassu_core::ids::{CaId, EngineId};
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_x509 as x509;
use serde_json::{Map, Value};

use crate::describe::{Description, serial_number};

/// A serial number that nobody could have guessed: at least 127 random bits.
pub(crate) fn draw_serial() -> Result<x509::SerialNumber, CaError> {
    loop {
        let mut random = [0_u8; x509::SerialNumber::RANDOM_LEN];
        getrandom::fill(&mut random)
            .map_err(|error| CaError::SignFailed("no randomness".into(), Some(Box::new(error))))?;
        if let Ok(serial) = x509::SerialNumber::from_random(random) {
            return Ok(serial);
        }
    }
}

/// What was just made, as a relying party reads it.
pub(crate) fn read_back(der: &Bytes) -> Result<x509::Certificate, CaError> {
    x509::Certificate::from_der(der.clone()).map_err(|error| {
        CaError::SignFailed(
            "the certificate cannot be read back".into(),
            Some(Box::new(error)),
        )
    })
}

/// An active certificate that says only what its DER says; the caller fills in the rest.
pub(crate) fn new_certificate(
    parsed: &x509::Certificate,
    der: Bytes,
    key_metadata: KeyMetadata,
) -> Certificate {
    let Description {
        subject,
        issuer,
        extensions,
    } = Description::of(parsed);
    let serial_number = serial_number(parsed.serial());
    Certificate {
        issuer_metadata: IssuerMetadata {
            serial_number: serial_number.as_str().to_owned(),
            id: CaId::default(),
            level: 0,
        },
        serial_number,
        subject_key_id: hex::encode(parsed.key_identifier()),
        authority_key_id: parsed
            .authority_key_identifier()
            .map(hex::encode)
            .unwrap_or_default(),
        metadata: Some(Map::<String, Value>::new()),
        status: CertificateStatus::Active,
        certificate: CertificateDer::from_der(der),
        key_metadata,
        subject,
        issuer,
        valid_from: Timestamp(parsed.not_before()),
        extensions,
        valid_to: Timestamp(parsed.not_after()),
        revocation_timestamp: Timestamp::ZERO,
        revocation_reason: RevocationReason::Unspecified,
        certificate_type: CertificateType::Managed,
        engine_id: EngineId::default(),
        is_ca: parsed.is_ca(),
    }
}
