//! The block `server`: the listener of a process that runs only some services.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use lamassu_gateway::GatewayConfig;
use lamassu_gateway::config::{
    ClientCertificateMode, MetricsConfig, PlainHttpMode, TlsConfig, TlsVersion,
};
use serde::{Deserialize, Serialize};

/// The port of a service of its own, when none is said.
const DEFAULT_PORT: u16 = 8085;

/// With or without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    #[default]
    Http,
    Https,
}

/// Keys and meaning as the reference has them, where they are here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ServerConfig {
    /// Loopback when not said.
    pub(crate) listen_address: Option<IpAddr>,
    /// 8085 when not said, 0 for any free one. Beside a gateway in the same process there is no
    /// such listener unless it is said.
    port: Option<u16>,
    protocol: Protocol,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    tls: TlsLimits,
    /// Of the block, what belongs to the listener; the rest of it is `authentication`.
    authentication: ListenerAuthentication,
    /// Read for compatibility; `logs` decides.
    #[serde(skip_serializing)]
    log_level: Option<String>,
    /// Read for compatibility; health requests are not logged.
    #[serde(skip_serializing)]
    health_check: Option<bool>,
}

/// Versions of TLS of this listener.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct TlsLimits {
    /// That of the gateway when not said.
    min_version: Option<TlsVersion>,
    /// When not said, 1.2 under `mutual_tls`, as in the reference: 1.3 has no signature scheme for
    /// P-224, so clients with such a key would present nothing. Otherwise that of the gateway.
    max_version: Option<TlsVersion>,
}

/// `server.authentication`, as far as the handshake goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ListenerAuthentication {
    mutual_tls: MutualTls,
}

/// Client certificates in the handshake. They decide who may connect, and nothing else: what a
/// certificate may do is said by `authentication.client_certificate`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct MutualTls {
    enabled: bool,
    /// `strict` when not said.
    validation_mode: ValidationMode,
    /// PEM file of CAs, for `strict`.
    ca_cert_file: Option<PathBuf>,
}

/// What is asked of a client's certificate; proof of its key in every case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "String")]
enum ValidationMode {
    /// It is required, and one of the CAs stands behind it.
    Strict,
    /// It may be absent, and anybody may have issued it.
    Request,
    /// It is required, and anybody may have issued it.
    Any,
    /// Another word, which means `strict`, with a warning at start.
    #[serde(untagged)]
    Unknown(String),
}

impl Default for ValidationMode {
    fn default() -> Self {
        Self::Unknown(String::new())
    }
}

impl From<String> for ValidationMode {
    fn from(word: String) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "strict" => Self::Strict,
            "request" => Self::Request,
            "any" => Self::Any,
            _ => Self::Unknown(word),
        }
    }
}

impl MutualTls {
    fn is_strict(&self) -> bool {
        match self.validation_mode {
            ValidationMode::Strict | ValidationMode::Unknown(_) => true,
            ValidationMode::Request | ValidationMode::Any => false,
        }
    }

    fn apply_to(&self, tls: &mut TlsConfig) {
        if !self.enabled {
            return;
        }
        match &self.validation_mode {
            ValidationMode::Strict => {}
            ValidationMode::Unknown(word) => tracing::warn!(
                validation_mode = word,
                "server.authentication.mutual_tls has no such validation mode, using strict"
            ),
            ValidationMode::Request | ValidationMode::Any => {
                if self.ca_cert_file.is_some() {
                    tracing::warn!(
                        "server.authentication.mutual_tls.ca_cert_file is not used: only the \
                         validation mode strict verifies"
                    );
                }
            }
        }
        tls.client_certificate = match self.validation_mode {
            ValidationMode::Request => ClientCertificateMode::Request,
            ValidationMode::Any | ValidationMode::Strict | ValidationMode::Unknown(_) => {
                ClientCertificateMode::Any
            }
        };
        if self.is_strict() {
            tls.client_ca_file.clone_from(&self.ca_cert_file);
        }
    }
}

impl ServerConfig {
    /// Whether clients of this listener are asked for certificates.
    pub(crate) fn has_mutual_tls(&self) -> bool {
        self.authentication.mutual_tls.enabled
    }

    /// The CAs without whose certificate nobody connects; none where others may.
    pub(crate) fn client_ca_file(&self) -> Option<&PathBuf> {
        let mutual_tls = &self.authentication.mutual_tls;
        let file = mutual_tls.ca_cert_file.as_ref();
        file.filter(|_| mutual_tls.enabled && mutual_tls.is_strict())
    }

    /// Whether a process that also runs the gateway has this listener, too.
    pub(crate) fn is_wanted(&self) -> bool {
        self.port.is_some()
    }

    /// Checks what can be checked without reading anything.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn validate(&self) -> Result<()> {
        ensure!(
            self.cert_file.is_some() == self.key_file.is_some(),
            "cert_file and key_file are given together or not at all"
        );
        let mutual_tls = &self.authentication.mutual_tls;
        if mutual_tls.enabled {
            ensure!(
                self.protocol == Protocol::Https,
                "authentication.mutual_tls needs protocol https"
            );
            ensure!(
                !mutual_tls.is_strict() || mutual_tls.ca_cert_file.is_some(),
                "authentication.mutual_tls needs ca_cert_file: in validation mode strict it says \
                 whose certificates are accepted"
            );
        }
        Ok(())
    }

    /// Certificate and key, where they are used.
    pub(crate) fn certificate_files(&self) -> Option<(&Path, &Path)> {
        match self.protocol {
            Protocol::Http => None,
            Protocol::Https => self.cert_file.as_deref().zip(self.key_file.as_deref()),
        }
    }

    /// The listener, with the limits of the gateway.
    pub(crate) fn listener(
        &self,
        gateway: &GatewayConfig,
        metrics: MetricsConfig,
    ) -> GatewayConfig {
        let port = Some(self.port.unwrap_or(DEFAULT_PORT));
        let (http_port, https_port) = match self.protocol {
            Protocol::Http => (port, None),
            Protocol::Https => (None, port),
        };
        let mut listener = gateway.clone();
        listener.listen_address = self
            .listen_address
            .or(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        listener.http_port = http_port;
        listener.https_port = https_port;
        listener.plain_http = Some(PlainHttpMode::Everything);
        listener.tls.cert_file.clone_from(&self.cert_file);
        listener.tls.key_file.clone_from(&self.key_file);
        self.limit_versions(&mut listener.tls);
        self.authentication.mutual_tls.apply_to(&mut listener.tls);
        listener.metrics = metrics;
        listener.forwarded_client_certificate.from_services = true;
        listener
    }

    fn limit_versions(&self, tls: &mut TlsConfig) {
        if let Some(version) = self.tls.min_version {
            tls.min_version = version;
        }
        if let Some(version) = self.tls.max_version {
            tls.max_version = version;
        } else if self.has_mutual_tls() {
            tls.max_version = TlsVersion::V1_2.max(tls.min_version);
        }
    }
}
