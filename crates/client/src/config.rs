//! The blocks `kms_client`, `ca_client`, `device_manager_client`, `dms_manager_client`,
//! `va_client` of a configuration.

use std::path::PathBuf;

use lamassu_core::duration::WireDuration;
use lamassu_core::network::AddressPolicy;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};

/// How another process is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    /// What is presented. Default `internal`.
    pub auth_mode: AuthMode,
    /// For `jwt`.
    pub jwt_options: JwtOptions,
    /// For `mtls`.
    pub mtls_options: MtlsOptions,
    /// For `apikey`.
    pub apikey_options: ApiKeyOptions,
    /// With or without TLS. Default `https`.
    pub protocol: Protocol,
    /// Name or address. Required.
    pub hostname: String,
    /// Port; a number or a decimal text. Default that of the protocol.
    #[serde(deserialize_with = "weak_number")]
    pub port: u16,
    /// What stands in front of `/v1`. Default `/api/<service>`, where every process answers.
    pub base_path: String,
    /// Whether the server's certificate is believed unseen. Default false.
    pub insecure_skip_verify: bool,
    /// PEM file of trust anchors beside those of the system, or the PEM text itself. Default none.
    pub ca_cert_file: Option<PathBuf>,
    /// PEM file of the only certificate that is believed, whatever it says. For the program's own
    /// listeners, whose file it is; no key of a configuration.
    #[serde(skip)]
    pub server_certificate: Option<PathBuf>,
    /// Which addresses may be called; every one, as the configuration names it. For what others name;
    /// no key of a configuration.
    #[serde(skip, default = "AddressPolicy::everything")]
    pub addresses: AddressPolicy,
    /// Longest time for a call, its repeats included. Default `30s`. Calls that make a key have five
    /// minutes more, as the key manager itself.
    pub timeout: WireDuration,
    /// Longest time for a connection, TLS included. Default `5s`.
    pub connect_timeout: WireDuration,
    /// How often a request is repeated at most. Default 3.
    #[serde(deserialize_with = "weak_number")]
    pub retries: u32,
    /// Idle connections that are kept. Default 32.
    #[serde(deserialize_with = "weak_number")]
    pub pool_max_idle: usize,
    /// Longest answer that is read, in bytes. Default 64 MiB.
    #[serde(deserialize_with = "weak_number")]
    pub max_response_bytes: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            auth_mode: AuthMode::Internal,
            jwt_options: JwtOptions::default(),
            mtls_options: MtlsOptions::default(),
            apikey_options: ApiKeyOptions::default(),
            protocol: Protocol::Https,
            hostname: String::new(),
            port: 0,
            base_path: String::new(),
            insecure_skip_verify: false,
            ca_cert_file: None,
            server_certificate: None,
            addresses: AddressPolicy::everything(),
            timeout: WireDuration::from_secs(30),
            connect_timeout: WireDuration::from_secs(5),
            retries: 3,
            pool_max_idle: 32,
            max_response_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a client presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "String")]
pub enum AuthMode {
    /// A service token of this installation's own issuer.
    Internal,
    /// Nothing; also any word that is none of the others.
    Noauth,
    /// A token of an identity provider.
    Jwt,
    /// A client certificate.
    Mtls,
    /// A fixed key in a header.
    Apikey,
}

impl From<String> for AuthMode {
    fn from(word: String) -> Self {
        match word.as_str() {
            "internal" => Self::Internal,
            "jwt" => Self::Jwt,
            "mtls" => Self::Mtls,
            "apikey" => Self::Apikey,
            _ => Self::Noauth,
        }
    }
}

/// With or without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Without.
    Http,
    /// With.
    Https,
}

impl Protocol {
    /// The scheme of URLs.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is given.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// OAuth 2.0 client credentials (RFC 6749 4.4) at an OpenID provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct JwtOptions {
    /// Client id.
    pub oidc_client_id: String,
    /// Client secret.
    #[serde(skip_serializing)]
    pub oidc_client_secret: Option<SecretString>,
    /// Address of the discovery document.
    pub oidc_well_known: String,
    /// Address of the token endpoint; saves discovery.
    pub token_url: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Audience to ask for.
    pub audience: String,
    /// A token is renewed so long before it expires. Default `30s`.
    pub refresh_margin: WireDuration,
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            oidc_client_id: String::new(),
            oidc_client_secret: None,
            oidc_well_known: String::new(),
            token_url: String::new(),
            scopes: Vec::new(),
            audience: String::new(),
            refresh_margin: WireDuration::from_secs(30),
        }
    }
}

impl JwtOptions {
    /// Whether the same client asks the same provider for the same token.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret as _;

        let Self {
            oidc_client_id,
            oidc_client_secret,
            oidc_well_known,
            token_url,
            scopes,
            audience,
            refresh_margin,
        } = self;
        // Both sides are our own configuration: no stranger can time this comparison.
        let secret = |secret: &Option<SecretString>| {
            let secret = secret.as_ref();
            secret.map(|secret| secret.expose_secret().to_owned())
        };
        *oidc_client_id == other.oidc_client_id
            && secret(oidc_client_secret) == secret(&other.oidc_client_secret)
            && *oidc_well_known == other.oidc_well_known
            && *token_url == other.token_url
            && *scopes == other.scopes
            && *audience == other.audience
            && *refresh_margin == other.refresh_margin
    }
}

/// The client's certificate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MtlsOptions {
    /// PEM file of the chain, end entity first, or the PEM text itself.
    pub cert_file: String,
    /// PEM file of the key, or the PEM text itself.
    #[serde(skip_serializing)]
    pub key_file: SecretString,
}

