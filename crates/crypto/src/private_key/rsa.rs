//! Signing with RSA.

use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};

use crate::error::SignError;
use crate::hash::HashAlgorithm;
use crate::scheme::{Message, SignatureScheme};

pub(super) fn sign(
    key: &RsaKeyPair,
    scheme: SignatureScheme,
    message: Message<'_>,
) -> Result<Vec<u8>, SignError> {
    let hash = scheme.hash().ok_or(SignError::WrongKey)?;
    let encoding = encoding(scheme).ok_or(SignError::VerifyOnly)?;
    let digest = message.digest(hash)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign_digest(encoding, &digest, &mut signature)
        .map_err(|_| SignError::Library)?;
    Ok(signature)
}

/// The schemes that are signed with; the others are verified only.
fn encoding(scheme: SignatureScheme) -> Option<&'static RsaSignatureEncoding> {
    match scheme {
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256) => Some(&RSA_PKCS1_SHA256),
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha384) => Some(&RSA_PKCS1_SHA384),
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha512) => Some(&RSA_PKCS1_SHA512),
        SignatureScheme::RsaPss(HashAlgorithm::Sha256) => Some(&RSA_PSS_SHA256),
        SignatureScheme::RsaPss(HashAlgorithm::Sha384) => Some(&RSA_PSS_SHA384),
        SignatureScheme::RsaPss(HashAlgorithm::Sha512) => Some(&RSA_PSS_SHA512),
        SignatureScheme::RsaPkcs1(HashAlgorithm::Sha1 | HashAlgorithm::Sha224)
        | SignatureScheme::RsaPss(HashAlgorithm::Sha1 | HashAlgorithm::Sha224)
        | SignatureScheme::RsaPssWith(_)
        | SignatureScheme::Ecdsa(_)
        | SignatureScheme::Ed25519
        | SignatureScheme::MlDsa44
        | SignatureScheme::MlDsa65
        | SignatureScheme::MlDsa87 => None,
    }
}
