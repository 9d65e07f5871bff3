//! The hash functions that signatures are made over.

use std::io::{self, BufRead as _, BufReader, Read};

use aws_lc_rs::digest;

/// Bytes of a reader that are in memory at a time.
const READ_AT_ONCE: usize = 64 * 1024;

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

    /// The digest of all that `data` gives, which need not fit into memory.
    ///
    /// # Errors
    ///
    /// The reader's.
    pub fn digest_of(self, data: impl Read) -> io::Result<Vec<u8>> {
        let mut context = digest::Context::new(self.provider());
        let mut data = BufReader::with_capacity(READ_AT_ONCE, data);
        loop {
            let part = data.fill_buf()?;
            if part.is_empty() {
                return Ok(context.finish().as_ref().to_vec());
            }
            context.update(part);
            let n = part.len();
            data.consume(n);
        }
    }

    /// The DER of DigestInfo up to the digest (RFC 8017 §9.2, note 1).
    #[must_use]
    pub fn digest_info_prefix(self) -> &'static [u8] {
        match self {
            Self::Sha1 => b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
            Self::Sha224 => {
                b"\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c"
            }
            Self::Sha256 => {
                b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
            }
            Self::Sha384 => {
                b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
            }
            Self::Sha512 => {
                b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
            }
        }
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
