//! Settings of EST, block `est` of the configuration.

use std::collections::BTreeMap;

use lamassu_core::duration::WireDuration;
use lamassu_core::ids::DmsId;
use lamassu_core::network::{AddressPolicy, Cidr};
use serde::{Deserialize, Serialize};

/// How EST behaves on this installation.
///
/// The defaults are those of an installation whose environment is not named; a named one starts
/// from [`EstConfig::staging`] or [`EstConfig::production`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EstConfig {
    /// Which statuses refusals have. Default `standard`.
    pub status_codes: StatusCodes,
    /// Whether DMSs that ask for no credential may enroll. Default `true`, `false` in production.
    pub allow_no_auth: bool,
    /// What happens to client certificates whose key usages exclude client authentication.
    /// Default `warn`, `enforce` in staging and production.
    pub eku_mode: EkuMode,
    /// How far ahead a certificate's beginning may lie, as clocks differ. Default `1m`.
    pub clock_skew: WireDuration,
    /// Most certificates that are looked at in a client's chain; the rest is ignored.
    /// Default 10.
    pub max_chain: usize,
    /// How answers are broken into lines. Default `auto`.
    pub line_length: LineLength,
    /// The DMS of paths without label, unless the server's name decides. Default none.
    pub default_dms: Option<DmsId>,
    /// The DMS of paths without label, by the name that the client addressed (`Host`, without
    /// port). Default none.
    pub default_dms_by_server_name: BTreeMap<String, DmsId>,
    /// How long a re-enrollment whose answer was lost may be repeated. Default `10m`.
    pub repeat_window: WireDuration,
    /// What bearer tokens are for, beside or instead of what a DMS asks for. Default `record`.
    pub dual_auth: DualAuth,
    /// Whether webhooks are told the `Authorization` header and cookies of the client. Default
    /// `false`.
    pub forward_authorization: bool,
    /// What webhooks may be.
    pub webhook: WebhookPolicy,
    /// How OCSP responders and CRLs of foreign issuers are asked.
    pub revocation: RevocationConfig,
    /// EST requests that one address (a /64 network under IPv6) may send per second, and five times as
    /// many at once; 0 for any number. Loopback addresses are not counted. Default 200.
    pub rate_limit: u32,
    /// Enrollments and renewals that one DMS takes per second, and five times as many at once; 0 for
    /// any number. Those count whose credential was accepted. Default 2000.
    pub dms_rate_limit: u32,
    /// RSA keys that are made for devices at the same time. Default 2.
    pub max_key_generations: usize,
    /// When a device whose enrollment waits for approval is told to come again. Default `1m`.
    pub approval_retry_after: WireDuration,
    /// How long an enrollment waits for a decision, an approved one for its device, and a denied
    /// one is refused. Default `1w`.
    pub approval_lifetime: WireDuration,
    /// Most enrollments that wait for a decision, under one DMS at most as many as are free then: half
    /// of them, where it is alone. Further ones are told to come later. Default 10000.
    pub max_pending_approvals: u32,
}

impl Default for EstConfig {
    fn default() -> Self {
        Self {
            status_codes: StatusCodes::Standard,
            allow_no_auth: true,
            eku_mode: EkuMode::Warn,
            clock_skew: WireDuration::from_secs(60),
            max_chain: 10,
            line_length: LineLength::Auto,
            default_dms: None,
            default_dms_by_server_name: BTreeMap::new(),
            repeat_window: WireDuration::from_secs(600),
            dual_auth: DualAuth::Record,
            forward_authorization: false,
            webhook: WebhookPolicy::default(),
            revocation: RevocationConfig::default(),
            rate_limit: 200,
            dms_rate_limit: 2_000,
            max_key_generations: 2,
            approval_retry_after: WireDuration::from_secs(60),
            approval_lifetime: WireDuration::from_secs(7 * 86_400),
            max_pending_approvals: 10_000,
        }
    }
}

/// What webhooks may be. Who may write DMSs names them, and that is not who runs the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookPolicy {
    /// Whether they may be on this machine. Default `true`, `false` in production.
    pub allow_loopback: bool,
    /// Networks that they may be in whatever else is forbidden: loopback, link-local and metadata
    /// addresses. Default none.
    pub allowed_networks: Vec<Cidr>,
    /// Whether `mtls` may name files of this machine instead of PEM texts. Default `false`.
    pub allow_files: bool,
}

impl Default for WebhookPolicy {
    fn default() -> Self {
        Self {
            allow_loopback: true,
            allowed_networks: Vec::new(),
            allow_files: false,
        }
    }
}

impl WebhookPolicy {
    /// Where they may be.
    pub(crate) fn addresses(&self) -> AddressPolicy {
        let outside = AddressPolicy::outside(&self.allowed_networks);
        if self.allow_loopback {
            outside.with_loopback()
        } else {
            outside
        }
    }
}

