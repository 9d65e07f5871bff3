//! Where a running server of an installation is reached, for commands beside it.
//!
//! A server writes the addresses of its ports into its data directory once they are open: those of
//! the command line, of the environment and picked ones are known nowhere else. Who cannot read
//! that file is left with what the configuration says.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lamassu_client::{ClientConfig, Protocol};
use lamassu_db::{DataDir, OpenError};
use lamassu_gateway::{BoundGateway, GatewayConfig};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::Config;

/// In the data directory, as long as a server runs.
const FILE: &str = "listening.json";

/// The addresses of a server, and how its certificate is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Whereabouts {
    /// Plain HTTP.
    http: Option<SocketAddr>,
    /// HTTPS.
    https: Option<SocketAddr>,
    certificate: Certificate,
}

/// How the certificate of a server is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Certificate {
    /// It is the installation's own: this file has its trust anchor.
    IssuedBy(PathBuf),
    /// It is in this file. It need not name the loopback address under which commands ask.
    In(PathBuf),
}

impl Certificate {
    fn of(cert_file: Option<&Path>, data_dir: &Path) -> Self {
        match cert_file {
            Some(path) => Self::In(absolute(path)),
            None => Self::IssuedBy(absolute(&trust_anchor(data_dir))),
        }
    }
}

/// The trust anchor of an installation's own server certificate.
pub(crate) fn trust_anchor(data_dir: &Path) -> PathBuf {
    data_dir.join("tls").join("ca.pem")
}

/// The path as any process may use it.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Whereabouts {
    /// Those of this process: of the gateway, or else of the services.
    pub(crate) fn of(config: &Config, listeners: &[BoundGateway]) -> Option<Self> {
        let listener = listeners.first()?;
        let cert_file = listener.certificate_file();
        Some(Self {
            http: listener.http_addr(),
            https: listener.https_addr(),
            certificate: Certificate::of(cert_file.as_deref(), &config.data_dir),
        })
    }

    /// Those of the server on the installation's data directory.
    pub(crate) fn running(data_dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(data_dir.join(FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Those that a start with this configuration would have; ports that it would pick are unknown.
    pub(crate) fn configured(config: &Config, listeners: &[GatewayConfig]) -> Option<Self> {
        let listener = listeners.first()?;
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let ip = listener.listen_address.unwrap_or(any);
        let address = |port: Option<u16>| {
            let port = port.filter(|port| *port != 0)?;
            Some(SocketAddr::new(ip, port))
        };
        Some(Self {
            http: address(listener.http_port),
            https: address(listener.https_port),
            certificate: Certificate::of(listener.tls.cert_file.as_deref(), &config.data_dir),
        })
    }

    /// How plain HTTP is reached, or else HTTPS: for what everybody may ask.
    pub(crate) fn plain(&self) -> Option<ClientConfig> {
        let plain = self.http.map(|address| client(Protocol::Http, address));
        plain.or_else(|| self.secure_only())
    }

    /// How HTTPS is reached, or else plain HTTP, which a server without HTTPS is asked over.
    pub(crate) fn secure(&self) -> Option<ClientConfig> {
        let plain = || self.http.map(|address| client(Protocol::Http, address));
        self.secure_only().or_else(plain)
    }

    /// How it is reached by who proves himself with a token: over HTTPS, where the certificate tells that it
    /// is this server, or over plain HTTP where there is nothing else and a process has the data
    /// directory now. A port of one that was killed may be somebody else's.
    pub(crate) fn trusted(&self, data_dir: &Path) -> Option<ClientConfig> {
        let is_held = || {
            let owned = data_dir.exists().then(|| own(data_dir.to_path_buf()));
            matches!(owned, Some(Err(OpenError::InUse { .. })))
        };
        self.secure_only()
            .or_else(|| is_held().then(|| self.secure()).flatten())
    }

    fn secure_only(&self) -> Option<ClientConfig> {
        let mut config = client(Protocol::Https, self.https?);
        match &self.certificate {
            Certificate::IssuedBy(path) => config.ca_cert_file = Some(path.clone()),
            Certificate::In(path) => config.server_certificate = Some(path.clone()),
        }
        Some(config)
    }

    /// Writes them into the data directory, which this process owns, until the value is dropped.
    /// Commands beside the server miss them, the server does not.
    pub(crate) fn announce(&self, data_dir: &Path) -> Announced {
        let announced = Announced(data_dir.join(FILE));
        if let Err(error) = self.write(&announced.0) {
            warn!(
                error = &error as &dyn std::error::Error,
                "commands beside this server will not find its ports"
            );
        }
        announced
    }

    /// Under another name first: who reads it meanwhile reads the whole of it.
    fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&fresh, path)
    }
}