/// A fixed key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiKeyOptions {
    /// The key.
    #[serde(skip_serializing)]
    pub key: Option<SecretString>,
    /// File that holds the key; a line end behind it is not part of it.
    pub key_file: Option<PathBuf>,
    /// The header. Default `x-api-key`.
    pub header: String,
}

impl Default for ApiKeyOptions {
    fn default() -> Self {
        Self {
            key: None,
            key_file: None,
            header: "x-api-key".to_owned(),
        }
    }
}

/// Why a block cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nobody to call.
    #[error("hostname is missing")]
    NoHostname,
    /// The host name is none.
    #[error("hostname is no host name or address")]
    Hostname,
    /// The base path is none.
    #[error("base_path must begin with a slash and be a path")]
    BasePath,
    /// A time is zero or negative.
    #[error("timeout and connect_timeout must be above zero")]
    Timeout,
    /// `jwt` without a provider or a client.
    #[error("auth_mode jwt needs oidc_client_id, oidc_client_secret and oidc_well_known")]
    Jwt,
    /// `mtls` without a certificate, or without TLS.
    #[error("auth_mode mtls needs protocol https, cert_file and key_file")]
    Mtls,
    /// `apikey` without exactly one key, or with a header that is none.
    #[error("auth_mode apikey needs a header and one of key and key_file")]
    ApiKey,
}

impl ClientConfig {
    /// Checks what can be checked without reading or opening anything.
    ///
    /// # Errors
    /// [`ConfigError`], one sentence.
    pub fn validate(&self) -> Result<(), ConfigError> {
        use secrecy::ExposeSecret as _;

        if self.hostname.is_empty() {
            return Err(ConfigError::NoHostname);
        }
        if self.authority().parse::<http::uri::Authority>().is_err() {
            return Err(ConfigError::Hostname);
        }
        let path = &self.base_path;
        if !path.is_empty()
            && (!path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err())
        {
            return Err(ConfigError::BasePath);
        }
        let is_time = |time: WireDuration| !time.is_zero() && !time.is_negative();
        if !is_time(self.timeout) || !is_time(self.connect_timeout) {
            return Err(ConfigError::Timeout);
        }
        match self.auth_mode {
            AuthMode::Internal | AuthMode::Noauth => Ok(()),
            AuthMode::Jwt => {
                let jwt = &self.jwt_options;
                let complete = !jwt.oidc_client_id.is_empty()
                    && jwt.oidc_client_secret.is_some()
                    && !(jwt.oidc_well_known.is_empty() && jwt.token_url.is_empty());
                complete.then_some(()).ok_or(ConfigError::Jwt)
            }
            AuthMode::Mtls => {
                let mtls = &self.mtls_options;
                let complete = self.protocol == Protocol::Https
                    && !mtls.cert_file.is_empty()
                    && !mtls.key_file.expose_secret().is_empty();
                complete.then_some(()).ok_or(ConfigError::Mtls)
            }
            AuthMode::Apikey => {
                let key = &self.apikey_options;
                let complete = key.key.is_some() != key.key_file.is_some()
                    && key.header.parse::<http::HeaderName>().is_ok();
                complete.then_some(()).ok_or(ConfigError::ApiKey)
            }
        }
    }

    /// Host and port, as URLs have them.
    pub(crate) fn authority(&self) -> String {
        let port = match self.port {
            0 => self.protocol.default_port(),
            port => port,
        };
        let host = &self.hostname;
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

/// As the runtime takes it; what is negative is none.
pub(crate) fn std_duration(duration: WireDuration) -> std::time::Duration {
    time::Duration::from(duration)
        .try_into()
        .unwrap_or_default()
}

/// A number, or its decimal text as environment variables and charts write it.
fn weak_number<'de, D, N>(deserializer: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + std::str::FromStr<Err: std::fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, bound = "N: Deserialize<'de>")]
    enum Weak<N> {
        Number(N),
        Text(String),
    }
    match Weak::deserialize(deserializer)? {
        Weak::Number(number) => Ok(number),
        Weak::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{AuthMode, ClientConfig, ConfigError};

    fn read(config: serde_json::Value) -> ClientConfig {
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_block_of_the_reference_is_read() {
        let config = read(json!({
            "log_level": "info", "auth_mode": "anything", "protocol": "http",
            "hostname": "ca", "port": "8085", "base_path": "/api/ca",
        }));
        assert_eq!(config.auth_mode, AuthMode::Noauth);
        assert_eq!(config.authority(), "ca:8085");
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(ClientConfig::default().auth_mode, AuthMode::Internal);
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_opened() {
        let cases = [
            (json!({}), ConfigError::NoHostname),
            (json!({"hostname": "a b"}), ConfigError::Hostname),
            (
                json!({"hostname": "ca", "base_path": "api"}),
                ConfigError::BasePath,
            ),
            (
                json!({"hostname": "ca", "timeout": "0s"}),
                ConfigError::Timeout,
            ),
            (
                json!({"hostname": "ca", "auth_mode": "jwt"}),
                ConfigError::Jwt,
            ),
            (
                json!({"hostname": "ca", "auth_mode": "mtls"}),
                ConfigError::Mtls,
            ),
            (
                json!({"hostname": "ca", "auth_mode": "apikey"}),
                ConfigError::ApiKey,
            ),
        ];
        for (config, refusal) in cases {
            assert_eq!(read(config.clone()).validate(), Err(refusal), "{config}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = read(json!({
            "hostname": "ca",
            "jwt_options": {"oidc_client_secret": "hush"},
            "apikey_options": {"key": "hush"},
            "mtls_options": {"key_file": "hush"},
        }));
        let printed = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
        assert!(!printed.contains("hush"), "{printed}");
    }
}
