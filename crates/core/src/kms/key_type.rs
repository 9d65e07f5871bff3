//! The wire's names of key types.

use lamassu_crypto::{Curve, KeySpec};

/// A kind of key, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// ECDSA, on the curves of NIST.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// ML-DSA (FIPS 204).
    MlDsa,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Rsa, Self::Ecdsa, Self::Ed25519, Self::MlDsa];

    /// All words.
    pub const NAMES: &'static [&'static str] = &[
        Self::Rsa.as_str(),
        Self::Ecdsa.as_str(),
        Self::Ed25519.as_str(),
        Self::MlDsa.as_str(),
    ];

    /// The wire's word; matched with case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ecdsa => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa => "ML-DSA",
        }
    }

    /// The kind that the wire calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// The kind of this key.
    pub const fn of(spec: KeySpec) -> Self {
        match spec {
            KeySpec::Rsa(_) => Self::Rsa,
            KeySpec::Ec(_) => Self::Ecdsa,
            KeySpec::Ed25519 => Self::Ed25519,
            KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => Self::MlDsa,
        }
    }

    /// The key of this kind and size, if there is such a size.
    pub fn with_size(self, bits: u32) -> Option<KeySpec> {
        match (self, bits) {
            (Self::Rsa, bits) => Some(KeySpec::Rsa(bits)),
            (Self::Ecdsa, bits) => {
                let curve = Curve::ALL.into_iter().find(|curve| curve.bits() == bits);
                curve.map(KeySpec::Ec)
            }
            (Self::Ed25519, 256) => Some(KeySpec::Ed25519),
            (Self::MlDsa, 44) => Some(KeySpec::MlDsa44),
            (Self::MlDsa, 65) => Some(KeySpec::MlDsa65),
            (Self::MlDsa, 87) => Some(KeySpec::MlDsa87),
            (Self::Ed25519 | Self::MlDsa, _) => None,
        }
    }
}
