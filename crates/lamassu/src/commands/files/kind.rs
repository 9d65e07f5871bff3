//! What a file holds that was meant to be something else: somebody took the wrong one.

use std::fmt;

use bytes::Bytes;
use lamassu_crypto::pem::{self, PemLabel};
use lamassu_crypto::{PrivateKey, PublicKey};
use lamassu_x509::crl::CertificateList;
use lamassu_x509::{Certificate, CertificationRequest, pkcs7};

use super::SEQUENCE;

/// Kinds of files that commands read, or are given instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Kind {
    Certificate,
    Request,
    Crl,
    Pkcs7,
    PublicKey,
    PrivateKey,
    EncryptedKey,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate",
            Self::Request => "a certification request",
            Self::Crl => "a CRL",
            Self::Pkcs7 => "a PKCS#7 message",
            Self::PublicKey => "a public key",
            Self::PrivateKey => "a private key",
            Self::EncryptedKey => "an encrypted private key",
        })
    }
}

impl Kind {
    pub(super) const fn is_private_key(self) -> bool {
        matches!(self, Self::PrivateKey | Self::EncryptedKey)
    }

    /// What octets are, by the label of PEM or by what DER reads as; `None` where it is nothing of these.
    pub(super) fn of(octets: &[u8]) -> Option<Self> {
        if octets.first() == Some(&SEQUENCE) {
            return Self::of_der(octets);
        }
        pem::blocks(octets).find_map(|block| Self::of_label(block.label()?))
    }

    const fn of_label(label: PemLabel) -> Option<Self> {
        Some(match label {
            PemLabel::Certificate => Self::Certificate,
            PemLabel::CertificateRequest => Self::Request,
            PemLabel::Crl => Self::Crl,
            PemLabel::Pkcs7 => Self::Pkcs7,
            PemLabel::PublicKey => Self::PublicKey,
            PemLabel::PrivateKey | PemLabel::RsaPrivateKey | PemLabel::EcPrivateKey => {
                Self::PrivateKey
            }
            PemLabel::EncryptedPrivateKey => Self::EncryptedKey,
            // The key stands behind them.
            PemLabel::EcParameters => return None,
        })
    }

    fn of_der(octets: &[u8]) -> Option<Self> {
        // First, so that no copy of one is made.
        if PrivateKey::from_der(octets).is_ok() {
            return Some(Self::PrivateKey);
        }
        let der = Bytes::copy_from_slice(octets);
        if Certificate::from_der(der.clone()).is_ok() {
            Some(Self::Certificate)
        } else if CertificationRequest::from_der(der.clone()).is_ok() {
            Some(Self::Request)
        } else if CertificateList::from_der(der.clone()).is_ok() {
            Some(Self::Crl)
        } else if PublicKey::from_spki_der(&der).is_ok() {
            Some(Self::PublicKey)
        } else {
            pkcs7::certificates(der).is_ok().then_some(Self::Pkcs7)
        }
    }
}

/// Whether a private key is among what a file holds.
pub(super) fn has_private_key(octets: &[u8]) -> bool {
    if octets.first() == Some(&SEQUENCE) {
        return Kind::of(octets).is_some_and(Kind::is_private_key);
    }
    let labels = pem::blocks(octets).filter_map(|block| block.label());
    labels.filter_map(Kind::of_label).any(Kind::is_private_key)
}
