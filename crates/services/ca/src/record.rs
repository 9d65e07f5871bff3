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
use time::OffsetDateTime;

use crate::describe::{Description, serial_number};

/// Ticks of a serial number's clock per second.
const TICKS_PER_SECOND: i64 = 64;

/// A serial number that nobody could have guessed, with 128 random bits behind 31 bits of time.
///
/// The time keeps what is issued together together in every index by serial number: with random
/// bits alone each certificate would change pages of its own, and each commit write them all.
pub(crate) fn draw_serial(now: OffsetDateTime) -> Result<x509::SerialNumber, CaError> {
    let seconds = now.unix_timestamp().wrapping_mul(TICKS_PER_SECOND);
    let part = i64::from(now.nanosecond()).wrapping_mul(TICKS_PER_SECOND) / 1_000_000_000;
    let [_, _, _, _, ticks @ ..] = seconds.wrapping_add(part).to_be_bytes();
    loop {
        let mut octets = [0_u8; x509::SerialNumber::RANDOM_LEN];
        getrandom::fill(&mut octets)
            .map_err(|error| CaError::SignFailed("no randomness".into(), Some(Box::new(error))))?;
        let [first, second, third, fourth, ..] = &mut octets;
        [*first, *second, *third, *fourth] = ticks;
        if let Ok(serial) = x509::SerialNumber::from_random(octets) {
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

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::{TICKS_PER_SECOND, draw_serial};

    #[test]
    fn serial_numbers_follow_the_time_and_never_repeat() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let later = now + Duration::SECOND / 32;
        let [first, second, third] =
            [now, now, later].map(|time| draw_serial(time).expect("a serial number"));
        assert_ne!(first, second);
        let ticks = |serial: &lamassu_x509::SerialNumber| -> i64 {
            i64::from_str_radix(serial.to_hex().get(..8).expect("digits"), 16).expect("hexadecimal")
        };
        assert_eq!(ticks(&first), ticks(&second));
        assert_eq!(ticks(&third) - ticks(&first), TICKS_PER_SECOND / 32);
    }
}
