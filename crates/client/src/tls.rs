//! The TLS side of a client: whom it believes, and what it presents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamassu_crypto::HashAlgorithm;
use lamassu_tls::WithoutChain;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;

use crate::config::{self, AuthMode, MtlsOptions, Protocol};

/// Why the TLS side cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file with certificates or a key cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A file or text holds no PEM of the right kind.
    #[error("{what} holds no certificate or key in PEM")]
    NoPem {
        /// The setting.
        what: &'static str,
        /// What the reader says.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// Certificates and key do not fit, or are not accepted.
    #[error("the TLS client cannot be configured")]
    Tls(#[from] rustls::Error),
}

/// The TLS configuration of a block; none under `protocol: http`.
pub(crate) fn client_config(
    config: &config::ClientConfig,
) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if config.protocol == Protocol::Http {
        return Ok(None);
    }
    let trust = match &config.server_certificate {
        Some(path) => Trust::Only(certificate_in(path)?),
        None if config.insecure_skip_verify => Trust::Any,
        None => Trust::Anchors(anchors(config.ca_cert_file.as_deref())?),
    };
    let identity = match config.auth_mode {
        AuthMode::Mtls => Some(own_certificate(&config.mtls_options)?),
        AuthMode::Internal | AuthMode::Noauth | AuthMode::Jwt | AuthMode::Apikey => None,
    };
    connecting(trust, identity).map(Some)
}

/// Whom a client believes.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Who is vouched for by one of these, under the name that is called.
    Anchors(RootCertStore),
    /// The holder of this certificate.
    Only(CertificateDer<'static>),
    /// The holder of the certificate with this SHA-256.
    Digest(Vec<u8>),
    /// Anybody.
    Any,
}

/// A certificate and its chain, end entity first, and its key.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The TLS configuration of who believes and presents this.
pub(crate) fn connecting(
    trust: Trust,
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let without_chain = match trust {
        Trust::Anchors(anchors) => Err(anchors),
        Trust::Only(certificate) => Ok(WithoutChain::only(certificate, provider)),
        Trust::Digest(digest) => {
            let hash = |octets: &[u8]| HashAlgorithm::Sha256.digest(octets);
            Ok(WithoutChain::with_digest(digest, hash, provider))
        }
        Trust::Any => Ok(WithoutChain::any(provider)),
    };
    let builder = match without_chain {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier)),
        Err(anchors) => builder.with_root_certificates(anchors),
    };
    Ok(Arc::new(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    }))
}

/// The system's trust anchors and those of a file. What the system has and cannot be read is left
/// out, as other programs do.
pub(crate) fn anchors(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = file {
        add_file(&mut store, path)?;
    }
    Ok(store)
}

/// The trust anchors of a file and no others.
pub(crate) fn only_anchors(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    add_file(&mut store, file)?;
    Ok(store)
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let text = match path.to_str() {
        Some(path) => file_or_text(path)?,
        None => std::fs::read(path).map_err(|cause| TlsError::Unreadable(path.into(), cause))?,
    };
    for certificate in certificates("ca_cert_file", &text)? {
        store.add(certificate)?;
    }
    Ok(())
}

/// The first certificate of a file.
fn certificate_in(path: &Path) -> Result<CertificateDer<'static>, TlsError> {
    let text = std::fs::read(path).map_err(|cause| TlsError::Unreadable(path.into(), cause))?;
    CertificateDer::from_pem_slice(&text).map_err(|cause| TlsError::NoPem {
        what: "the server's certificate file",
        cause,
    })
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    // A file without any is a mistake, not the wish to believe nobody more.
    match read {
        Ok(none) if none.is_empty() => Err(pem::Error::NoItemsFound),
        read => read,
    }
    .map_err(|cause| TlsError::NoPem { what, cause })
}

fn own_certificate(options: &MtlsOptions) -> Result<Identity, TlsError> {
    let chain = file_or_text(&options.cert_file)?;
    let key = file_or_text(options.key_file.expose_secret())?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|cause| TlsError::NoPem {
        what: "key_file",
        cause,
    })?;
    Ok((certificates("cert_file", &chain)?, key))
}

/// The PEM text itself, or the contents of the file of this name.
fn file_or_text(value: &str) -> Result<Vec<u8>, TlsError> {
    if value.contains("-----BEGIN ") {
        return Ok(value.as_bytes().to_vec());
    }
    std::fs::read(value).map_err(|cause| TlsError::Unreadable(value.into(), cause))
}
