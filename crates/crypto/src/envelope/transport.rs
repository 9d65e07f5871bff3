//! A content key under RSA.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey,
    Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};

use super::SealError;
use crate::public_key::PublicKey;
use crate::spec::KeySpec;

/// How RSA takes a content key along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTransport {
    /// RSAES-PKCS1-v1_5.
    Pkcs1,
    /// RSAES-OAEP with SHA-1, which its parameters mean where they say nothing.
    OaepSha1,
    /// RSAES-OAEP with SHA-256.
    OaepSha256,
}

impl KeyTransport {
    pub(super) fn wrap(self, recipient: &PublicKey, key: &[u8]) -> Result<Vec<u8>, SealError> {
        let KeySpec::Rsa(_) = recipient.spec() else {
            return Err(SealError::Recipient);
        };
        let public = PublicEncryptingKey::from_der(recipient.spki_der())
            .map_err(|_| SealError::Recipient)?;
        let oaep = |algorithm: &'static OaepAlgorithm, public| {
            let public = OaepPublicEncryptingKey::new(public)?;
            let mut wrapped = vec![0; public.ciphertext_size()];
            public.encrypt(algorithm, key, &mut wrapped, None)?;
            Ok(wrapped)
        };
        let wrapped = match self {
            Self::Pkcs1 => Pkcs1PublicEncryptingKey::new(public).and_then(|public| {
                let mut wrapped = vec![0; public.ciphertext_size()];
                public.encrypt(key, &mut wrapped)?;
                Ok(wrapped)
            }),
            Self::OaepSha1 => oaep(&OAEP_SHA1_MGF1SHA1, public),
            Self::OaepSha256 => oaep(&OAEP_SHA256_MGF1SHA256, public),
        };
        wrapped.map_err(|_| SealError::Library)
    }
}
