//! The TLS side of a client: whom it believes, and what it presents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let only = match &config.server_certificate {
        Some(path) => Some(certificate_in(path)?),
        None => None,
    };
    let builder = if only.is_some() || config.insecure_skip_verify {
        let verifier = match only {
            Some(certificate) => WithoutChain::only(certificate, provider),
            None => WithoutChain::any(provider),
        };
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(anchors(config.ca_cert_file.as_deref())?)
    };
    let config = match config.auth_mode {
        AuthMode::Mtls => {
            let (chain, key) = own_certificate(&config.mtls_options)?;
            builder.with_client_auth_cert(chain, key)?
        }
        AuthMode::Internal | AuthMode::Noauth | AuthMode::Jwt | AuthMode::Apikey => {
            builder.with_no_client_auth()
        }
    };
    Ok(Some(Arc::new(config)))
}

/// The system's trust anchors and those of a file. What the system has and cannot be read is left
/// out, as other programs do.
fn anchors(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = file {
        let text = match path.to_str() {
            Some(path) => file_or_text(path)?,
            None => {
                std::fs::read(path).map_err(|cause| TlsError::Unreadable(path.into(), cause))?
            }
        };
        for certificate in certificates("ca_cert_file", &text)? {
            store.add(certificate)?;
        }
    }
    Ok(store)
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

fn own_certificate(
    options: &MtlsOptions,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
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
