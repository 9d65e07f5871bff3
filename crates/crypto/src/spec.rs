//! Kinds and sizes of keys.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{SECP_224_R_1, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};

/// A NIST curve over a prime field (FIPS 186-5, SP 800-186).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-224, secp224r1.
    P224,
    /// P-256, secp256r1.
    P256,
    /// P-384, secp384r1.
    P384,
    /// P-521, secp521r1.
    P521,
}

impl Curve {
    /// All curves, smallest first.
    pub const ALL: [Self; 4] = [Self::P224, Self::P256, Self::P384, Self::P521];

    /// Size of the field in bits: 224, 256, 384 or 521.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::P224 => 224,
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// The curve's name in SubjectPublicKeyInfo (RFC 5480 §2.1.1.1).
    #[must_use]
    pub fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P224 => SECP_224_R_1,
            Self::P256 => SECP_256_R_1,
            Self::P384 => SECP_384_R_1,
            Self::P521 => SECP_521_R_1,
        }
    }

    /// The curve of this name.
    #[must_use]
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == oid)
    }
}

/// What a key is: its algorithm and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySpec {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// An elliptic curve key for ECDSA.
    Ec(Curve),
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ML-DSA-44 (FIPS 204).
    MlDsa44,
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
    /// ML-DSA-87 (FIPS 204).
    MlDsa87,
}

impl KeySpec {
    /// Every specification that [`PrivateKey::generate`](crate::PrivateKey::generate) knows.
    pub const GENERATED: [Self; 12] = [
        Self::Rsa(2048),
        Self::Rsa(3072),
        Self::Rsa(4096),
        Self::Rsa(8192),
        Self::Ec(Curve::P224),
        Self::Ec(Curve::P256),
        Self::Ec(Curve::P384),
        Self::Ec(Curve::P521),
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// The size as the platform shows it: bits of the RSA modulus or of the field (256 for
    /// Ed25519); for ML-DSA the number of the parameter set (44, 65, 87).
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Rsa(bits) => bits,
            Self::Ec(curve) => curve.bits(),
            Self::Ed25519 => 256,
            Self::MlDsa44 => 44,
            Self::MlDsa65 => 65,
            Self::MlDsa87 => 87,
        }
    }
}
