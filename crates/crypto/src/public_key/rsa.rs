//! RSA public keys and their signatures (RFC 8017).
//!
//! What the provider has, it does: PKCS#1 v1.5 and PSS with SHA-256, 384, 512 and the usual
//! sizes. Everything else that occurs in foreign certificates and requests (1024 bits, more than
//! 8192 bits, SHA-224, PSS with another salt or another hash in MGF1) is the public operation of
//! the `rsa` crate, followed by the padding checks written out below.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use der::Decode as _;
use rsa::BoxedUint;
use rsa::hazmat::rsa_encrypt;
use subtle::ConstantTimeEq as _;

use crate::error::{KeyError, VerifyError};
use crate::hash::HashAlgorithm;
use crate::scheme::{RsaPssParams, SignatureScheme};

/// Sizes of the modulus that are read, in bits.
const READ_BITS: std::ops::RangeInclusive<u32> = 1024..=16_384;

/// An RSA public key.
pub(super) struct RsaPublicKey {
    /// `RSAPublicKey` (RFC 8017 §A.1.1).
    pkcs1_der: Box<[u8]>,
    bits: u32,
}

impl RsaPublicKey {
    pub(super) fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let read = pkcs1::RsaPublicKeyRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        let modulus = read.modulus.as_bytes();
        let bits = bit_length(modulus);
        if !READ_BITS.contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        let exponent = read.public_exponent.as_bytes();
        let exponent_bits = bit_length(exponent);
        if !is_odd(modulus) || !is_odd(exponent) || !(2..=33).contains(&exponent_bits) {
            return Err(KeyError::RsaComponents);
        }
        Ok(Self {
            pkcs1_der: der.into(),
            bits,
        })
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// `scheme` is one of RSA, `digest` by its hash.
    pub(super) fn verify(
        &self,
        scheme: SignatureScheme,
        digest: &Digest,
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        if let Some(parameters) = provider_parameters(scheme, self.bits) {
            return UnparsedPublicKey::new(parameters, &self.pkcs1_der)
                .verify_digest(digest, signature)
                .map_err(|_| VerifyError::Mismatch);
        }
        let padded = self.open(signature).ok_or(VerifyError::Mismatch)?;
        let right = match scheme {
            SignatureScheme::RsaPkcs1(hash) => {
                is_pkcs1_padded(&padded, hash, digest.as_ref()).unwrap_or(false)
            }
            SignatureScheme::RsaPss(hash) => is_pss_padded(
                &padded,
                self.bits,
                RsaPssParams::matching(hash),
                digest.as_ref(),
            )
            .unwrap_or(false),
            SignatureScheme::RsaPssWith(params) => {
                is_pss_padded(&padded, self.bits, params, digest.as_ref()).unwrap_or(false)
            }
            SignatureScheme::Ecdsa(_)
            | SignatureScheme::Ed25519
            | SignatureScheme::MlDsa44
            | SignatureScheme::MlDsa65
            | SignatureScheme::MlDsa87 => return Err(VerifyError::WrongKey),
        };
        right.then_some(()).ok_or(VerifyError::Mismatch)
    }

    /// The public operation (RFC 8017 §5.2.2): the padded digest, as long as the modulus.
    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let n_bytes = usize::try_from(self.bits.div_ceil(8)).ok()?;
        if signature.len() != n_bytes {
            return None;
        }
        let read = pkcs1::RsaPublicKeyRef::from_der(&self.pkcs1_der).ok()?;
        let precision = self.bits.next_multiple_of(64);
        let n = BoxedUint::from_be_slice(read.modulus.as_bytes(), precision).ok()?;
        let e = BoxedUint::from_be_slice(read.public_exponent.as_bytes(), precision).ok()?;
        let s = BoxedUint::from_be_slice(signature, precision).ok()?;
        if s >= n {
            return None;
        }
        let bits = usize::try_from(self.bits).ok()?;
        let key = rsa::PublicKey::new_with_size_limits(n, e, bits..=bits).ok()?;
        let opened = rsa_encrypt(&key, &s).ok()?.to_be_bytes();
        let excess = opened.len().checked_sub(n_bytes)?;
        opened.get(excess..).map(<[u8]>::to_vec)
    }
}

