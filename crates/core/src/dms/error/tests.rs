//! The guide's table of refusals is this enum.

use std::time::Duration;

use super::{
    ApprovalRefusal, CertificateRefusal, ChannelBindingRefusal, CredentialRefusal, DeviceRefusal,
    DmsError, KeygenRefusal, RenewalRefusal, WebhookRefusal,
};
use crate::ca::EnrollmentMode;
use crate::error::ServiceError as _;

/// What EST answers by itself, one of each; `None` for what only the management API answers and
/// for what other services say. A new variant makes the compiler ask.
fn in_guide(error: &DmsError) -> bool {
    match error {
        DmsError::LabelMissing
        | DmsError::BodyEncoding
        | DmsError::MalformedCsr(_)
        | DmsError::CsrSignature
        | DmsError::NoCommonName
        | DmsError::ClientCertificateMissing
        | DmsError::InvalidCertificate(_)
        | DmsError::ExpiredCertificate
        | DmsError::PresentedRevoked
        | DmsError::ActiveRevoked
        | DmsError::NoAuthForbidden
        | DmsError::OtherDms
        | DmsError::NotPreregistered
        | DmsError::ForbiddenNewEnrollment
        | DmsError::Decommissioned
        | DmsError::NoDeviceCertificate
        | DmsError::SubjectChanged
        | DmsError::WindowClosed(_)
        | DmsError::DmsNotFound
        | DmsError::DeviceNotFound
        | DmsError::MediaType
        | DmsError::AuthModeUnsupported
        | DmsError::Protocol
        | DmsError::ProfileSignsCa
        | DmsError::Webhook(_)
        | DmsError::Credential(_)
        | DmsError::DeviceRefused(_)
        | DmsError::Renewal(_)
        | DmsError::Keygen(_)
        | DmsError::Approval(ApprovalRefusal::Denied | ApprovalRefusal::QueueFull)
        | DmsError::ChannelBinding(_)
        | DmsError::SlotChanged => true,
        DmsError::Validation
        | DmsError::Approval(ApprovalRefusal::NotFound | ApprovalRefusal::NotPending)
        | DmsError::IdMismatch
        | DmsError::DmsExists
        | DmsError::CommonNameMismatch
        | DmsError::CaProfile
        | DmsError::Settings(_)
        | DmsError::PasswordNotFound
        | DmsError::Patch(_)
        | DmsError::Query(_)
        | DmsError::Misconfigured(_)
        | DmsError::Ca(_)
        | DmsError::Device(_)
        | DmsError::Storage(_) => false,
    }
}

fn samples() -> Vec<DmsError> {
    use CertificateRefusal as Refusal;
    let refusals = [
        Refusal::Untrusted,
        Refusal::NotYetValid,
        Refusal::Expired,
        Refusal::NameMismatch,
        Refusal::Usage,
        Refusal::NotOfDevice,
    ];
    let mut samples = vec![
        DmsError::LabelMissing,
        DmsError::BodyEncoding,
        DmsError::MalformedCsr("…".to_owned()),
        DmsError::CsrSignature,
        DmsError::NoCommonName,
        DmsError::ClientCertificateMissing,
        DmsError::ExpiredCertificate,
        DmsError::PresentedRevoked,
        DmsError::ActiveRevoked,
        DmsError::NoAuthForbidden,
        DmsError::OtherDms,
        DmsError::NotPreregistered,
        DmsError::ForbiddenNewEnrollment,
        DmsError::Decommissioned,
        DmsError::NoDeviceCertificate,
        DmsError::SubjectChanged,
        DmsError::WindowClosed(Duration::from_secs(1)),
        DmsError::DmsNotFound,
        DmsError::DeviceNotFound,
        DmsError::MediaType,
        DmsError::AuthModeUnsupported,
        DmsError::Protocol,
        DmsError::ProfileSignsCa,
        DmsError::SlotChanged,
        DmsError::Webhook(WebhookRefusal::TimedOut),
        DmsError::Webhook(WebhookRefusal::Status(401)),
        DmsError::Webhook(WebhookRefusal::Status(500)),
        DmsError::Webhook(WebhookRefusal::Failed("…".to_owned())),
        DmsError::Webhook(WebhookRefusal::Denied(EnrollmentMode::Enroll)),
        DmsError::Webhook(WebhookRefusal::Denied(EnrollmentMode::Reenroll)),
        DmsError::Keygen(KeygenRefusal::Disabled),
        DmsError::Keygen(KeygenRefusal::KeyType("…".to_owned())),
        DmsError::Keygen(KeygenRefusal::Busy),
        DmsError::Keygen(KeygenRefusal::SymmetricKey),
        DmsError::Keygen(KeygenRefusal::UnknownKey),
        DmsError::Keygen(KeygenRefusal::UnfitKey),
        DmsError::Keygen(KeygenRefusal::NoCapabilities),
        DmsError::Keygen(KeygenRefusal::NoCipher),
        DmsError::Approval(ApprovalRefusal::Denied),
        DmsError::Approval(ApprovalRefusal::QueueFull),
        DmsError::ChannelBinding(ChannelBindingRefusal::Missing),
        DmsError::ChannelBinding(ChannelBindingRefusal::Unavailable),
        DmsError::ChannelBinding(ChannelBindingRefusal::Mismatch),
    ];
    samples.extend(CredentialRefusal::ALL.map(DmsError::Credential));
    samples.extend(DeviceRefusal::ALL.map(DmsError::DeviceRefused));
    samples.extend(RenewalRefusal::ALL.map(DmsError::Renewal));
    samples.extend(refusals.map(DmsError::InvalidCertificate));
    samples
}

/// Status, text and code of each row.
fn rows(guide: &str) -> Vec<(String, String, String)> {
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    guide
        .lines()
        .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(cell).collect();
            (cells[1].clone(), cells[2].clone(), cells[3].clone())
        })
        .collect()
}

#[test]
fn the_guide_lists_every_refusal_of_est_with_its_status_and_code() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/est.md");
    let mut listed = rows(&std::fs::read_to_string(guide).unwrap());
    let mut refused: Vec<_> = samples()
        .iter()
        .inspect(|error| assert!(in_guide(error), "{error:?}"))
        .map(|error| {
            let status = error.kind().status().as_u16().to_string();
            (
                status,
                error.to_string(),
                error.code().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    listed.sort();
    refused.sort();
    assert_eq!(listed, refused);
}
