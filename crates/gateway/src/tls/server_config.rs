//! The settings of the TLS library.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::server_certificate::ServerCertificate;
use crate::config::{TlsConfig, TlsVersion};

/// The cryptography of TLS: the library's default suites (TLS 1.3 with AES-GCM and ChaCha20,
/// TLS 1.2 with ECDHE and the same AEADs), X25519MLKEM768 first.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![
        kx_group::X25519MLKEM768,
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::SECP384R1,
    ];
    Arc::new(provider)
}

/// The settings of an HTTPS listener.
///
/// Session resumption is off altogether. A resumed session carries over the client certificate of
/// the full handshake without a fresh proof of its key, and the library cannot resume only
/// sessions without a client certificate. A full handshake with P-256 costs one cheap signature.
///
/// # Errors
///
/// When the library finds no usable combination; it does not with the versions of [`TlsConfig`].
pub fn server_config(
    config: &TlsConfig,
    certificate: Arc<ServerCertificate>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut tls = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(config))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(certificate);
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

fn versions(config: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let all = [
        (TlsVersion::V1_3, &version::TLS13),
        (TlsVersion::V1_2, &version::TLS12),
    ];
    let enabled = config.min_version..=config.max_version;
    all.into_iter()
        .filter(|(version, _)| enabled.contains(version))
        .map(|(_, v)| v)
        .collect()
}
