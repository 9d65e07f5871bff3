//! Which keys a profile lets certify.

use lamassu_crypto::KeySpec;

/// Which keys may be certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPolicy {
    /// Any key that can be read.
    Any,
    /// Only what the rule of its kind allows.
    Enforced {
        /// RSA, by bits of the modulus.
        rsa: SizeRule,
        /// ECDSA, by bits of the field.
        ecdsa: SizeRule,
        /// Ed25519, whose only size is 256.
        ed25519: SizeRule,
        /// ML-DSA, by the number of its parameter set: 44, 65 or 87.
        ml_dsa: SizeRule,
    },
}

/// Which sizes of one kind of key are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SizeRule {
    /// None.
    Forbidden,
    /// All.
    AnySize,
    /// These; an empty list allows none.
    OneOf(Vec<u32>),
}

/// Why a key may not be certified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyPolicyError {
    /// Keys of this kind are forbidden.
    #[error("public key is {0}, but issuance profile does not allow {0} keys")]
    KindForbidden(&'static str),
    /// Keys of this kind are allowed, but not in this size.
    #[error(
        "public key uses {kind} key with size {bits}, but issuance profile does not allow this key size"
    )]
    SizeForbidden {
        /// The kind of key.
        kind: &'static str,
        /// Its size as [`KeySpec::bits`] gives it.
        bits: u32,
    },
}

impl KeyPolicy {
    /// Whether a key of this kind and size may be certified.
    ///
    /// # Errors
    ///
    /// [`KeyPolicyError`] when it may not.
    pub fn check(&self, key: KeySpec) -> Result<(), KeyPolicyError> {
        let Self::Enforced {
            rsa,
            ecdsa,
            ed25519,
            ml_dsa,
        } = self
        else {
            return Ok(());
        };
        let (kind, rule) = match key {
            KeySpec::Rsa(_) => ("RSA", rsa),
            KeySpec::Ec(_) => ("ECDSA", ecdsa),
            KeySpec::Ed25519 => ("Ed25519", ed25519),
            KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => ("ML-DSA", ml_dsa),
        };
        let bits = key.bits();
        match rule {
            SizeRule::Forbidden => Err(KeyPolicyError::KindForbidden(kind)),
            SizeRule::AnySize => Ok(()),
            SizeRule::OneOf(sizes) if sizes.contains(&bits) => Ok(()),
            SizeRule::OneOf(_) => Err(KeyPolicyError::SizeForbidden { kind, bits }),
        }
    }
}
