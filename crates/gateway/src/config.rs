//! The gateway's configuration: ports, time-outs, limits, TLS, proxies, metrics.
//!
//! Every key has a usable and safe default, so `GatewayConfig::default()` is what
//! `lamassu serve` runs without a file. [`GatewayConfig::validate`] reads and opens nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration_text;
use crate::environment::Environment;
use crate::error::GatewayError;
use crate::hygiene::ForwardedClientCertificateConfig;
use crate::self_tls::is_dns_name;
use crate::tls::pem_files;
use crate::tls::server_config::provider;

/// Configuration of the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayConfig {
    /// Kind of installation; decides what plain HTTP serves and whether HSTS is sent. None by
    /// default.
    pub environment: Option<Environment>,
    /// Address to listen on; all interfaces by default.
    pub listen_address: Option<IpAddr>,
    /// Port of plain HTTP, 8080 by default, 0 for any free one; `null` for no such listener.
    pub http_port: Option<u16>,
    /// Port of HTTPS, 8443 by default, 0 for any free one; `null` for no such listener.
    pub https_port: Option<u16>,
    /// Names under which clients reach the installation, in the server certificate beside
    /// `localhost` and the host's own names and addresses. The first is where a plain HTTP client
    /// without a `Host` header is sent. Empty by default.
    pub domains: Vec<String>,
    /// What plain HTTP serves; by the environment when absent.
    pub plain_http: Option<PlainHttpMode>,
    /// TLS versions, certificate, client certificates.
    pub tls: TlsConfig,
    /// Time-outs of connections.
    pub timeouts: Timeouts,
    /// Limits of connections.
    pub limits: Limits,
    /// Proxies whose client-certificate headers are believed; none by default.
    pub forwarded_client_certificate: ForwardedClientCertificateConfig,
    /// The Prometheus endpoint.
    pub metrics: MetricsConfig,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            environment: None,
            listen_address: None,
            http_port: Some(8080),
            https_port: Some(8443),
            domains: Vec::new(),
            plain_http: None,
            tls: TlsConfig::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            forwarded_client_certificate: ForwardedClientCertificateConfig::default(),
            metrics: MetricsConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    ///
    /// [`GatewayError::Config`] names the first key that is not acceptable.
    pub fn validate(&self) -> Result<(), GatewayError> {
        if self.http_port.is_none() && self.https_port.is_none() {
            return Err(refused("https_port", "neither HTTP nor HTTPS has a port"));
        }
        if let (Some(http), Some(https)) = (self.http_port, self.https_port)
            && http == https
            && http != 0
        {
            return Err(refused("http_port", "HTTP and HTTPS cannot share a port"));
        }
        if let Some(domain) = self.domains.iter().find(|domain| !is_domain(domain)) {
            let reason = format!("{domain:?} is neither a host name nor an IP address");
            return Err(GatewayError::Config {
                key: "domains",
                reason,
            });
        }
        self.tls.validate()?;
        self.timeouts.validate()?;
        self.limits.validate()?;
        self.forwarded_client_certificate.validate()
    }

    /// Reads the configured certificate and key of HTTPS as a start would, and nothing else.
    ///
    /// # Errors
    ///
    /// One of the file errors of [`GatewayError`].
    pub fn check_certificate_files(&self) -> Result<(), GatewayError> {
        match (self.https_port, &self.tls.cert_file, &self.tls.key_file) {
            (Some(_), Some(cert_file), Some(key_file)) => {
                pem_files::check_key_mode(key_file, self.environment)?;
                pem_files::certified_key(&provider(), cert_file, key_file).map(drop)
            }
            (Some(_) | None, _, _) => Ok(()),
        }
    }

    /// What plain HTTP serves, by this setting or else by the environment.
    pub fn plain_http_mode(&self) -> PlainHttpMode {
        self.plain_http.unwrap_or(match self.environment {
            Some(Environment::Development) => PlainHttpMode::Everything,
            Some(Environment::Staging | Environment::Production) | None => {
                PlainHttpMode::Validation
            }
        })
    }

    /// Whether answers over HTTPS tell browsers to stay on HTTPS (RFC 6797).
    pub(crate) fn sends_hsts(&self) -> bool {
        matches!(
            self.environment,
            Some(Environment::Staging | Environment::Production)
        )
    }
}

fn refused(key: &'static str, reason: &str) -> GatewayError {
    GatewayError::Config {
        key,
        reason: reason.to_owned(),
    }
}

/// A name that can stand in a certificate.
fn is_domain(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_dns_name(text)
}

