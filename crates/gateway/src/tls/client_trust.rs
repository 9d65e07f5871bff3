//! Whose client certificates pass the handshake, where only those of some CAs do.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lamassu_x509::Certificate;
use lamassu_x509::client_auth::{ClientAnchors, ClientCertificateError};
use lamassu_x509::path::PathError;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use time::OffsetDateTime;
use tracing::info;

use super::client_verifier::PossessionVerifier;
use super::pem_files;
use crate::config::{ClientCertificateMode, TlsConfig};
use crate::error::GatewayError;

/// Refusals are logged at most so often: everybody can cause one.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What the listener asks of client certificates. Reads the file of CAs, where there is one.
///
/// # Errors
///
/// The file cannot be read, or holds no certificate or an unreadable one.
pub(crate) fn verifier(config: &TlsConfig) -> Result<Arc<dyn ClientCertVerifier>, GatewayError> {
    Ok(match &config.client_ca_file {
        Some(path) => Arc::new(TrustedClientVerifier::new(anchors(path)?)),
        None => Arc::new(PossessionVerifier::new(config.client_certificate)),
    })
}

fn anchors(path: &Path) -> Result<ClientAnchors, GatewayError> {
    let certificates: Result<Vec<_>, _> = pem_files::read_chain(path)?
        .into_iter()
        .map(|der| Certificate::from_der(der.to_vec()))
        .collect();
    let anchors = certificates.ok().and_then(ClientAnchors::new);
    anchors.ok_or_else(|| GatewayError::Certificate {
        path: path.to_owned(),
    })
}

/// Demands a certificate that one of these CAs stands behind, and proof of its key.
///
/// No CA names are sent here either, so that a client with the wrong certificate shows it and is
/// told what is wrong with it.
#[derive(Debug)]
struct TrustedClientVerifier {
    possession: PossessionVerifier,
    anchors: ClientAnchors,
    last_logged: Mutex<Option<Instant>>,
}

impl TrustedClientVerifier {
    fn new(anchors: ClientAnchors) -> Self {
        Self {
            possession: PossessionVerifier::new(ClientCertificateMode::Any),
            anchors,
            last_logged: Mutex::new(None),
        }
    }

    fn log(&self, certificate: &Certificate, error: ClientCertificateError) {
        let now = Instant::now();
        {
            let mut last = self
                .last_logged
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
                return;
            }
            *last = Some(now);
        }
        info!(
            subject = %certificate.subject(),
            issuer = %certificate.issuer(),
            serial_number = %certificate.serial(),
            %error,
            "client certificate refused in the handshake"
        );
    }
}

impl ClientCertVerifier for TrustedClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A key that could prove nothing is refused before anything is computed with it.
        self.possession
            .verify_client_cert(end_entity, intermediates, now)?;
        let now = instant(now)?;
        let certificate = read(end_entity)?;
        let intermediates: Vec<_> = intermediates.iter().map(read).collect::<Result<_, _>>()?;
        match self.anchors.verify(&certificate, &intermediates, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                self.log(&certificate, error);
                Err(alert(error).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.possession.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.possession.supported_verify_schemes()
    }
}

fn read(der: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(der.to_vec()).map_err(|_| CertificateError::BadEncoding.into())
}

fn instant(now: UnixTime) -> Result<OffsetDateTime, Error> {
    i64::try_from(now.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(Error::FailedToGetCurrentTime)
}

/// What the client is told (RFC 8446 6.2): `unknown_ca`, `certificate_expired`,
/// `unsupported_certificate`, or `access_denied` for what no alert names.
fn alert(error: ClientCertificateError) -> CertificateError {
    match error {
        ClientCertificateError::Usage | ClientCertificateError::Authority => {
            CertificateError::InvalidPurpose
        }
        ClientCertificateError::Path(error) => match error {
            PathError::NotYetValid => CertificateError::NotValidYet,
            PathError::Expired => CertificateError::Expired,
            PathError::NoIssuer | PathError::Signature => CertificateError::UnknownIssuer,
            PathError::WeakSignature
            | PathError::AlgorithmMismatch
            | PathError::NotACa
            | PathError::PathLength
            | PathError::IssuerNotValid
            | PathError::RepeatedExtension
            | PathError::CriticalExtension
            | PathError::NameConstraints
            | PathError::MalformedExtension
            | PathError::TooLong => CertificateError::ApplicationVerificationFailure,
        },
    }
}
