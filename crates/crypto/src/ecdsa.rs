//! ECDSA with any hash on any curve.
//!
//! ECDSA uses a digest only as the integer made of its leftmost bits, as many as the group order
//! has (FIPS 186-5 §6.4.1). So a longer digest may be cut to the curve's width and a shorter one
//! filled with zeros on the left without changing what is signed. The provider's algorithms each
//! bind one hash to a curve; a digest brought to that hash's length passes through them whatever
//! hash it came from.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
};

use crate::spec::Curve;

/// Width of a P-224 digest in bytes.
pub(crate) const P224_WIDTH: usize = 28;

/// A curve that the provider has, with the algorithms used for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProviderCurve {
    pub(crate) signing: &'static EcdsaSigningAlgorithm,
    pub(crate) verification: &'static EcdsaVerificationAlgorithm,
    digest: &'static digest::Algorithm,
}

impl ProviderCurve {
    /// `None` for P-224.
    pub(crate) fn of(curve: Curve) -> Option<Self> {
        match curve {
            Curve::P224 => None,
            Curve::P256 => Some(Self {
                signing: &ECDSA_P256_SHA256_ASN1_SIGNING,
                verification: &ECDSA_P256_SHA256_ASN1,
                digest: &digest::SHA256,
            }),
            Curve::P384 => Some(Self {
                signing: &ECDSA_P384_SHA384_ASN1_SIGNING,
                verification: &ECDSA_P384_SHA384_ASN1,
                digest: &digest::SHA384,
            }),
            Curve::P521 => Some(Self {
                signing: &ECDSA_P521_SHA512_ASN1_SIGNING,
                verification: &ECDSA_P521_SHA512_ASN1,
                digest: &digest::SHA512,
            }),
        }
    }

    /// `given` in the form that this curve's algorithms take.
    pub(crate) fn digest(self, given: &Digest) -> Result<Digest, Unspecified> {
        if given.algorithm() == self.digest {
            return Ok(*given);
        }
        let fitted = fit(given.as_ref(), self.digest.output_len());
        Digest::import_less_safe(&fitted, self.digest)
    }
}

/// `digest` cut on the right, or filled with zeros on the left, to `width` bytes.
pub(crate) fn fit(digest: &[u8], width: usize) -> Vec<u8> {
    let kept = digest.get(..width).unwrap_or(digest);
    let mut fitted = vec![0; width.saturating_sub(kept.len())];
    fitted.extend_from_slice(kept);
    fitted
}
