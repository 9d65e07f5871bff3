//! Proof of possession of a client certificate's key, and nothing else.

use lamassu_crypto::{
    Curve, HashAlgorithm, KeySpec, Message, PublicKey, SignatureScheme as Scheme,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error};
use rustls::{PeerMisbehaved, SignatureScheme};

use super::client_key::{self, ClientKeyError};
use crate::config::ClientCertificateMode;

/// One signature scheme of the handshake.
struct Offered {
    wire: SignatureScheme,
    scheme: Scheme,
    tls13: Tls13,
}

/// What TLS 1.3 says about a scheme (RFC 8446 4.2.3).
enum Tls13 {
    /// Not for handshake signatures.
    Forbidden,
    /// With any key of the algorithm.
    Any,
    /// With keys on this curve.
    Curve(Curve),
}

/// What is offered, in order of preference. Under TLS 1.2 an ECDSA scheme names a hash only, so
/// keys on P-224 are usable with any of the three (RFC 8422 5.4, RFC 5246 7.4.1.4.1).
const OFFERED: [Offered; 10] = {
    use HashAlgorithm::{Sha256, Sha384, Sha512};
    const fn offered(wire: SignatureScheme, scheme: Scheme, tls13: Tls13) -> Offered {
        Offered {
            wire,
            scheme,
            tls13,
        }
    }
    [
        offered(
            SignatureScheme::ECDSA_NISTP256_SHA256,
            Scheme::Ecdsa(Sha256),
            Tls13::Curve(Curve::P256),
        ),
        offered(
            SignatureScheme::ECDSA_NISTP384_SHA384,
            Scheme::Ecdsa(Sha384),
            Tls13::Curve(Curve::P384),
        ),
        offered(
            SignatureScheme::ECDSA_NISTP521_SHA512,
            Scheme::Ecdsa(Sha512),
            Tls13::Curve(Curve::P521),
        ),
        offered(SignatureScheme::ED25519, Scheme::Ed25519, Tls13::Any),
        offered(
            SignatureScheme::RSA_PSS_SHA256,
            Scheme::RsaPss(Sha256),
            Tls13::Any,
        ),
        offered(
            SignatureScheme::RSA_PSS_SHA384,
            Scheme::RsaPss(Sha384),
            Tls13::Any,
        ),
        offered(
            SignatureScheme::RSA_PSS_SHA512,
            Scheme::RsaPss(Sha512),
            Tls13::Any,
        ),
        offered(
            SignatureScheme::RSA_PKCS1_SHA256,
            Scheme::RsaPkcs1(Sha256),
            Tls13::Forbidden,
        ),
        offered(
            SignatureScheme::RSA_PKCS1_SHA384,
            Scheme::RsaPkcs1(Sha384),
            Tls13::Forbidden,
        ),
        offered(
            SignatureScheme::RSA_PKCS1_SHA512,
            Scheme::RsaPkcs1(Sha512),
            Tls13::Forbidden,
        ),
    ]
};

/// Takes any client certificate whose key is of a kind that can sign a handshake, and verifies
/// that the client holds that key.
///
/// No CA names are sent: some clients send no certificate when none of the named CAs issued
/// theirs. The certificate is read by the lenient readers of this project, not by the TLS
/// library's own, which refuse version 1, odd extensions and odd dates.
#[derive(Debug)]
pub struct PossessionVerifier {
    mode: ClientCertificateMode,
}

impl PossessionVerifier {
    /// A verifier that requires a certificate or only asks for one.
    pub fn new(mode: ClientCertificateMode) -> Self {
        Self { mode }
    }
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        match self.mode {
            ClientCertificateMode::Request => false,
            ClientCertificateMode::Any => true,
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        client_key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let offered = offered(dss.scheme)?;
        verify(&client_key(cert)?, offered.scheme, message, dss.signature())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let offered = offered(dss.scheme)?;
        let key = client_key(cert)?;
        let fits = match offered.tls13 {
            Tls13::Forbidden => false,
            Tls13::Any => true,
            Tls13::Curve(curve) => key.spec() == KeySpec::Ec(curve),
        };
        if !fits {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        verify(&key, offered.scheme, message, dss.signature())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        OFFERED.iter().map(|offered| offered.wire).collect()
    }
}

fn offered(wire: SignatureScheme) -> Result<&'static Offered, Error> {
    const { &OFFERED }
        .iter()
        .find(|offered| offered.wire == wire)
        .ok_or_else(|| PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

/// The certificate's key; the errors become the alerts `bad_certificate` and
/// `unsupported_certificate` (RFC 8446 6.2).
fn client_key(certificate: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    client_key::of(certificate).map_err(|error| match error {
        ClientKeyError::Malformed => CertificateError::BadEncoding.into(),
        ClientKeyError::Unsupported => CertificateError::InvalidPurpose.into(),
    })
}

fn verify(
    key: &PublicKey,
    scheme: Scheme,
    message: &[u8],
    signature: &[u8],
) -> Result<HandshakeSignatureValid, Error> {
    key.verify(scheme, Message::Raw(message), signature)
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| CertificateError::BadSignature.into())
}
