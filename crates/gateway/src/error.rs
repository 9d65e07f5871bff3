//! Why the gateway cannot start. Every text is one sentence for the person who started it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A value of the configuration is not acceptable.
    #[error("{key}: {reason}")]
    Config {
        /// The key, with its path below the gateway's configuration.
        key: &'static str,
        /// Which rule it breaks.
        reason: String,
    },
    /// Another program listens there.
    #[error("port {port} is already in use")]
    PortInUse {
        /// The port asked for.
        port: u16,
    },
    /// The port is reserved for privileged programs.
    #[error("port {port} needs privileges that this program does not have")]
    PortForbidden {
        /// The port asked for.
        port: u16,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file of the TLS set-up cannot be read.
    #[error("{} cannot be read", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file or directory of the TLS set-up cannot be written.
    #[error("{} cannot be written", path.display())]
    FileUnwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file with the private key holds none that is understood.
    #[error("{} holds no private key that can be used for TLS", path.display())]
    PrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// The file with the certificate chain holds no certificate, or one that is not DER.
    #[error("{} holds no readable certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together.
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The key file may be read by others than its owner.
    #[error("{} may be read by other users: its mode must be 0600", path.display())]
    KeyTooOpen {
        /// The key file.
        path: PathBuf,
    },
    /// The installation's own certificate could not be made.
    #[error("the server certificate could not be made")]
    SelfIssue(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The TLS library refuses the settings.
    #[error("the TLS settings are not usable")]
    Tls(#[from] rustls::Error),
    /// Another recorder of metrics is installed in this process.
    #[error("metrics are already recorded by another part of this process")]
    MetricsTaken,
}
