//! A content key under what two keys on an elliptic curve agree on: the recipient's, and one that is
//! made for this and forgotten (RFC 5753 §3.1, ephemeral-static ECDH).

use aws_lc_rs::agreement::{
    self, Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, EphemeralPrivateKey, UnparsedPublicKey,
};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rand::SystemRandom;
use const_oid::ObjectIdentifier;
use zeroize::Zeroizing;

use super::{SealError, SealedKey};
use crate::hash::HashAlgorithm;
use crate::public_key::PublicKey;
use crate::spec::{Curve, KeySpec};

/// `dhSinglePass-stdDH`, by the digest of its key derivation, and how the content key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyAgreement {
    /// The digest of the key derivation.
    pub digest: AgreementDigest,
    /// The wrapping cipher.
    pub wrap: KeyWrap,
}

/// A digest for key derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgreementDigest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A cipher that wraps keys (RFC 3394).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWrap {
    /// AES-128.
    Aes128,
    /// AES-256.
    Aes256,
}

impl AgreementDigest {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name of the scheme with this digest (RFC 5753 §7.1.4).
    #[must_use]
    pub const fn scheme_oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => ObjectIdentifier::new_unwrap("1.3.132.1.11.1"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("1.3.132.1.11.2"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("1.3.132.1.11.3"),
        }
    }

    const fn hash(self) -> HashAlgorithm {
        match self {
            Self::Sha256 => HashAlgorithm::Sha256,
            Self::Sha384 => HashAlgorithm::Sha384,
            Self::Sha512 => HashAlgorithm::Sha512,
        }
    }
}

impl KeyWrap {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Aes256, Self::Aes128];

    /// Its name in CMS (RFC 3565 §4.2).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Aes128 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.5"),
            Self::Aes256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.45"),
        }
    }

    const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    /// What goes into the key derivation beside the secret.
    ///
    /// ```text
    /// ECC-CMS-SharedInfo ::= SEQUENCE { keyInfo AlgorithmIdentifier, suppPubInfo [2] EXPLICIT OCTET STRING }
    /// ```
    ///
    /// with the wrapping cipher, without parameters, and the length of its key in bits, in four octets.
    const fn shared_info(self) -> &'static [u8; 23] {
        match self {
            Self::Aes128 => {
                b"\x30\x15\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x05\xa2\x06\x04\x04\x00\x00\x00\x80"
            }
            Self::Aes256 => {
                b"\x30\x15\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2d\xa2\x06\x04\x04\x00\x00\x01\x00"
            }
        }
    }
}

impl KeyAgreement {
    pub(super) fn wrap(self, recipient: &PublicKey, key: &[u8]) -> Result<SealedKey, SealError> {
        let library = |_| SealError::Library;
        let algorithm = algorithm(recipient.spec()).ok_or(SealError::Recipient)?;
        let ours = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new());
        let ours = ours.map_err(library)?;
        let originator = ours.compute_public_key().map_err(library)?;
        let theirs = UnparsedPublicKey::new(algorithm, recipient.spki_der());
        let wrapped = agreement::agree_ephemeral(ours, theirs, SealError::Recipient, |secret| {
            self.wrap_under(secret, key).map_err(library)
        })?;
        Ok(SealedKey::Agreed {
            agreement: self,
            originator: originator.as_ref().to_vec(),
            wrapped,
        })
    }

    fn wrap_under(
        self,
        secret: &[u8],
        key: &[u8],
    ) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        // One block of the derivation is enough for each of the ciphers (ANSI X9.63).
        let counter = 1_u32.to_be_bytes();
        let mut input = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(32)));
        for part in [secret, &counter, self.wrap.shared_info()] {
            input.extend_from_slice(part);
        }
        let derived = Zeroizing::new(self.digest.hash().digest(&input));
        let wrapping = derived.get(..self.wrap.key_len());
        let wrapping = wrapping.ok_or(aws_lc_rs::error::Unspecified)?;
        let cipher = match self.wrap {
            KeyWrap::Aes128 => &AES_128,
            KeyWrap::Aes256 => &AES_256,
        };
        let mut wrapped = vec![0; key.len().saturating_add(8)];
        let written = AesKek::new(cipher, wrapping)?.wrap(key, &mut wrapped)?;
        Ok(written.to_vec())
    }
}

fn algorithm(spec: KeySpec) -> Option<&'static Algorithm> {
    match spec {
        KeySpec::Ec(Curve::P256) => Some(&ECDH_P256),
        KeySpec::Ec(Curve::P384) => Some(&ECDH_P384),
        KeySpec::Ec(Curve::P521) => Some(&ECDH_P521),
        KeySpec::Ec(Curve::P224)
        | KeySpec::Rsa(_)
        | KeySpec::Ed25519
        | KeySpec::MlDsa44
        | KeySpec::MlDsa65
        | KeySpec::MlDsa87 => None,
    }
}
