use http::StatusCode;
use lamassu_core::ca::{CaError, EnrollmentMode};
use lamassu_core::device::DeviceError;
use lamassu_core::dms::{
    ApprovalRefusal, CertificateRefusal, ChannelBindingRefusal, CredentialRefusal, DeviceRefusal,
    DmsError, KeygenRefusal, RenewalRefusal, WebhookRefusal,
};
use lamassu_core::kms::KmsError;
use lamassu_core::patch::PatchError;

use super::query;
use crate::refusal::{Refusal, WireError};

const INVALID_CERTIFICATE: [CertificateRefusal; 6] = [
    CertificateRefusal::Untrusted,
    CertificateRefusal::NotYetValid,
    CertificateRefusal::Expired,
    CertificateRefusal::NameMismatch,
    CertificateRefusal::Usage,
    CertificateRefusal::NotOfDevice,
];

impl WireError for DmsError {
    /// Refusals of the CA service and the device manager that the DMS manager passes on come last.
    fn read(refusal: &Refusal) -> Option<Self> {
        own(refusal)
            .or_else(|| refusal.one_of(INVALID_CERTIFICATE.map(Self::InvalidCertificate)))
            .or_else(|| refusal.one_of(CredentialRefusal::ALL.map(Self::Credential)))
            .or_else(|| refusal.one_of(DeviceRefusal::ALL.map(Self::DeviceRefused)))
            .or_else(|| refusal.one_of(RenewalRefusal::ALL.map(Self::Renewal)))
            .or_else(|| webhook(refusal).map(Self::Webhook))
            .or_else(|| {
                let reason = refusal.after(StatusCode::BAD_REQUEST, "settings: ")?;
                Some(Self::Settings(reason.to_owned()))
            })
            .or_else(|| {
                let prefix = "failed to apply patches to metadata: ";
                let reason = refusal.after(StatusCode::BAD_REQUEST, prefix)?.to_owned();
                Some(Self::Patch(PatchError { reason }))
            })
            .or_else(|| {
                let misconfigured = [
                    CaError::CaNotFound,
                    CaError::ProfileNotFound,
                    CaError::CaStatus,
                    CaError::KmsRefused(KmsError::KeyDisabled),
                ];
                refusal.one_of(misconfigured.map(Self::Misconfigured))
            })
            .or_else(|| {
                let prefix = "could not parse the payload into a csr: ";
                let reason = refusal.after(StatusCode::BAD_REQUEST, prefix)?;
                Some(Self::MalformedCsr(reason.to_owned()))
            })
            .or_else(|| {
                let prefix = "unsupported key type ";
                let key = refusal.after(StatusCode::INTERNAL_SERVER_ERROR, prefix)?;
                Some(KeygenRefusal::KeyType(key.to_owned()).into())
            })
            .or_else(|| query::read(refusal).map(Self::Query))
            .or_else(|| refusal.one_of([Self::Device(DeviceError::Exists)]))
            .or_else(|| CaError::read(refusal).map(Self::Ca))
    }
}

fn webhook(refusal: &Refusal) -> Option<WebhookRefusal> {
    let prefix = "error while calling external webhook: ";
    let fixed = [
        WebhookRefusal::TimedOut,
        WebhookRefusal::Denied(EnrollmentMode::Enroll),
        WebhookRefusal::Denied(EnrollmentMode::Reenroll),
    ];
    let is = |known: &WebhookRefusal| refusal.is(&DmsError::Webhook(known.clone()));
    let reason = refusal.text.strip_prefix(prefix).unwrap_or_default();
    let status = reason.strip_prefix("unexpected status code: ");
    let status = status.and_then(|status| status.parse().ok());
    fixed
        .into_iter()
        .chain(status.map(WebhookRefusal::Status))
        .chain([WebhookRefusal::Failed(reason.to_owned())])
        .find(is)
}

fn own(refusal: &Refusal) -> Option<DmsError> {
    use DmsError as E;
    refusal.one_of([
        E::Validation,
        E::IdMismatch,
        E::DmsNotFound,
        E::DmsExists,
        E::LabelMissing,
        E::Protocol,
        E::ClientCertificateMissing,
        E::AuthModeUnsupported,
        E::NoAuthForbidden,
        E::ExpiredCertificate,
        E::PresentedRevoked,
        E::ActiveRevoked,
        E::MediaType,
        E::BodyEncoding,
        E::CsrSignature,
        E::NoCommonName,
        E::OtherDms,
        E::ForbiddenNewEnrollment,
        E::NotPreregistered,
        E::DeviceNotFound,
        E::Decommissioned,
        E::NoDeviceCertificate,
        E::SubjectChanged,
        E::WindowClosed(refusal.retry_after.unwrap_or_default()),
        E::CommonNameMismatch,
        E::ProfileSignsCa,
        E::CaProfile,
        E::SlotChanged,
        E::PasswordNotFound,
        KeygenRefusal::Disabled.into(),
        KeygenRefusal::Busy.into(),
        KeygenRefusal::SymmetricKey.into(),
        KeygenRefusal::UnknownKey.into(),
        KeygenRefusal::UnfitKey.into(),
        KeygenRefusal::NoCapabilities.into(),
        KeygenRefusal::NoCipher.into(),
        ApprovalRefusal::NotFound.into(),
        ApprovalRefusal::NotPending.into(),
        ApprovalRefusal::Denied.into(),
        ApprovalRefusal::QueueFull.into(),
        ChannelBindingRefusal::Missing.into(),
        ChannelBindingRefusal::Unavailable.into(),
        ChannelBindingRefusal::Mismatch.into(),
    ])
}
