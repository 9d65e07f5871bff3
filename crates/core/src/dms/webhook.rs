//! The webhook that decides who may enroll, as the wire shows its settings.
//!
//! There are two spellings: the reference's, in [`WebhookSettings::config`], and the flat one of
//! dashboards beside it. Both are answered; what clients send is made one by the DMS manager.
//! Secrets are shown as [`REDACTED`], which stands for what is stored where it is sent back.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ca::Member;
use crate::duration::WireDuration;

/// What stands where a secret is stored.
pub const REDACTED: &str = "********";

/// A webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WebhookSettings {
    /// Free text, for logs.
    #[schemars(example = &"inventory")]
    pub name: String,
    /// What is called.
    #[schemars(example = &"https://hooks.example/verify")]
    pub url: String,
    /// `POST`, also when empty, or `PUT`.
    #[schemars(example = &"POST")]
    pub method: String,
    /// How it is called. Absent only in what clients send.
    pub config: Option<WebhookConfig>,
    /// As dashboards write `config.log_level`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// As dashboards write `config.auth_mode`: `NO_AUTH`, `OIDC`, `API_KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mode: Option<String>,
    /// As dashboards write `config.validate_server_cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_server_cert: Option<bool>,
    /// As dashboards write `config.apikey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_auth: Option<FlatApiKey>,
    /// As dashboards write `config.oidc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_auth: Option<FlatOidc>,
}

impl WebhookSettings {
    /// Whether `config.ca_cert` is `null`.
    pub(super) fn clears_anchors(&self) -> bool {
        let config = self.config.as_ref();
        config.is_some_and(|config| config.ca_cert.is_cleared())
    }
}

/// How a webhook is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WebhookConfig {
    /// Whether the server's certificate is verified; yes unless that is said.
    #[schemars(example = true)]
    pub validate_server_cert: bool,
    /// Without effect.
    #[schemars(example = &"info")]
    pub log_level: String,
    /// `noauth`, `apikey`, `jwt` or `mtls`; any other text presents nothing.
    #[schemars(example = &"apikey")]
    pub auth_mode: String,
    /// How long it may take; 10 s when zero or negative.
    #[serde(skip_serializing_if = "WireDuration::is_zero_ref")]
    pub call_timeout: WireDuration,
    /// For `jwt`.
    pub oidc: WebhookOidc,
    /// For `apikey`.
    pub apikey: WebhookApiKey,
    /// For `mtls`.
    pub mtls: WebhookMtls,
    /// Certificates in PEM that the server's may be issued by, beside those of the system.
    #[serde(skip_serializing_if = "Member::is_silent")]
    #[schemars(example = &"-----BEGIN CERTIFICATE-----\nMIIB…\n-----END CERTIFICATE-----\n")]
    pub ca_cert: Member<String>,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            validate_server_cert: true,
            log_level: String::new(),
            auth_mode: String::new(),
            call_timeout: WireDuration::default(),
            oidc: WebhookOidc::default(),
            apikey: WebhookApiKey::default(),
            mtls: WebhookMtls::default(),
            ca_cert: Member::Unsaid,
        }
    }
}

/// Client credentials of OAuth 2.0 at an OpenID provider.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WebhookOidc {
    /// Client id.
    #[schemars(example = &"lamassu")]
    pub client_id: String,
    /// Client secret; shown as [`REDACTED`].
    #[schemars(example = &"********")]
    pub client_secret: String,
    /// Address of the discovery document.
    #[schemars(example = &"https://idp.example/.well-known/openid-configuration")]
    pub well_known: String,
}

/// Without the secret.
impl fmt::Debug for WebhookOidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookOidc")
            .field("client_id", &self.client_id)
            .field("well_known", &self.well_known)
            .finish_non_exhaustive()
    }
}

/// A fixed key in a header.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WebhookApiKey {
    /// The key; shown as [`REDACTED`].
    #[schemars(example = &"********")]
    pub key: String,
    /// The header; `X-API-Key` when empty.
    #[schemars(example = &"X-API-Key")]
    pub header: String,
}

/// Without the secret.
impl fmt::Debug for WebhookApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookApiKey")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// A client certificate.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WebhookMtls {
    /// Certificates in PEM, end entity first; the name of a file where the installation allows that.
    pub cert: String,
    /// The key in PEM; shown as [`REDACTED`]. The name of a file is as for `cert`.
    pub key: String,
}

/// Without the secret.
impl fmt::Debug for WebhookMtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookMtls").finish_non_exhaustive()
    }
}

/// [`WebhookApiKey`] as dashboards write it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FlatApiKey {
    /// The key; shown as [`REDACTED`].
    #[schemars(example = &"********")]
    pub key: String,
}

/// Without the secret.
impl fmt::Debug for FlatApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatApiKey").finish_non_exhaustive()
    }
}

/// [`WebhookOidc`] as dashboards write it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FlatOidc {
    /// Client id.
    pub client_id: String,
    /// Client secret; shown as [`REDACTED`].
    #[schemars(example = &"********")]
    pub client_secret: String,
    /// Address of the discovery document.
    pub well_known_url: String,
}

/// Without the secret.
impl fmt::Debug for FlatOidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatOidc")
            .field("client_id", &self.client_id)
            .field("well_known_url", &self.well_known_url)
            .finish_non_exhaustive()
    }
}
