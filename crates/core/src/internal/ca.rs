//! Bodies of the CA service's internal routes.

use lamassu_x509::Possession;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Base64;
use crate::ca::enrollment::Attachment;
use crate::ca::{
    Certificate, Enrollment, IssuanceProfile, ProfileChoice, RenewalWindows, StatusInfo,
};
use crate::duration::WireDuration;
use crate::ids::ProfileId;

/// A certificate to issue for a device, with the intent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignForEnrollment {
    /// DER of the certification request.
    pub csr: Base64,
    /// How its sender's possession of the key was decided.
    pub possession: WirePossession,
    /// The profile, when it is sent along.
    pub profile: Option<Box<IssuanceProfile>>,
    /// A stored profile; the CA's default one when both are absent.
    pub profile_id: Option<ProfileId>,
    /// The intent.
    pub enrollment: Enrollment,
}

impl SignForEnrollment {
    /// The profile as the service takes it.
    pub fn profile_choice(
        profile: Option<Box<IssuanceProfile>>,
        profile_id: Option<ProfileId>,
    ) -> ProfileChoice {
        match (profile, profile_id) {
            (Some(profile), _) => ProfileChoice::Inline(profile),
            (None, Some(id)) => ProfileChoice::Stored(id),
            (None, None) => ProfileChoice::Default,
        }
    }
}

/// How possession of a request's key was decided, as it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WirePossession {
    /// The request's signature was verified; the receiver verifies it again.
    Proven,
    /// A policy of the sender said not to look.
    Waived,
}

impl From<Possession> for WirePossession {
    fn from(possession: Possession) -> Self {
        match possession {
            Possession::Proven => Self::Proven,
            Possession::WaivedByPolicy => Self::Waived,
        }
    }
}

/// A certificate to issue for an OCSP responder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssueOcspResponder {
    /// DER of the certification request.
    pub csr: Base64,
    /// How long it shall be valid.
    pub validity: WireDuration,
}

/// Which device a certificate belongs to, and when that one must renew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachCertificate {
    /// The device and its DMS.
    pub attachment: Attachment,
    /// When it must renew.
    pub windows: RenewalWindows,
}

/// The status of a certificate, if the CA issued it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundStatus {
    /// The status.
    pub found: Option<StatusInfo>,
}

/// A certificate, if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoundCertificate {
    /// The certificate.
    pub found: Option<Box<Certificate>>,
}
