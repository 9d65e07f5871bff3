//! Why the DMS manager refuses: one table of text, status and code for management and EST.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::policy_refusal::{CredentialRefusal, DeviceRefusal, RenewalRefusal, WebhookRefusal};
use super::refusal::{ApprovalRefusal, ChannelBindingRefusal, KeygenRefusal};
use crate::ca::CaError;
use crate::device::DeviceError;
use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::kms::KmsError;
use crate::patch::PatchError;
use crate::query::QueryError;

/// Why the DMS manager refused.
#[derive(Debug, thiserror::Error)]
pub enum DmsError {
    /// A required member is missing or breaks a rule.
    #[error("struct validation error")]
    Validation,
    /// The body's id is not the path's.
    #[error("id of the body differs from the id of the path")]
    IdMismatch,
    /// No DMS has this id.
    #[error("DMS not found")]
    DmsNotFound,
    /// The id is taken.
    #[error("DMS already exists")]
    DmsExists,
    /// An EST path without label, and no default DMS.
    #[error("Key: 'aps.APS' Error:Field validation for 'APS' failed on the 'required' tag")]
    LabelMissing,
    /// The DMS does not speak EST.
    #[error("DMS uses EST protocol")]
    Protocol,
    /// A client certificate is needed and none was presented.
    #[error("DMS auth mode not supported")]
    ClientCertificateMissing,
    /// The DMS names no way to authenticate that we know.
    #[error("DMS auth mode not supported")]
    AuthModeUnsupported,
    /// The DMS wants no authentication and the installation forbids that.
    #[error("enrollment without authentication is not allowed on this installation")]
    NoAuthForbidden,
    /// The presented certificate is not accepted; the code says why.
    #[error("invalid certificate")]
    InvalidCertificate(CertificateRefusal),
    /// The presented certificate has expired (re-enrollment).
    #[error("expired certificate")]
    ExpiredCertificate,
    /// The presented certificate is revoked.
    #[error("certificate is revoked")]
    PresentedRevoked,
    /// The device's active certificate is revoked (re-enrollment).
    #[error("revoked certificate")]
    ActiveRevoked,
    /// The request is not of media type `application/pkcs10`.
    #[error("content-type must be application/pkcs10")]
    MediaType,
    /// The body is no base64.
    #[error("body payload must be base64 encoded")]
    BodyEncoding,
    /// The body is no certification request.
    #[error("could not parse the payload into a csr: {0}")]
    MalformedCsr(String),
    /// The request does not prove possession of its key.
    #[error("invalid CSR signature")]
    CsrSignature,
    /// The request names nobody.
    #[error("no CommonName in CSR")]
    NoCommonName,
    /// The device belongs to another DMS.
    #[error("device already registered to another DMS")]
    OtherDms,
    /// The device has an identity and may not enroll again.
    #[error("forbiddenNewEnrollment")]
    ForbiddenNewEnrollment,
    /// The device is unknown and must be registered before.
    #[error("device not preregistered")]
    NotPreregistered,
    /// The device is unknown (re-enrollment, binding).
    #[error("device not found")]
    DeviceNotFound,
    /// The device is decommissioned.
    #[error("device status does not allow this operation")]
    Decommissioned,
    /// The device has no certificate to renew.
    #[error("could not get device certificate")]
    NoDeviceCertificate,
    /// The subject is not that of the certificate to renew.
    #[error("invalid RawSubject bytes")]
    SubjectChanged,
    /// The renewal window is not open yet; opens after this long.
    #[error("invalid reenroll window")]
    WindowClosed(Duration),
    /// The certificate's common name is not the device's id (manual binding).
    #[error("certificate common name differs from the device id")]
    CommonNameMismatch,
    /// The profile issues CAs, which no device may become.
    #[error("issuance profile signs CA certificates and cannot be used for enrollment")]
    ProfileSignsCa,
    /// The profile of a DMS that is being saved issues CAs.
    #[error("issuance profile signs CA certificates and cannot be used for enrollment")]
    CaProfile,
    /// Somebody else bound a certificate to the device meanwhile.
    #[error("device identity changed meanwhile")]
    SlotChanged,
    /// A setting cannot work; names it.
    #[error("settings: {0}")]
    Settings(String),
    /// The webhook did not let the device through.
    #[error(transparent)]
    Webhook(#[from] WebhookRefusal),
    /// A password or token did not let the device through.
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
    /// The device is none that the DMS takes.
    #[error(transparent)]
    DeviceRefused(#[from] DeviceRefusal),
    /// The request does not renew the certificate.
    #[error(transparent)]
    Renewal(#[from] RenewalRefusal),
    /// No enrollment password of the DMS has this id.
    #[error("enrollment password not found")]
    PasswordNotFound,
    /// The patch of the metadata cannot be applied.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// No key was made for the device.
    #[error(transparent)]
    Keygen(#[from] KeygenRefusal),
    /// It has to be approved and is not, or no decision was taken.
    #[error(transparent)]
    Approval(#[from] ApprovalRefusal),
    /// The request is not bound to this connection.
    #[error(transparent)]
    ChannelBinding(#[from] ChannelBindingRefusal),
    /// A list parameter is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The DMS names a CA or profile that does not exist or is out of use, or a CA whose key is disabled.
    #[error(transparent)]
    Misconfigured(CaError),
    /// The CA service refused.
    #[error(transparent)]
    Ca(CaError),
    /// The device manager refused.
    #[error(transparent)]
    Device(DeviceError),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

/// Why a presented client certificate was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRefusal {
    /// No trust anchor fits.
    Untrusted,
    /// Its validity has not begun.
    NotYetValid,
    /// Its validity has ended (enrollment).
    Expired,
    /// Its common name is not that of the request (re-enrollment).
    NameMismatch,
    /// Its usages exclude client authentication.
    Usage,
    /// It was never the certificate of this device (re-enrollment).
    NotOfDevice,
}

impl CertificateRefusal {
    const fn code(self) -> &'static str {
        match self {
            Self::Untrusted => "client_certificate_untrusted",
            Self::NotYetValid => "client_certificate_not_yet_valid",
            Self::Expired => "client_certificate_expired",
            Self::NameMismatch => "client_certificate_name_mismatch",
            Self::Usage => "client_certificate_usage",
            Self::NotOfDevice => "client_certificate_not_of_device",
        }
    }
}

impl From<CaError> for DmsError {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Storage(failure) => Self::Storage(failure),
            CaError::CsrSignature => Self::CsrSignature,
            CaError::CaNotFound
            | CaError::ProfileNotFound
            | CaError::ProfileGone(_)
            | CaError::CaStatus
            | CaError::KmsRefused(KmsError::KeyDisabled) => Self::Misconfigured(error),
            other => Self::Ca(other),
        }
    }
}

impl From<DeviceError> for DmsError {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Storage(failure) => Self::Storage(failure),
            DeviceError::NotFound => Self::DeviceNotFound,
            DeviceError::Decommissioned => Self::Decommissioned,
            DeviceError::SlotChanged => Self::SlotChanged,
            other => Self::Device(other),
        }
    }
}

impl ServiceError for DmsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation
            | Self::IdMismatch
            | Self::LabelMissing
            | Self::BodyEncoding
            | Self::MalformedCsr(_)
            | Self::CsrSignature
            | Self::NoCommonName
            | Self::CaProfile
            | Self::Settings(_)
            | Self::Query(_) => ErrorKind::Invalid,
            Self::Patch(error) => error.kind(),
            Self::Webhook(refusal) => refusal.kind(),
            Self::Credential(refusal) => refusal.kind(),
            Self::DeviceRefused(refusal) => refusal.kind(),
            Self::DmsNotFound | Self::DeviceNotFound | Self::PasswordNotFound => {
                ErrorKind::NotFound
            }
            Self::DmsExists | Self::CommonNameMismatch => ErrorKind::Conflict,
            Self::ClientCertificateMissing => ErrorKind::Unauthenticated,
            Self::MediaType => ErrorKind::UnsupportedMediaType,
            Self::NoAuthForbidden
            | Self::InvalidCertificate(_)
            | Self::ExpiredCertificate
            | Self::PresentedRevoked
            | Self::ActiveRevoked
            | Self::OtherDms
            | Self::ForbiddenNewEnrollment
            | Self::NotPreregistered
            | Self::Decommissioned
            | Self::NoDeviceCertificate
            | Self::SubjectChanged
            | Self::Renewal(_)
            | Self::WindowClosed(_)
            | Self::ChannelBinding(_) => ErrorKind::Forbidden,
            Self::Keygen(refusal) => refusal.kind(),
            Self::Approval(refusal) => refusal.kind(),
            Self::Protocol
            | Self::AuthModeUnsupported
            | Self::ProfileSignsCa
            | Self::Misconfigured(_) => ErrorKind::Internal,
            Self::SlotChanged => ErrorKind::Unavailable,
            Self::Ca(error) => error.kind(),
            Self::Device(error) => error.kind(),
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::ClientCertificateMissing => Some("client_certificate_missing"),
            Self::InvalidCertificate(refusal) => Some(refusal.code()),
            Self::ExpiredCertificate => Some("client_certificate_expired"),
            Self::PresentedRevoked => Some("client_certificate_revoked"),
            Self::DmsNotFound => Some("dms_not_found"),
            Self::Protocol
            | Self::AuthModeUnsupported
            | Self::ProfileSignsCa
            | Self::Misconfigured(_) => Some("dms_misconfigured"),
            Self::Keygen(refusal) => refusal.code(),
            Self::Approval(refusal) => refusal.code(),
            Self::ChannelBinding(refusal) => Some(refusal.code()),
            Self::Query(error) => error.code(),
            Self::Patch(error) => error.code(),
            Self::Webhook(refusal) => Some(refusal.code()),
            Self::Credential(refusal) => Some(refusal.code()),
            Self::DeviceRefused(refusal) => Some(refusal.code()),
            Self::Renewal(refusal) => Some(refusal.code()),
            Self::Validation
            | Self::Settings(_)
            | Self::PasswordNotFound
            | Self::IdMismatch
            | Self::DmsExists
            | Self::LabelMissing
            | Self::NoAuthForbidden
            | Self::ActiveRevoked
            | Self::MediaType
            | Self::BodyEncoding
            | Self::MalformedCsr(_)
            | Self::CsrSignature
            | Self::NoCommonName
            | Self::OtherDms
            | Self::ForbiddenNewEnrollment
            | Self::NotPreregistered
            | Self::DeviceNotFound
            | Self::Decommissioned
            | Self::NoDeviceCertificate
            | Self::SubjectChanged
            | Self::WindowClosed(_)
            | Self::CommonNameMismatch
            | Self::CaProfile
            | Self::SlotChanged
            | Self::Ca(_)
            | Self::Device(_)
            | Self::Storage(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::WindowClosed(opens_after) => Some(*opens_after),
            other => other.kind().retry_after(),
        }
    }
}