/// The provider's verification of `scheme` with a key of `bits`, when it has one.
fn provider_parameters(scheme: SignatureScheme, bits: u32) -> Option<&'static RsaParameters> {
    let parameters: &'static RsaParameters = match scheme {
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha1) => {
            &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
        }
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256) => {
            &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        }
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha512) => {
            &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
        }
        SignatureScheme::RsaPss(HashAlgorithm::Sha256) => &RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RsaPss(HashAlgorithm::Sha384) => &RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RsaPss(HashAlgorithm::Sha512) => &RSA_PSS_2048_8192_SHA512,
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha224)
        | SignatureScheme::RsaPss(HashAlgorithm::Sha1 | HashAlgorithm::Sha224)
        | SignatureScheme::RsaPssWith(_)
        | SignatureScheme::Ecdsa(_)
        | SignatureScheme::Ed25519
        | SignatureScheme::MlDsa44
        | SignatureScheme::MlDsa65
        | SignatureScheme::MlDsa87 => return None,
    };
    (parameters.min_modulus_len()..=parameters.max_modulus_len())
        .contains(&bits)
        .then_some(parameters)
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2), by building what must be there and comparing all of it.
/// `None` when the modulus is too short for the hash.
fn is_pkcs1_padded(padded: &[u8], hash: HashAlgorithm, digest: &[u8]) -> Option<bool> {
    let info = [hash.digest_info_prefix(), digest].concat();
    let n_fill = padded.len().checked_sub(info.len() + 3)?;
    if n_fill < 8 {
        return None;
    }
    let expected = [&[0, 1][..], &vec![0xff; n_fill], &[0], &info].concat();
    Some(bool::from(expected.ct_eq(padded)))
}

/// EMSA-PSS (RFC 8017 §9.1.2). `None` where a length makes it inconsistent.
fn is_pss_padded(
    padded: &[u8],
    modulus_bits: u32,
    params: RsaPssParams,
    digest: &[u8],
) -> Option<bool> {
    let em_bits = modulus_bits.checked_sub(1)?;
    let em_len = usize::try_from(em_bits.div_ceil(8)).ok()?;
    let salt_len = usize::try_from(params.salt_len).ok()?;
    // With 8k + 1 bits the encoded message is one byte shorter than the modulus.
    let (excess, em) = padded.split_at_checked(padded.len().checked_sub(em_len)?)?;
    let (body, trailer) = em.split_at_checked(em_len.checked_sub(1)?)?;
    let db_len = body.len().checked_sub(digest.len())?;
    let (masked_db, hash) = body.split_at_checked(db_len)?;
    let n_zeros = db_len.checked_sub(salt_len)?.checked_sub(1)?;

    let mut db = masked_db.to_vec();
    for (byte, mask) in db.iter_mut().zip(mgf1(params.mgf_hash, hash, db_len)) {
        *byte ^= mask;
    }
    // The leftmost bits, beyond the modulus, must be zero in what was signed and are cleared.
    let n_unused_bits = em_len
        .checked_mul(8)?
        .checked_sub(usize::try_from(em_bits).ok()?)?;
    let kept = 0xff_u8 >> n_unused_bits;
    let first_is_clean = masked_db.first()? & !kept == 0;
    if let Some(first) = db.first_mut() {
        *first &= kept;
    }

    let (zeros, rest) = db.split_at_checked(n_zeros)?;
    let (separator, salt) = rest.split_first()?;
    let again = params.hash.compute(&[&[0; 8][..], digest, salt].concat());
    Some(
        excess.iter().all(|byte| *byte == 0)
            && trailer == [0xbc]
            && first_is_clean
            && zeros.iter().all(|byte| *byte == 0)
            && *separator == 1
            && bool::from(again.as_ref().ct_eq(hash)),
    )
}

/// The mask generation function MGF1 (RFC 8017 §B.2.1), `len` bytes.
fn mgf1(hash: HashAlgorithm, seed: &[u8], len: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(len.next_multiple_of(hash.output_len()));
    for counter in 0_u32.. {
        if mask.len() >= len {
            break;
        }
        let block = hash.compute(&[seed, &counter.to_be_bytes()].concat());
        mask.extend_from_slice(block.as_ref());
    }
    mask.truncate(len);
    mask
}

/// Bits of a big-endian number.
pub(crate) fn bit_length(bytes: &[u8]) -> u32 {
    let significant = bytes.iter().skip_while(|byte| **byte == 0);
    let n_bytes = u32::try_from(significant.clone().count()).unwrap_or(u32::MAX);
    let unused = significant.take(1).map(|first| first.leading_zeros()).sum();
    n_bytes.saturating_mul(8).saturating_sub(unused)
}

fn is_odd(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|byte| byte & 1 == 1)
}
