//! Certificate chains and private keys from PEM files.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use lamassu_crypto::PrivateKey;
use lamassu_x509::{Certificate, pem};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tracing::warn;
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::error::GatewayError;

/// Reads a chain and its key for use by the TLS library.
///
/// Dates are not looked at: a certificate valid in year 1 only is loaded as any other, whoever
/// connects decides.
///
/// # Errors
///
/// One of the file errors of [`GatewayError`], naming the file.
pub(crate) fn certified_key(
    provider: &CryptoProvider,
    cert_file: &Path,
    key_file: &Path,
) -> Result<Arc<CertifiedKey>, GatewayError> {
    let chain = read_chain(cert_file)?;
    let unusable = || GatewayError::PrivateKey {
        path: key_file.to_owned(),
    };
    let pem = Zeroizing::new(read(key_file)?);
    let der = PrivateKey::from_pem(&pem)
        .and_then(|key| key.to_pkcs8_der())
        .map_err(|_| unusable())?;
    let key = provider
        .key_provider
        .load_private_key(PrivatePkcs8KeyDer::from(der.to_vec()).into())
        .map_err(|_| unusable())?;
    let end_entity = chain
        .first()
        .and_then(|der| Certificate::from_der(der.to_vec()).ok());
    let Some(end_entity) = end_entity else {
        return Err(GatewayError::Certificate {
            path: cert_file.to_owned(),
        });
    };
    // The library's own comparison parses the certificate strictly.
    let matches = key
        .public_key()
        .is_some_and(|spki| *spki == **end_entity.spki_der());
    if !matches {
        return Err(GatewayError::KeyMismatch {
            certificate: cert_file.to_owned(),
            key: key_file.to_owned(),
        });
    }
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// The certificates of a PEM file, in its order; at least one.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, GatewayError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = pem::certificate_ders(&text)
        .map(|der| der.map(CertificateDer::from))
        .collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(GatewayError::Certificate {
            path: path.to_owned(),
        }),
    }
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, GatewayError> {
    fs::read(path).map_err(|source| GatewayError::FileUnreadable {
        path: path.to_owned(),
        source,
    })
}

/// The content of a file, `None` when there is no such file.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, GatewayError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(GatewayError::FileUnreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Refuses, or in other environments than production warns about, a key file that others than
/// its owner may read.
pub(crate) fn check_key_mode(
    path: &Path,
    environment: Option<Environment>,
) -> Result<(), GatewayError> {
    let metadata = fs::metadata(path).map_err(|source| GatewayError::FileUnreadable {
        path: path.to_owned(),
        source,
    })?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    match environment {
        Some(Environment::Production) => Err(GatewayError::KeyTooOpen {
            path: path.to_owned(),
        }),
        Some(Environment::Development | Environment::Staging) | None => {
            warn!(path = %path.display(), "private key may be read by other users");
            Ok(())
        }
    }
}
