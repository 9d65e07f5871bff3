//! Sealing content for the holder of an RSA key: AES-CBC under a fresh key, and that key under RSA
//! (the primitives of CMS EnvelopedData, RFC 5652 §6, RFC 3565, RFC 8017 §7).

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, EncryptionContext, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPublicEncryptingKey,
    Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use const_oid::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::public_key::PublicKey;
use crate::spec::KeySpec;

/// A cipher for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCipher {
    /// AES-128 in CBC mode.
    Aes128Cbc,
    /// AES-192 in CBC mode.
    Aes192Cbc,
    /// AES-256 in CBC mode.
    Aes256Cbc,
}

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

/// Why content was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's key is none of RSA, or one that the library does not encrypt for.
    #[error("the recipient's key cannot transport keys")]
    Recipient,
    /// The library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// Content that only the recipient can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The content key, encrypted for the recipient.
    pub encrypted_key: Vec<u8>,
    /// The initialisation vector.
    pub iv: [u8; 16],
    /// The content, padded and encrypted.
    pub encrypted_content: Vec<u8>,
}

impl ContentCipher {
    /// All of them, strongest first.
    pub const ALL: [Self; 3] = [Self::Aes256Cbc, Self::Aes192Cbc, Self::Aes128Cbc];

    /// Its name in CMS (RFC 3565 §4.1).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Aes128Cbc => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2"),
            Self::Aes192Cbc => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22"),
            Self::Aes256Cbc => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42"),
        }
    }

    fn provider(self) -> (&'static Algorithm, usize) {
        match self {
            Self::Aes128Cbc => (&AES_128, 16),
            Self::Aes192Cbc => (&AES_192, 24),
            Self::Aes256Cbc => (&AES_256, 32),
        }
    }

    /// Encrypts `content` under a fresh key, and that key for `recipient`.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn seal(
        self,
        content: &[u8],
        recipient: &PublicKey,
        transport: KeyTransport,
    ) -> Result<Sealed, SealError> {
        let library = |_| SealError::Library;
        let (algorithm, key_len) = self.provider();
        let mut key = Zeroizing::new(vec![0; key_len]);
        rand::fill(&mut key).map_err(library)?;
        let encrypted_key = transport.wrap(recipient, &key)?;
        let mut iv = [0; 16];
        rand::fill(&mut iv).map_err(library)?;
        let cipher = UnboundCipherKey::new(algorithm, &key)
            .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
            .map_err(library)?;
        // With room for the padding, so that no clear copy is left behind by growing.
        let mut encrypted_content = Vec::with_capacity(content.len().saturating_add(iv.len()));
        encrypted_content.extend_from_slice(content);
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        cipher
            .less_safe_encrypt(&mut encrypted_content, context)
            .map_err(library)?;
        Ok(Sealed {
            encrypted_key,
            iv,
            encrypted_content,
        })
    }
}

impl KeyTransport {
    fn wrap(self, recipient: &PublicKey, key: &[u8]) -> Result<Vec<u8>, SealError> {
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
