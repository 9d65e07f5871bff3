//! Sealing content for the holder of a key: AES under a fresh content key, and that key under the
//! recipient's, by RSA or by agreement (the primitives of CMS EnvelopedData and AuthEnvelopedData, RFC 5652
//! §6, RFC 3565, RFC 5084, RFC 8017 §7, RFC 5753).
//!
//! Next: `envelope/transport.rs` for RSA, `envelope/agreement.rs` for elliptic curves.

mod agreement;
mod transport;

pub use agreement::{AgreementDigest, KeyAgreement, KeyWrap};
pub use transport::KeyTransport;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, EncryptionContext, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand;
use const_oid::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::public_key::PublicKey;

/// A cipher for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCipher {
    /// AES-128 in CBC mode.
    Aes128Cbc,
    /// AES-192 in CBC mode.
    Aes192Cbc,
    /// AES-256 in CBC mode.
    Aes256Cbc,
    /// AES-128 in GCM mode.
    Aes128Gcm,
    /// AES-192 in GCM mode.
    Aes192Gcm,
    /// AES-256 in GCM mode.
    Aes256Gcm,
}

/// How the recipient gets the content key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyManagement {
    /// Encrypted for its RSA key.
    Transport(KeyTransport),
    /// Wrapped under what its key on an elliptic curve and a fresh one agree on.
    Agreement(KeyAgreement),
}

/// Why content was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's key is of another kind, or one that the library does not encrypt for.
    #[error("the recipient's key does not fit")]
    Recipient,
    /// The library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// Content that only the recipient can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The content key, for the recipient.
    pub key: SealedKey,
    /// The initialisation vector of 16 octets (CBC), or the nonce of 12 (GCM).
    pub iv: Vec<u8>,
    /// The content, padded where the mode asks for that, and encrypted.
    pub encrypted_content: Vec<u8>,
    /// What authenticates the content, 16 octets; none in CBC mode.
    pub mac: Option<Vec<u8>>,
}

/// A content key, for the recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedKey {
    /// Encrypted for its RSA key.
    Transported {
        /// How.
        transport: KeyTransport,
        /// The content key, encrypted.
        encrypted: Vec<u8>,
    },
    /// Wrapped under what was agreed on.
    Agreed {
        /// How.
        agreement: KeyAgreement,
        /// The public half of the fresh key, a point in uncompressed form.
        originator: Vec<u8>,
        /// The content key, wrapped (RFC 3394).
        wrapped: Vec<u8>,
    },
}

impl ContentCipher {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Aes256Gcm,
        Self::Aes192Gcm,
        Self::Aes128Gcm,
        Self::Aes256Cbc,
        Self::Aes192Cbc,
        Self::Aes128Cbc,
    ];

    /// Its name in CMS (RFC 3565 §4.1, RFC 5084 §3.2).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Aes128Cbc => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2"),
            Self::Aes192Cbc => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22"),
            Self::Aes256Cbc => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42"),
            Self::Aes128Gcm => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.6"),
            Self::Aes192Gcm => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.26"),
            Self::Aes256Gcm => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.46"),
        }
    }

    /// The length of its keys in octets.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Cbc | Self::Aes128Gcm => 16,
            Self::Aes192Cbc | Self::Aes192Gcm => 24,
            Self::Aes256Cbc | Self::Aes256Gcm => 32,
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
        management: KeyManagement,
    ) -> Result<Sealed, SealError> {
        let mut key = Zeroizing::new(vec![0; self.key_len()]);
        rand::fill(&mut key).map_err(|_| SealError::Library)?;
        let sealed_key = match management {
            KeyManagement::Transport(transport) => SealedKey::Transported {
                transport,
                encrypted: transport.wrap(recipient, &key)?,
            },
            KeyManagement::Agreement(agreement) => agreement.wrap(recipient, &key)?,
        };
        let sealed = match self {
            Self::Aes128Cbc => cbc(&AES_128, &key, content),
            Self::Aes192Cbc => cbc(&AES_192, &key, content),
            Self::Aes256Cbc => cbc(&AES_256, &key, content),
            Self::Aes128Gcm => gcm(&aead::AES_128_GCM, &key, content),
            Self::Aes192Gcm => gcm(&aead::AES_192_GCM, &key, content),
            Self::Aes256Gcm => gcm(&aead::AES_256_GCM, &key, content),
        };
        let (iv, encrypted_content, mac) = sealed.map_err(|_| SealError::Library)?;
        Ok(Sealed {
            key: sealed_key,
            iv,
            encrypted_content,
            mac,
        })
    }
}

/// Initialisation vector, encrypted content, and what authenticates it.
type Encrypted = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

fn cbc(
    algorithm: &'static Algorithm,
    key: &[u8],
    content: &[u8],
) -> Result<Encrypted, aws_lc_rs::error::Unspecified> {
    let mut iv = [0; 16];
    rand::fill(&mut iv)?;
    let cipher = UnboundCipherKey::new(algorithm, key)?;
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(cipher)?;
    // With room for the padding, so that no clear copy is left behind by growing.
    let mut octets = Vec::with_capacity(content.len().saturating_add(iv.len()));
    octets.extend_from_slice(content);
    cipher.less_safe_encrypt(&mut octets, EncryptionContext::Iv128(FixedLength::from(iv)))?;
    Ok((iv.to_vec(), octets, None))
}

fn gcm(
    algorithm: &'static aead::Algorithm,
    key: &[u8],
    content: &[u8],
) -> Result<Encrypted, aws_lc_rs::error::Unspecified> {
    // The key is used once, so any nonce will do.
    let mut nonce = [0; aead::NONCE_LEN];
    rand::fill(&mut nonce)?;
    let cipher = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
    let mut octets = content.to_vec();
    let mac = cipher.seal_in_place_separate_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::empty(),
        &mut octets,
    )?;
    Ok((nonce.to_vec(), octets, Some(mac.as_ref().to_vec())))
}
