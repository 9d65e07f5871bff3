//! The hash functions that signatures are made over.

use aws_lc_rs::digest;

/// A hash function (FIPS 180-4). SHA-1 is for verifying only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-224, 28 bytes.
    Sha224,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// All of them, weakest first.
    pub const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// Length of the digest in bytes.
    #[must_use]
    pub fn output_len(self) -> usize {
        self.provider().output_len()
    }

    /// The digest of `data`, [`output_len`](Self::output_len) bytes.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        self.compute(data).as_ref().to_vec()
    }

    pub(crate) fn compute(self, data: &[u8]) -> digest::Digest {
        digest::digest(self.provider(), data)
    }

    pub(crate) fn provider(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}