/// Takes possession of a data directory, and removes what a server that was killed left in it: its
/// ports may be somebody else's by now.
///
/// # Errors
/// [`OpenError`]: another process has it, or what the system says.
pub(crate) fn own(data_dir: PathBuf) -> Result<DataDir, OpenError> {
    let owned = DataDir::open(data_dir)?;
    match fs::remove_file(owned.path().join(FILE)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(OpenError::Directory {
            path: owned.path().to_path_buf(),
            source,
        }),
        Ok(()) | Err(_) => Ok(owned),
    }
}

/// The file is there as long as this value.
#[derive(Debug)]
pub(crate) struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        // The next start removes what stays.
        drop(fs::remove_file(&self.0));
    }
}

/// A client of a server on this machine. One that listens everywhere is asked at the loopback address.
fn client(protocol: Protocol, address: SocketAddr) -> ClientConfig {
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    ClientConfig {
        protocol,
        hostname: ip.to_string(),
        port: address.port(),
        // Routes are named as a whole.
        base_path: "/".to_owned(),
        retries: 0,
        ..ClientConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use lamassu_client::Protocol;

    use super::{Certificate, Whereabouts, own};

    fn whereabouts() -> Whereabouts {
        Whereabouts {
            http: Some("[::]:8080".parse().unwrap()),
            https: Some("10.0.0.5:8443".parse().unwrap()),
            certificate: Certificate::In(PathBuf::from("/etc/server.pem")),
        }
    }

    #[test]
    fn a_server_is_found_as_long_as_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Whereabouts::running(directory.path()), None);
        let announced = whereabouts().announce(directory.path());
        let found = Whereabouts::running(directory.path());
        assert_eq!(found, Some(whereabouts()));
        drop(announced);
        assert_eq!(Whereabouts::running(directory.path()), None);

        // One that was killed removes nothing.
        let path = directory.path().join(super::FILE);
        whereabouts().write(&path).unwrap();
        assert_eq!(Whereabouts::running(directory.path()), Some(whereabouts()));
        drop(own(directory.path().to_path_buf()).unwrap());
        drop(own(directory.path().to_path_buf()).unwrap());
        assert_eq!(Whereabouts::running(directory.path()), None);
    }

    #[test]
    fn a_token_goes_over_plain_http_to_the_owner_of_the_directory_only() {
        let directory = tempfile::tempdir().unwrap();
        let plain = Whereabouts {
            https: None,
            ..whereabouts()
        };
        assert!(plain.trusted(directory.path()).is_none());
        assert!(plain.trusted(&directory.path().join("none")).is_none());
        assert!(!directory.path().join("none").exists());
        let owned = own(directory.path().to_path_buf()).unwrap();
        let trusted = plain.trusted(directory.path()).unwrap();
        assert_eq!(trusted.protocol, Protocol::Http);
        drop(owned);
        let secure = whereabouts().trusted(directory.path()).unwrap();
        assert_eq!(secure.protocol, Protocol::Https);
    }

    #[test]
    fn each_port_is_asked_where_it_listens_and_known_by_its_certificate() {
        let plain = whereabouts().plain().unwrap();
        assert_eq!(plain.protocol, Protocol::Http);
        assert_eq!((plain.hostname.as_str(), plain.port), ("127.0.0.1", 8080));
        let secure = whereabouts().secure().unwrap();
        assert_eq!(secure.protocol, Protocol::Https);
        assert_eq!((secure.hostname.as_str(), secure.port), ("10.0.0.5", 8443));
        assert_eq!(secure.server_certificate, Some("/etc/server.pem".into()));
        assert_eq!(secure.ca_cert_file, None);
    }
}
