//! The settings of a DMS as the wire shows them.
//!
//! Arrays and maps that clients send as `null` come back as `[]` and `{}`; enums are stored as
//! sent and judged when they are used, as clients rely on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approval::ApprovalMode;
use super::webhook::WebhookSettings;
use crate::ca::certificate::named_enum;
use crate::ca::{IssuanceProfile, Member, RenewalWindows};
use crate::duration::WireDuration;
use crate::ids::{CaId, DeviceId, ProfileId};

/// The value of `auth_mode` that asks for a client certificate.
pub const AUTH_CLIENT_CERTIFICATE: &str = "CLIENT_CERTIFICATE";
/// The value of `auth_mode` that asks a webhook.
pub const AUTH_WEBHOOK: &str = "EXTERNAL_WEBHOOK";
/// The value of `auth_mode` that asks for a client certificate, and then a webhook.
pub const AUTH_BOTH: &str = "CLIENT_CERTIFICATE_AND_EXTERNAL_WEBHOOK";
/// The value of `auth_mode` that asks for a password (RFC 7030 3.2.3); the reference has none.
pub const AUTH_PASSWORD: &str = "HTTP_BASIC";
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

impl DmsSettings {
    /// The members that were cleared, as JSON Pointers to their objects and their names: an answer
    /// leaves them out, a request must not.
    pub fn cleared(&self) -> Vec<(&'static str, &'static str)> {
        const ENROLLMENT: &str = "/enrollment_settings";
        const REENROLLMENT: &str = "/reenrollment_settings";
        let (first, again) = (&self.enrollment_settings, &self.reenrollment_settings);
        let mut members = vec![
            (ENROLLMENT, "max_devices", first.max_devices.is_cleared()),
            (
                ENROLLMENT,
                "allowed_device_ids",
                first.allowed_device_ids.is_cleared(),
            ),
            (
                ENROLLMENT,
                "device_id_pattern",
                first.device_id_pattern.is_cleared(),
            ),
            (
                ENROLLMENT,
                "repeat_enrollment_window",
                first.repeat_enrollment_window.is_cleared(),
            ),
            (
                REENROLLMENT,
                "strict_identity",
                again.strict_identity.is_cleared(),
            ),
            (REENROLLMENT, "key_reuse", again.key_reuse.is_cleared()),
        ];
        let est = &first.est_rfc7030_settings;
        members.extend([
            (
                "/enrollment_settings/est_rfc7030_settings/client_certificate_settings",
                "revocation",
                est.client_certificate_settings.revocation.is_cleared(),
            ),
            (
                "/enrollment_settings/est_rfc7030_settings/external_webhook_settings/config",
                "ca_cert",
                est.external_webhook_settings.clears_anchors(),
            ),
        ]);
        if let Some(est) = &again.est_rfc7030_settings {
            members.extend([
                (
                    "/reenrollment_settings/est_rfc7030_settings/client_certificate_settings",
                    "revocation",
                    est.client_certificate_settings.revocation.is_cleared(),
                ),
                (
                    "/reenrollment_settings/est_rfc7030_settings/external_webhook_settings/config",
                    "ca_cert",
                    est.external_webhook_settings.clears_anchors(),
                ),
            ]);
        }
        let cleared = members.into_iter().filter(|(_, _, is_cleared)| *is_cleared);
        cleared
            .map(|(object, member, _)| (object, member))
            .collect()
    }
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
    /// How many devices the DMS may have; any number when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = 10_000)]
    pub max_devices: Member<u32>,
    /// The devices that may enroll; any when not set, none when empty.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = ["sensor-0001", "sensor-0002"])]
    pub allowed_device_ids: Member<Vec<DeviceId>>,
    /// What the whole id of a device must match, a regular expression.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = &"sensor-[0-9]{4}")]
    pub device_id_pattern: Member<String>,
    /// How long an enrollment whose answer was lost may be repeated with the same request and the
    /// same credential; not at all when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = &"10m")]
    pub repeat_enrollment_window: Member<WireDuration>,
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
    /// `CLIENT_CERTIFICATE`, `EXTERNAL_WEBHOOK`, `CLIENT_CERTIFICATE_AND_EXTERNAL_WEBHOOK`,
    /// `HTTP_BASIC` or `NO_AUTH`; every other text refuses every call.
    #[schemars(example = &"CLIENT_CERTIFICATE")]
    pub auth_mode: String,
    /// For the modes with client certificate.
    pub client_certificate_settings: ClientCertificateSettings,
    /// For the modes with webhook.
    pub external_webhook_settings: WebhookSettings,
    /// What the oldest dashboards call `external_webhook_settings`; the same, and only there where
    /// it was sent once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_webhook: Option<WebhookSettings>,
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
    /// How it is found out whether a certificate that the platform did not issue is revoked;
    /// `if_possible` when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub revocation: Member<ForeignRevocation>,
}

/// How it is found out whether a certificate of a foreign issuer is revoked. What the platform knows
/// itself is looked at whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignRevocation {
    /// Its OCSP responder is asked, else its CRL is read; where neither can be had, it passes.
    #[default]
    IfPossible,
    /// The same; where neither can be had, it does not pass.
    Required,
    /// Nobody is asked.
    Off,
}

/// What a renewal must do about its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyReuse {
    /// The key may stay or change.
    #[default]
    Allowed,
    /// The key must change.
    Forbidden,
    /// The key must stay.
    Required,
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
    /// Whether the whole subject and the alternative names must be those of the certificate to renew
    /// (RFC 7030 4.2.2); common name and the usual attributes only when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = false)]
    pub strict_identity: Member<bool>,
    /// What a renewal must do about its key; `allowed` when not set.
    #[serde(skip_serializing_if = "Member::is_silent")]
    pub key_reuse: Member<KeyReuse>,
}

impl ReenrollmentSettings {
    /// When certificates should be renewed.
    pub fn renewal_windows(&self) -> RenewalWindows {
        RenewalWindows {
            preventive: self.preventive_delta,
            critical: self.critical_delta,
        }
    }
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
