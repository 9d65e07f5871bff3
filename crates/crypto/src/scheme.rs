//! Signature schemes, and what they are applied to.

use aws_lc_rs::digest;

use crate::error::SignError;
use crate::hash::HashAlgorithm;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    RsaPkcs1(HashAlgorithm),
    /// RSASSA-PSS (RFC 8017 §8.1), MGF1 with the same hash, salt as long as the hash.
    RsaPss(HashAlgorithm),
    /// RSASSA-PSS with other parameters: verified in foreign signatures, never signed with.
    RsaPssWith(RsaPssParams),
    /// ECDSA (FIPS 186-5 §6) with any curve; the signature is the DER of `ECDSA-Sig-Value`
    /// (RFC 3279 §2.2.3).
    Ecdsa(HashAlgorithm),
    /// Ed25519 (RFC 8032), over the message itself.
    Ed25519,
    /// ML-DSA-44 (FIPS 204), over the message itself, with an empty context.
    MlDsa44,
    /// ML-DSA-65 (FIPS 204), over the message itself, with an empty context.
    MlDsa65,
    /// ML-DSA-87 (FIPS 204), over the message itself, with an empty context.
    MlDsa87,
}

impl SignatureScheme {
    /// The hash that the message goes through first; `None` for schemes over the message itself.
    #[must_use]
    pub fn hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => Some(hash),
            Self::RsaPssWith(params) => Some(params.hash),
            Self::Ed25519 | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        }
    }
}

/// Parameters of RSASSA-PSS (RFC 4055 §3.1). The trailer field is always 1 (`0xbc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RsaPssParams {
    /// Hash of the message.
    pub hash: HashAlgorithm,
    /// Hash inside the mask generation function MGF1.
    pub mgf_hash: HashAlgorithm,
    /// Length of the salt in bytes.
    pub salt_len: u32,
}

impl RsaPssParams {
    /// MGF1 with the same hash, a salt as long as the hash.
    #[must_use]
    pub fn matching(hash: HashAlgorithm) -> Self {
        let salt_len = match hash {
            HashAlgorithm::Sha1 => 20,
            HashAlgorithm::Sha224 => 28,
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha384 => 48,
            HashAlgorithm::Sha512 => 64,
        };
        Self {
            hash,
            mgf_hash: hash,
            salt_len,
        }
    }
}

/// What is signed or verified: the message, or what its hash gave.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// The message itself; schemes with a hash apply it.
    Raw(&'a [u8]),
    /// The digest of the message by the scheme's hash.
    Digest(&'a [u8]),
}

/// A digest of the wrong length: the length wanted and the one given, in bytes.
#[derive(Debug)]
pub(crate) struct WrongDigestLength {
    pub(crate) expected: usize,
    pub(crate) actual: usize,
}

impl<'a> Message<'a> {
    /// The digest by `hash`, computed or taken as given.
    pub(crate) fn digest(self, hash: HashAlgorithm) -> Result<digest::Digest, WrongDigestLength> {
        match self {
            Self::Raw(message) => Ok(hash.compute(message)),
            Self::Digest(bytes) => digest::Digest::import_less_safe(bytes, hash.provider())
                .map_err(|_| WrongDigestLength {
                    expected: hash.output_len(),
                    actual: bytes.len(),
                }),
        }
    }

    /// The octets of the digest by `hash`, computed or taken as given.
    ///
    /// # Errors
    ///
    /// [`SignError::DigestLength`] for a digest that `hash` does not give.
    pub fn to_digest(self, hash: HashAlgorithm) -> Result<Vec<u8>, SignError> {
        Ok(self.digest(hash)?.as_ref().to_vec())
    }

    /// The message itself, when it is what was given.
    #[must_use]
    pub fn raw(self) -> Option<&'a [u8]> {
        match self {
            Self::Raw(message) => Some(message),
            Self::Digest(_) => None,
        }
    }
}
