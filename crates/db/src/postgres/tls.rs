//! TLS to the server, by libpq's modes.

use std::path::Path;
use std::sync::Arc;

use lamassu_tls::WithoutChain;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::options::{TlsMode, TlsOptions};

/// Why the TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsSettingsError {
    /// A mode that verifies was chosen without saying whom to trust.
    #[error("sslmode verify-ca and verify-full need ca_cert_file")]
    NobodyTrusted,
    /// A file cannot be read as what it should hold.
    #[error("{file} cannot be read as PEM")]
    File {
        file: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds nothing of what it should hold.
    #[error("{0} holds no certificate")]
    Empty(String),
    /// The library refuses what the files hold.
    #[error("the TLS settings cannot be used")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The TLS configuration for these options; in mode `disable` it is never used.
pub(crate) fn client_config(options: &TlsOptions) -> Result<ClientConfig, TlsSettingsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match options.mode {
        // The connection is encrypted to somebody who has the key of what was presented.
        TlsMode::Disable | TlsMode::Require => Arc::new(WithoutChain::any(Arc::clone(&provider))),
        TlsMode::VerifyCa => Arc::new(AnyName(web_pki(options, &provider)?)),
        TlsMode::VerifyFull => web_pki(options, &provider)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match &options.client {
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| file(key, source))?;
            builder.with_client_auth_cert(chain, key).map_err(refused)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn web_pki(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsSettingsError> {
    let path = options
        .ca_cert_file
        .as_deref()
        .ok_or(TlsSettingsError::NobodyTrusted)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(refused)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(refused)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSettingsError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| file(path, source))?;
    if all.is_empty() {
        return Err(TlsSettingsError::Empty(path.display().to_string()));
    }
    Ok(all)
}

fn file(path: &Path, source: rustls::pki_types::pem::Error) -> TlsSettingsError {
    TlsSettingsError::File {
        file: path.display().to_string(),
        source,
    }
}

fn refused(source: impl std::error::Error + Send + Sync + 'static) -> TlsSettingsError {
    TlsSettingsError::Refused(Box::new(source))
}

/// Mode `verify-ca`: everything is verified but the name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .0
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        // The name is looked at last, so everything else was right.
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