/// What the plain HTTP listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainHttpMode {
    /// OCSP, CRLs, CA certificates and health; other GETs are sent to HTTPS, the rest is refused.
    Validation,
    /// Everything, for development and for services behind a TLS-terminating proxy.
    Everything,
}

/// TLS of the HTTPS listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsConfig {
    /// Lowest version, `1.2` by default; lower ones do not exist here.
    pub min_version: TlsVersion,
    /// Highest version, `1.3` by default. Fleets whose devices hold P-224 keys set `1.2`: TLS 1.3
    /// has no signature scheme for that curve, and their clients then send no certificate.
    pub max_version: TlsVersion,
    /// PEM file with the server's certificate chain, end entity first. Unset, the installation
    /// makes and renews a certificate of its own.
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key (PKCS#8, PKCS#1 or SEC1, not encrypted).
    pub key_file: Option<PathBuf>,
    /// Whether a client must present a certificate.
    pub client_certificate: ClientCertificateMode,
    /// PEM file of CAs: only clients whose certificate one of them stands behind pass the handshake.
    /// Not a setting: the listener of services has it.
    #[serde(skip)]
    pub client_ca_file: Option<PathBuf>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cert_file: None,
            key_file: None,
            client_certificate: ClientCertificateMode::Request,
            client_ca_file: None,
        }
    }
}

impl TlsConfig {
    fn validate(&self) -> Result<(), GatewayError> {
        if self.min_version > self.max_version {
            return Err(refused("tls.max_version", "it is below tls.min_version"));
        }
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => Err(refused("tls.key_file", "tls.cert_file needs a key file")),
            (None, Some(_)) => Err(refused("tls.cert_file", "tls.key_file needs a certificate")),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether the listener wants a certificate of its clients. Possession of its key is proven in
/// either case; who issued it is the services' affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificateMode {
    /// Asked for; a client without one is served.
    Request,
    /// A client without one is refused in the handshake.
    Any,
}

/// Time-outs of connections, written like `10s` or `1m30s`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// From accepting to the end of the TLS handshake; 10 s by default.
    #[serde(with = "duration_text")]
    pub handshake: Duration,
    /// For the head of a request to arrive once it has begun, and for the first request to
    /// begin; 10 s by default.
    #[serde(with = "duration_text")]
    pub read_header: Duration,
    /// How long a client may refuse to take any byte of an answer, in HTTP/2 of each answer; 60 s
    /// by default. The connection is cut then.
    #[serde(with = "duration_text")]
    pub write: Duration,
    /// How long a connection may stay open between the end of an answer and the next request;
    /// 120 s by default.
    #[serde(with = "duration_text")]
    pub idle: Duration,
    /// How long requests may take to finish after the stop signal; 30 s by default.
    #[serde(with = "duration_text")]
    pub shutdown: Duration,
    /// How long to go on serving, no longer ready, between the stop signal and the stop; for
    /// clusters whose load balancers look at `/readyz` only now and then. Nothing by default.
    #[serde(with = "duration_text")]
    pub shutdown_delay: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            read_header: Duration::from_secs(10),
            write: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            shutdown: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
        }
    }
}

impl Timeouts {
    fn validate(&self) -> Result<(), GatewayError> {
        let all = [
            ("timeouts.handshake", self.handshake),
            ("timeouts.read_header", self.read_header),
            ("timeouts.write", self.write),
            ("timeouts.idle", self.idle),
        ];
        match all.into_iter().find(|(_, timeout)| timeout.is_zero()) {
            Some((key, _)) => Err(refused(key, "it must be longer than nothing")),
            None => Ok(()),
        }
    }
}

/// Limits of connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections open at once per listener; further ones wait in the system's queue. 10,000 by
    /// default.
    pub max_connections: usize,
    /// Bytes of a request's line and headers together; 64 KiB by default, at least 8 KiB. Longer
    /// ones are answered 431.
    pub max_header_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_header_bytes: 64 * 1024,
        }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), GatewayError> {
        if self.max_connections == 0 || self.max_connections > tokio::sync::Semaphore::MAX_PERMITS {
            return Err(refused("limits.max_connections", "it must be at least 1"));
        }
        if !(8 * 1024..=1024 * 1024).contains(&self.max_header_bytes) {
            return Err(refused(
                "limits.max_header_bytes",
                "it must lie between 8 KiB and 1 MiB",
            ));
        }
        Ok(())
    }
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricsConfig {
    /// Address and port of `GET /metrics`, `127.0.0.1:9090` by default; `null` for none. Where
    /// the port is taken the gateway starts without it and warns.
    pub listen: Option<SocketAddr>,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9090))),
        }
    }
}
