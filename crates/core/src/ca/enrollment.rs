//! Enrollment spans two services and two commits; this is what the CA keeps to make that safe.
//!
//! 1. [`sign_for_enrollment`](super::CaService::sign_for_enrollment) commits the certificate
//!    together with an open *intent*: device, DMS, mode, digest of the request, what the slot held.
//! 2. The device manager binds by compare-and-set; only then does the device get its answer.
//! 3. [`complete_enrollment`](super::CaService::complete_enrollment) closes the intent and retires
//!    the superseded certificate.
//!
//! A crash between 1 and 2 leaves an open intent and a certificate that nobody received: the sweep
//! asks the device manager and [abandons](super::CaService::abandon_enrollment) what is not bound.
//! A crash between 2 and 3 is healed by the same sweep, which completes what is bound.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::RenewalWindows;
use crate::ids::{DeviceId, DmsId, SerialNumber};

/// Which EST operation asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnrollmentMode {
    /// `simpleenroll` (RFC 7030 4.2.1).
    Enroll,
    /// `simplereenroll` (RFC 7030 4.2.2).
    Reenroll,
}

impl EnrollmentMode {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Reenroll => "reenroll",
        }
    }

    /// The mode stored under this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Enroll, Self::Reenroll]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// The certificate that a new one takes the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Superseded {
    /// Which.
    pub serial_number: SerialNumber,
    /// Whether its metadata lose the attachment to the device (re-enrollment).
    pub detach: Detach,
    /// Whether it is revoked, reason `Superseded`, unless it is for good already: a hold becomes
    /// final.
    pub revoke: Revoke,
}

/// Whether a superseded certificate's metadata lose the attachment to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detach {
    /// They do.
    Yes,
    /// They stay.
    No,
}

/// Whether a superseded certificate is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Revoke {
    /// It is.
    Yes,
    /// It lives on.
    #[default]
    No,
}

/// The intent under which a certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrollment {
    /// Which operation.
    pub mode: EnrollmentMode,
    /// Who it is for, and through which DMS; also written to the certificate's metadata.
    pub attachment: Attachment,
    /// SHA-256 of the request's DER.
    #[serde(with = "crate::internal::octets32")]
    #[schemars(with = "crate::internal::Base64")]
    pub csr_digest: [u8; 32],
    /// What the device's slot held when the request was checked.
    pub superseded: Option<Superseded>,
    /// When the certificate must be renewed; written to its metadata.
    pub windows: RenewalWindows,
}

/// Which device a certificate belongs to, and which DMS says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attachment {
    /// The device.
    pub device_id: DeviceId,
    /// The DMS.
    pub dms_id: DmsId,
    /// The device's slot, where that is not its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

/// An intent that is neither completed nor abandoned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenEnrollment {
    /// The certificate.
    pub serial_number: SerialNumber,
    /// Who it is for.
    pub device_id: DeviceId,
    /// When it was issued.
    #[serde(with = "crate::internal::instant")]
    #[schemars(with = "crate::timestamp::Timestamp")]
    pub opened_at: OffsetDateTime,
}
