//! The block `server`: the listener of a process that runs only some services.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use lamassu_gateway::GatewayConfig;
use lamassu_gateway::config::{MetricsConfig, PlainHttpMode};
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
    /// Read for compatibility; `logs` decides.
    #[serde(skip_serializing)]
    log_level: Option<String>,
    /// Read for compatibility; health requests are not logged.
    #[serde(skip_serializing)]
    health_check: Option<bool>,
}

impl ServerConfig {
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
        listener.metrics = metrics;
        listener.forwarded_client_certificate.from_services = true;
        listener
    }
}