/// How OCSP responders and CRLs of foreign issuers are asked. What a certificate names is called,
/// anywhere but at loopback, link-local and metadata addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RevocationConfig {
    /// Longest time for one certificate, all its addresses together. Default `5s`.
    pub timeout: WireDuration,
    /// Longest CRL that is read, in bytes. Default 10 MiB.
    pub max_crl_bytes: usize,
    /// Bytes of CRLs that are kept. Default 64 MiB.
    pub crl_cache_bytes: u64,
    /// Longest time that an OCSP answer or CRL is kept, however long it says that it is valid.
    /// Default `1h`.
    pub max_age: WireDuration,
    /// Networks that may be called whatever else is forbidden. Default none.
    pub allowed_networks: Vec<Cidr>,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            timeout: WireDuration::from_secs(5),
            max_crl_bytes: 10 * 1024 * 1024,
            crl_cache_bytes: 64 * 1024 * 1024,
            max_age: WireDuration::from_secs(3600),
            allowed_networks: Vec::new(),
        }
    }
}

/// What bearer tokens are for at EST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DualAuth {
    /// Nothing.
    Off,
    /// The holder of a valid one is named in events and audit records, one that is not valid is passed over.
    Record,
    /// One that is presented must be valid.
    RequireValid,
    /// One with permission `est:enroll` (`est:reenroll` to renew) may stand for the client
    /// certificate that the DMS asks for, where none is presented.
    Alternative,
    /// Enrollment needs one with permission `est:enroll` beside what the DMS asks for.
    Both,
}

impl DualAuth {
    /// Reads the word of the setting.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "off" => Some(Self::Off),
            "record" => Some(Self::Record),
            "require_valid" => Some(Self::RequireValid),
            "alternative" => Some(Self::Alternative),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

impl EstConfig {
    /// The defaults of an installation before production.
    pub fn staging() -> Self {
        Self {
            eku_mode: EkuMode::Enforce,
            ..Self::default()
        }
    }

    /// The defaults of an installation with real devices.
    pub fn production() -> Self {
        Self {
            allow_no_auth: false,
            webhook: WebhookPolicy {
                allow_loopback: false,
                ..WebhookPolicy::default()
            },
            ..Self::staging()
        }
    }

    /// Checks what the types cannot say; reads nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidEstConfig`] names the key.
    pub fn validate(&self) -> Result<(), InvalidEstConfig> {
        if self.max_chain == 0 {
            return Err(InvalidEstConfig::MaxChain);
        }
        if self.max_key_generations == 0 {
            return Err(InvalidEstConfig::MaxKeyGenerations);
        }
        for (key, duration) in [
            ("clock_skew", self.clock_skew),
            ("repeat_window", self.repeat_window),
            ("revocation.timeout", self.revocation.timeout),
            ("revocation.max_age", self.revocation.max_age),
            ("approval_retry_after", self.approval_retry_after),
            ("approval_lifetime", self.approval_lifetime),
        ] {
            if duration.is_negative() {
                return Err(InvalidEstConfig::Negative(key));
            }
        }
        Ok(())
    }

    /// The DMS of a path without label, for a client that addressed this server name.
    pub(crate) fn default_label(&self, server_name: Option<&str>) -> Option<DmsId> {
        let by_name = server_name.and_then(|name| {
            let entry = self
                .default_dms_by_server_name
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            entry.map(|(_, id)| id)
        });
        by_name
            .or(self.default_dms.as_ref())
            .filter(|id| !id.is_empty())
            .cloned()
    }
}

/// Why an `est` block is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEstConfig {
    /// A chain has at least one certificate.
    #[error("est.max_chain must be at least 1")]
    MaxChain,
    /// Without a place no key is made.
    #[error("est.max_key_generations must be at least 1")]
    MaxKeyGenerations,
    /// A span of time below zero.
    #[error("est.{0} must not be negative")]
    Negative(&'static str),
}

/// Which statuses refusals of EST have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusCodes {
    /// Each its own.
    Standard,
    /// 400 for unreadable requests, 500 for everything else, for clients that know no other.
    Reference,
}

/// What happens to client certificates whose usages exclude client authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EkuMode {
    /// They are refused.
    Enforce,
    /// They pass, with a warning in the log.
    Warn,
    /// Nobody looks.
    Off,
}

/// How the base64 of answers is broken into lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineLength {
    /// Wrapped, but one line for clients that send none of `User-Agent`, `Accept` and
    /// `Connection`: strongSwan up to 5.9 reads no other form.
    Auto,
    /// Lines of 76 characters ended by LF, as `openssl base64 -d` needs them.
    Wrapped,
    /// One line without an end.
    Single,
}
