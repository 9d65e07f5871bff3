use http::StatusCode;
use lamassu_core::ca::CaError;
use lamassu_core::device::DeviceError;
use lamassu_core::dms::{
    ApprovalRefusal, CertificateRefusal, ChannelBindingRefusal, DmsError, KeygenRefusal,
};

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
            .or_else(|| {
                let misconfigured = [
                    CaError::CaNotFound,
                    CaError::ProfileNotFound,
                    CaError::CaStatus,
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
        KeygenRefusal::Disabled.into(),
        KeygenRefusal::Busy.into(),
        KeygenRefusal::SymmetricKey.into(),
        KeygenRefusal::UnknownKey.into(),
        KeygenRefusal::NotRsa.into(),
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
