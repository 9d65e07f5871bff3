//! What TLS clients share, whoever they call: services of other processes, a database, the program
//! under test.
//!
//! There is one thing so far, [`WithoutChain`], because verifying less than a chain must be written
//! once and be easy to find. Deliberately absent: whom a client believes otherwise, and what it presents. That
//! is said by each client's own settings and lives with them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Believes one certificate, by its bytes or its digest, or any: no issuer, no name and no date is looked at. The handshake must
/// be signed by its key all the same, so the connection is encrypted to whoever holds that.
///
/// Any, only for clients that were told so, by a setting whose name says what it gives up.
#[derive(Debug)]
pub struct WithoutChain {
    believed: Believed,
    provider: Arc<CryptoProvider>,
}

/// Which certificates.
#[derive(Debug)]
enum Believed {
    Any,
    Only(CertificateDer<'static>),
    /// Those of this digest.
    Digest {
        digest: Vec<u8>,
        hash: fn(&[u8]) -> Vec<u8>,
    },
}

impl WithoutChain {
    /// Believes whatever is presented.
    pub const fn any(provider: Arc<CryptoProvider>) -> Self {
        Self {
            believed: Believed::Any,
            provider,
        }
    }

    /// Believes exactly this certificate.
    pub const fn only(certificate: CertificateDer<'static>, provider: Arc<CryptoProvider>) -> Self {
        Self {
            believed: Believed::Only(certificate),
            provider,
        }
    }

    /// Believes the certificate whose DER has this digest; `hash` is the function that gave it.
    pub const fn with_digest(
        digest: Vec<u8>,
        hash: fn(&[u8]) -> Vec<u8>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            believed: Believed::Digest { digest, hash },
            provider,
        }
    }
}

impl ServerCertVerifier for WithoutChain {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_believed = match &self.believed {
            Believed::Any => true,
            Believed::Only(only) => only == presented,
            Believed::Digest { digest, hash } => *digest == hash(presented),
        };
        match is_believed {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
