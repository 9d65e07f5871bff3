//! Which status may follow which, and what a change of status does to a certificate. Pure.

use lamassu_core::ca::{CaError, Certificate, CertificateStatus};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use time::OffsetDateTime;

/// The certificate with its new status.
///
/// A revoked certificate comes back only from a hold (RFC 5280 5.3.1). An expired one stays so,
/// but may still be revoked unless it is a CA's: its key may have been lost before its end.
///
/// # Errors
///
/// [`CaError::StatusTransition`] when the status may not follow the present one.
pub(crate) fn with_status(
    certificate: &Certificate,
    status: CertificateStatus,
    reason: RevocationReason,
    now: OffsetDateTime,
) -> Result<Certificate, CaError> {
    if !may_follow(certificate, status) {
        return Err(CaError::StatusTransition);
    }
    let mut updated = certificate.clone();
    updated.status = status;
    if status == CertificateStatus::Revoked {
        updated.revocation_timestamp = Timestamp(now);
        updated.revocation_reason = reason;
    } else {
        // The reason stays: it says that a released certificate was once on hold.
        updated.revocation_timestamp = Timestamp::ZERO;
    }
    Ok(updated)
}

/// Whether a status may follow the present one.
pub(crate) fn may_follow(certificate: &Certificate, next: CertificateStatus) -> bool {
    match certificate.status {
        CertificateStatus::Active | CertificateStatus::Inactive => true,
        CertificateStatus::Revoked => {
            certificate.revocation_reason == RevocationReason::CertificateHold
        }
        CertificateStatus::Expired => !certificate.is_ca && next == CertificateStatus::Revoked,
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::ca::{
        CaError, Certificate, CertificateStatus, CertificateType, IssuerMetadata,
    };
    use lamassu_core::ids::SerialNumber;
    use lamassu_core::pem::CertificateDer;
    use lamassu_core::subject::Subject;
    use lamassu_core::timestamp::Timestamp;
    use lamassu_core::usage::{CertificateExtensions, RevocationReason};
    use time::OffsetDateTime;

    use super::with_status;
    use crate::describe::key_metadata;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-03-02 09:15:27.481233 UTC);

    fn certificate(status: CertificateStatus, reason: RevocationReason) -> Certificate {
        Certificate {
            serial_number: SerialNumber::from_bytes(&[1]),
            subject_key_id: String::new(),
            authority_key_id: String::new(),
            metadata: None,
            status,
            certificate: CertificateDer::default(),
            key_metadata: key_metadata(None),
            subject: Subject::default(),
            issuer: Subject::default(),
            valid_from: Timestamp::ZERO,
            extensions: CertificateExtensions::default(),
            issuer_metadata: IssuerMetadata {
                serial_number: "-".to_owned(),
                id: "-".into(),
                level: -1,
            },
            valid_to: Timestamp::ZERO,
            revocation_timestamp: Timestamp::ZERO,
            revocation_reason: reason,
            certificate_type: CertificateType::ImportedWithoutKey,
            engine_id: "".into(),
            is_ca: false,
        }
    }

    #[test]
    fn only_what_is_final_stays() {
        use CertificateStatus::{Active, Expired, Inactive, Revoked};
        use RevocationReason::{CertificateHold, KeyCompromise, Unspecified};
        let cases = [
            (Active, Unspecified, Active, true),
            (Active, Unspecified, Revoked, true),
            (Active, Unspecified, Expired, true),
            (Inactive, Unspecified, Active, true),
            (Revoked, CertificateHold, Active, true),
            (Revoked, CertificateHold, Revoked, true),
            (Revoked, KeyCompromise, Active, false),
            (Revoked, KeyCompromise, Revoked, false),
            (Expired, Unspecified, Active, false),
            (Expired, Unspecified, Expired, false),
            (Expired, Unspecified, Revoked, true),
        ];
        for (status, reason, next, allowed) in cases {
            let outcome = with_status(&certificate(status, reason), next, KeyCompromise, NOW);
            match outcome {
                Ok(updated) => assert!(allowed && updated.status == next, "{status} to {next}"),
                Err(error) => assert!(
                    !allowed && matches!(error, CaError::StatusTransition),
                    "{status} to {next}"
                ),
            }
        }
    }

    #[test]
    fn an_expired_ca_is_not_revoked() {
        let mut ca = certificate(CertificateStatus::Expired, RevocationReason::Unspecified);
        ca.is_ca = true;
        let refused = with_status(
            &ca,
            CertificateStatus::Revoked,
            RevocationReason::KeyCompromise,
            NOW,
        );
        assert!(matches!(refused, Err(CaError::StatusTransition)));
    }

    #[test]
    fn a_release_forgets_the_time_and_keeps_the_reason() {
        let held = with_status(
            &certificate(CertificateStatus::Active, RevocationReason::Unspecified),
            CertificateStatus::Revoked,
            RevocationReason::CertificateHold,
            NOW,
        )
        .unwrap();
        assert_eq!(held.revocation_timestamp, Timestamp(NOW));
        let released = with_status(
            &held,
            CertificateStatus::Active,
            RevocationReason::Unspecified,
            NOW,
        )
        .unwrap();
        assert_eq!(released.revocation_timestamp, Timestamp::ZERO);
        assert_eq!(
            released.revocation_reason,
            RevocationReason::CertificateHold
        );
    }
}
