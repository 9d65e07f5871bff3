//! Which signature algorithms fit which keys.

use lamassu_core::kms::algorithm::{message_of, scheme_of};
use lamassu_core::kms::{KeyType, KmsError, SignMessage};
use lamassu_crypto::{KeySpec, Message, PublicKey, SignatureScheme};

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
        let message = message_of(scheme, &asked.message_type, &asked.message)?;
        Ok(Self { scheme, message })
    }
}
