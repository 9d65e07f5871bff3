//! The wire's names of signature schemes and of what they sign.

use lamassu_crypto::{HashAlgorithm, KeySpec, Message, SignatureScheme};

use super::KmsError;

/// Every name. A key type is none of them, and there is no default.
const ALGORITHMS: [(&str, SignatureScheme); 13] = [
    (
        "RSASSA_PKCS1_V1_5_SHA_256",
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256),
    ),
    (
        "RSASSA_PKCS1_V1_5_SHA_384",
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha384),
    ),
    (
        "RSASSA_PKCS1_V1_5_SHA_512",
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha512),
    ),
    (
        "RSASSA_PSS_SHA_256",
        SignatureScheme::RsaPss(HashAlgorithm::Sha256),
    ),
    (
        "RSASSA_PSS_SHA_384",
        SignatureScheme::RsaPss(HashAlgorithm::Sha384),
    ),
    (
        "RSASSA_PSS_SHA_512",
        SignatureScheme::RsaPss(HashAlgorithm::Sha512),
    ),
    (
        "ECDSA_SHA_256",
        SignatureScheme::Ecdsa(HashAlgorithm::Sha256),
    ),
    (
        "ECDSA_SHA_384",
        SignatureScheme::Ecdsa(HashAlgorithm::Sha384),
    ),
    (
        "ECDSA_SHA_512",
        SignatureScheme::Ecdsa(HashAlgorithm::Sha512),
    ),
    ("ED25519", SignatureScheme::Ed25519),
    ("ML_DSA_44", SignatureScheme::MlDsa44),
    ("ML_DSA_65", SignatureScheme::MlDsa65),
    ("ML_DSA_87", SignatureScheme::MlDsa87),
];

/// The scheme of this name.
pub fn scheme_of(name: &str) -> Option<SignatureScheme> {
    let found = ALGORITHMS.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, scheme)| scheme)
}

/// The name of a scheme; `None` for those that are never signed with.
pub fn name_of(scheme: SignatureScheme) -> Option<&'static str> {
    let found = ALGORITHMS.into_iter().find(|(_, known)| *known == scheme);
    found.map(|(name, _)| name)
}

/// The names of the schemes that a key of this kind signs with.
pub fn names_for(key: KeySpec) -> impl Iterator<Item = &'static str> {
    let fits = move |scheme: SignatureScheme| match scheme {
        SignatureScheme::RsaPkcs1(_)
        | SignatureScheme::RsaPss(_)
        | SignatureScheme::RsaPssWith(_) => matches!(key, KeySpec::Rsa(_)),
        SignatureScheme::Ecdsa(_) => matches!(key, KeySpec::Ec(_)),
        SignatureScheme::Ed25519 => key == KeySpec::Ed25519,
        SignatureScheme::MlDsa44 => key == KeySpec::MlDsa44,
        SignatureScheme::MlDsa65 => key == KeySpec::MlDsa65,
        SignatureScheme::MlDsa87 => key == KeySpec::MlDsa87,
    };
    let fitting = ALGORITHMS
        .into_iter()
        .filter(move |(_, scheme)| fits(*scheme));
    fitting.map(|(name, _)| name)
}

/// What is signed or verified by a scheme, as the words of the wire mean it.
///
/// # Errors
///
/// [`KmsError::MessageType`] for a word that is none, or that the scheme does not have: Ed25519 and ML-DSA take
/// messages only. [`KmsError::DigestSize`] for a digest of another length than the scheme's.
pub fn message_of<'a>(
    scheme: SignatureScheme,
    message_type: &str,
    message: &'a [u8],
) -> Result<Message<'a>, KmsError> {
    let is = |word: &str| message_type.eq_ignore_ascii_case(word);
    if is("raw") {
        return Ok(Message::Raw(message));
    }
    match scheme.hash() {
        Some(hash) if is("hash") || is("digest") => {
            if message.len() != hash.output_len() {
                return Err(KmsError::DigestSize);
            }
            Ok(Message::Digest(message))
        }
        Some(_) | None => Err(KmsError::MessageType(message_type.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{ALGORITHMS, name_of, scheme_of};

    #[test]
    fn names_and_schemes_are_one_to_one() {
        for (name, scheme) in ALGORITHMS {
            assert_eq!(scheme_of(name), Some(scheme));
            assert_eq!(name_of(scheme), Some(name));
        }
        assert_eq!(scheme_of("RSA"), None);
    }
}
