//! The settings of a DMS as the wire shows them.
//!
//! Arrays and maps that clients send as `null` come back as `[]` and `{}`; enums are stored as
//! sent and judged when they are used, as clients rely on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approval::ApprovalMode;
use crate::ca::certificate::named_enum;
use crate::ca::{IssuanceProfile, Member};
use crate::duration::WireDuration;
use crate::ids::{CaId, ProfileId};

/// The value of `auth_mode` that asks for a client certificate.
pub const AUTH_CLIENT_CERTIFICATE: &str = "CLIENT_CERTIFICATE";
/// The value of `auth_mode` that asks for nothing.
pub const AUTH_NONE: &str = "NO_AUTH";
/// What dashboards write for [`AUTH_NONE`].
pub const AUTH_NONE_ALIAS: &str = "NONE";
/// The value of `registration_mode` that registers unknown devices; every other one does not.
pub const REGISTRATION_JITP: &str = "JITP";
/// The value of `protocol` that EST needs.
pub const PROTOCOL_EST: &str = "EST_RFC7030";

/// The policy of a DMS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DmsSettings {
    /// Server-side key generation.
    pub server_keygen_settings: ServerKeygenSettings,
    /// Enrollment.
    pub enrollment_settings: EnrollmentSettings,
    /// Re-enrollment.
    pub reenrollment_settings: ReenrollmentSettings,
    /// What `cacerts` gives.
    pub ca_distribution_settings: CaDistributionSettings,
    /// A stored profile; wins over the inline one. Absent only in what clients send.
    pub issuance_profile_id: Option<ProfileId>,
    /// An inline profile.
    pub issuance_profile: Option<IssuanceProfile>,
}

/// Server-side key generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServerKeygenSettings {
    /// Whether it is offered.
    #[schemars(example = false)]
    pub enabled: bool,
    /// What is generated.
    pub key: KeygenKey,
}

/// A key type and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeygenKey {
    /// `RSA`, `ECDSA`; `0` when unknown.
    #[serde(rename = "type")]
    #[schemars(example = &"ECDSA")]
    pub key_type: String,
    /// Bits.
    #[schemars(example = 256)]
    pub bits: u32,
}

impl Default for KeygenKey {
    fn default() -> Self {
        Self {
            key_type: "0".to_owned(),
            bits: 0,
        }
    }
}

/// Enrollment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EnrollmentSettings {
    /// Must be `EST_RFC7030`.
    #[schemars(example = &"EST_RFC7030")]
    pub protocol: String,
    /// Who may enroll.
    pub est_rfc7030_settings: EstSettings,
    /// What devices registered just in time look like.
    pub device_provisioning_profile: DeviceProvisioningProfile,
    /// The issuing CA, of re-enrollments too.
    pub enrollment_ca: CaId,
    /// Whether a device that has an identity may enroll again.
    pub enable_replaceable_enrollment: bool,
    /// `JITP` registers unknown devices; anything else wants them registered before.
    #[schemars(example = &"JITP")]
    pub registration_mode: String,
    /// Whether requests must prove possession of their key, also on re-enrollment.
    pub verify_csr_signature: bool,
    /// Whether somebody has to approve enrollments; `automatic` unless said. Absent in an update,
    /// it stays as it is.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub approval: Member<ApprovalMode>,
    /// Whether requests are bound to their connection, on re-enrollment too; `if_possible` unless
    /// said. Absent in an update, it stays as it is.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub channel_binding: Member<ChannelBindingMode>,
    /// Where dashboards look for the stored profile; the same as
    /// [`DmsSettings::issuance_profile_id`]. Absent only in what clients send.
    pub issuance_profile_id: Option<ProfileId>,
}

named_enum! {
    /// Whether the challenge password of a request has to be the channel binding of the connection
    /// that it comes over (RFC 7030 3.5).
    ChannelBindingMode {
        /// Nobody looks.
        Off = "off",
        /// One that can be verified has to be right.
        IfPossible = "if_possible",
        /// There is no certificate without a verified one.
        Required = "required",
    }
}

/// Who may enroll or re-enroll.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EstSettings {
    /// `CLIENT_CERTIFICATE`, `NO_AUTH`, …; every other text refuses every call.
    #[schemars(example = &"CLIENT_CERTIFICATE")]
    pub auth_mode: String,
    /// For the modes with client certificate.
    pub client_certificate_settings: ClientCertificateSettings,
    /// For the modes with webhook; kept as sent.
    pub external_webhook_settings: Map<String, Value>,
}

/// Which client certificates pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientCertificateSettings {
    /// Trust anchors, tried in order.
    pub validation_cas: Vec<CaId>,
    /// Above 0: the presented chain is cut to so many certificates.
    #[schemars(example = -1)]
    pub chain_level_validation: i64,
    /// Whether an expired certificate passes.
    #[schemars(example = false)]
    pub allow_expired: bool,
}

/// What devices registered just in time look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeviceProvisioningProfile {
    /// Icon name of the dashboard.
    #[schemars(example = &"Cpu")]
    pub icon: String,
    /// `<icon colour>-<background colour>`.
    #[schemars(example = &"#888888-#e0e0e0")]
    pub icon_color: String,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// Free texts.
    #[schemars(example = ["sensor"])]
    pub tags: Vec<String>,
}

/// Re-enrollment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReenrollmentSettings {
    /// Who may re-enroll; apart from enrollment. Absent only in what clients send: then a new
    /// DMS takes the enrollment's, and an update keeps what is stored.
    pub est_rfc7030_settings: Option<EstSettings>,
    /// Trust anchors tried after the enrollment CA.
    pub additional_validation_cas: Vec<CaId>,
    /// Whether the superseded certificate is revoked.
    pub revoke_on_reenrollment: bool,
    /// The window opens so long before `notAfter`.
    pub reenrollment_delta: WireDuration,
    /// Whether an expired certificate may renew.
    pub enable_expired_renewal: bool,
    /// Before `notAfter`: renew soon.
    pub preventive_delta: WireDuration,
    /// Before `notAfter`: renew now.
    pub critical_delta: WireDuration,
}

/// What `cacerts` gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CaDistributionSettings {
    /// The certificate that the platform's own TLS is anchored at.
    pub include_system_ca: bool,
    /// The enrollment CA.
    pub include_enrollment_ca: bool,
    /// Further CAs.
    pub managed_cas: Vec<CaId>,
}
