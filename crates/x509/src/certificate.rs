//! Reading certificates (RFC 5280 §4.1), leniently.
//!
//! Everything that is signed or compared stays a slice of the certificate's own bytes.
//! Nothing is refused here that some CA in the field has issued: serial numbers may be
//! negative, zero or long, versions and dates odd, extensions unknown, repeated or broken.
//! Whoever needs a part decodes it and gets the error then; [`TbsCertificate::unreadable_by_go`]
//! says what importing must refuse.
//!
//! Next: [`TbsCertificate`], whose methods a [`Certificate`] has too.

mod go;
mod tbs;

pub use go::UnreadableByGo;
pub use tbs::TbsCertificate;

use std::ops::Deref;

use bytes::Bytes;
use lamassu_crypto::{HashAlgorithm, PublicKey};

use crate::algorithm::AlgorithmIdentifier;
use crate::error::{Malformation, ParseError, Structure};
use crate::signed::{SignatureError, Signed};

/// A certificate and its DER. Cloning copies pointers, not bytes.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Bytes,
    signed: Signed,
    tbs: TbsCertificate,
}

impl Certificate {
    /// Longest certificate that is read, in bytes.
    pub const MAX_LEN: usize = 1 << 20;

    /// Reads the DER of one certificate.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the bytes are not exactly one certificate, or more than
    /// [`Certificate::MAX_LEN`].
    pub fn from_der(der: impl Into<Bytes>) -> Result<Self, ParseError> {
        Self::parse(der.into()).map_err(|malformation| malformation.within(Structure::Certificate))
    }

    fn parse(der: Bytes) -> Result<Self, Malformation> {
        if der.len() > Self::MAX_LEN {
            return Err(Malformation::TooLarge);
        }
        let signed = Signed::parse(&der)?;
        let tbs = TbsCertificate::parse(&signed.tbs)?;
        Ok(Self { der, signed, tbs })
    }

    /// The DER as it was read.
    pub fn as_der(&self) -> &Bytes {
        &self.der
    }

    /// The DER of the signed part.
    pub fn tbs_der(&self) -> &Bytes {
        &self.signed.tbs
    }

    /// How the issuer signed.
    pub fn signature_algorithm(&self) -> &AlgorithmIdentifier {
        &self.signed.algorithm
    }

    /// The signature's octets.
    pub fn signature(&self) -> &Bytes {
        &self.signed.signature
    }

    /// Checks the signature with the issuer's key. Names, dates and extensions are not looked
    /// at.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the algorithm is not supported or the key did not sign.
    pub fn verify_signed_by(&self, key: &PublicKey) -> Result<(), SignatureError> {
        self.signed.verify(key)
    }

    /// Whether issuer and subject are the same name and the certificate's own key signed it.
    /// Equal names alone prove nothing: a subordinate may carry its issuer's name.
    pub fn is_self_signed(&self) -> bool {
        self.issuer().matches(self.subject())
            && self
                .public_key()
                .is_ok_and(|key| self.verify_signed_by(&key).is_ok())
    }

    /// SHA-256 of the DER.
    pub fn fingerprint_sha256(&self) -> Vec<u8> {
        HashAlgorithm::Sha256.digest(&self.der)
    }
}

impl Deref for Certificate {
    type Target = TbsCertificate;

    fn deref(&self) -> &TbsCertificate {
        &self.tbs
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}
