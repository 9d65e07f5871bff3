//! The wire's names of key types, and which signature algorithms fit them.

use lamassu_core::kms::algorithm::scheme_of;
use lamassu_core::kms::{KmsError, SignMessage};
use lamassu_crypto::{Curve, KeySpec, Message, PublicKey, SignatureScheme};

/// A kind of key, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Rsa,
    Ecdsa,
    Ed25519,
    MlDsa,
}

impl KeyType {
    pub(crate) const ALL: [Self; 4] = [Self::Rsa, Self::Ecdsa, Self::Ed25519, Self::MlDsa];

    /// All words.
    pub(crate) const NAMES: &'static [&'static str] = &[
        Self::Rsa.as_str(),
        Self::Ecdsa.as_str(),
        Self::Ed25519.as_str(),
        Self::MlDsa.as_str(),
    ];

    /// The wire's word; matched with case.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ecdsa => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa => "ML-DSA",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    pub(crate) const fn of(spec: KeySpec) -> Self {
        match spec {
            KeySpec::Rsa(_) => Self::Rsa,
            KeySpec::Ec(_) => Self::Ecdsa,
            KeySpec::Ed25519 => Self::Ed25519,
            KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => Self::MlDsa,
        }
    }

    /// The key of this kind and size, if there is such a size.
    pub(crate) fn with_size(self, bits: u32) -> Option<KeySpec> {
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

/// The scheme of this name, provided that a key of this kind can use it: a signature of another
/// family than the one asked for would be taken for what it is not.
pub(crate) fn scheme_for(name: &str, spec: KeySpec) -> Result<SignatureScheme, KmsError> {
    let scheme = scheme_of(name).ok_or(KmsError::UnsupportedAlgorithm)?;
    let fits = match scheme {
        SignatureScheme::RsaPkcs1(_)
        | SignatureScheme::RsaPss(_)
        | SignatureScheme::RsaPssWith(_) => match KeyType::of(spec) {
            KeyType::Rsa => true,
            KeyType::Ecdsa | KeyType::Ed25519 | KeyType::MlDsa => return Err(KmsError::NotRsaKey),
        },
        SignatureScheme::Ecdsa(_) => match KeyType::of(spec) {
            KeyType::Ecdsa => true,
            KeyType::Rsa | KeyType::Ed25519 | KeyType::MlDsa => return Err(KmsError::NotEcdsaKey),
        },
        SignatureScheme::Ed25519 => spec == KeySpec::Ed25519,
        SignatureScheme::MlDsa44 => spec == KeySpec::MlDsa44,
        SignatureScheme::MlDsa65 => spec == KeySpec::MlDsa65,
        SignatureScheme::MlDsa87 => spec == KeySpec::MlDsa87,
    };
    if fits {
        Ok(scheme)
    } else {
        Err(KmsError::UnsupportedAlgorithm)
    }
}

/// What a client asks to be signed or verified, checked against the key.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) scheme: SignatureScheme,
    pub(crate) message: Message<'a>,
}

impl<'a> Question<'a> {
    /// Checks, in this order: algorithm, key, message type, length of a digest.
    pub(crate) fn parse(asked: &'a SignMessage, key: &PublicKey) -> Result<Self, KmsError> {
        let scheme = scheme_for(&asked.algorithm, key.spec())?;
        let message_type = asked.message_type.as_str();
        if message_type.eq_ignore_ascii_case("raw") {
            let message = Message::Raw(&asked.message);
            return Ok(Self { scheme, message });
        }
        let is_digest = ["hash", "digest"]
            .iter()
            .any(|known| message_type.eq_ignore_ascii_case(known));
        match scheme.hash() {
            Some(hash) if is_digest => {
                if asked.message.len() != hash.output_len() {
                    return Err(KmsError::DigestSize);
                }
                let message = Message::Digest(&asked.message);
                Ok(Self { scheme, message })
            }
            // Ed25519 and ML-DSA take messages only.
            Some(_) | None => Err(KmsError::MessageType(asked.message_type.clone())),
        }
    }
}
