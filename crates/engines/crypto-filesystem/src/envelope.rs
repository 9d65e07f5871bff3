//! The content of a key file: PKCS#8, clear or encrypted.
//!
//! ```text
//! EncryptedPrivateKeyInfo ::= SEQUENCE {          -- RFC 5958 §3
//!     encryptionAlgorithm  AlgorithmIdentifier,   -- PBES2, RFC 8018 §A.4
//!     encryptedData        OCTET STRING }
//! ```
//!
//! Deriving a key from the password is slow on purpose, so it is done once per salt: an engine
//! writes all its files with one salt, each with a random initialisation vector of its own. That
//! costs nothing in strength. The salt keeps two installations with one password apart; within
//! one, the files stand or fall together anyway.

use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{pbkdf2, rand};
use der::{Decode as _, Encode as _};
use lamassu_crypto::pem::{self, PemLabel, der_to_pem};
use lamassu_crypto::{KeyError, PrivateKey};
use moka::sync::Cache;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Prf};
use zeroize::Zeroizing;

use crate::config::KeySecret;

/// Rounds of PBKDF2 for new files: what OWASP asks of HMAC-SHA256.
const ITERATIONS: u32 = 600_000;

/// More rounds than this are refused: a planted file must not stop the engine for minutes.
const MAX_ITERATIONS: u32 = 10_000_000;

/// Keys derived with this many salts and round counts are remembered.
const DERIVED_CAPACITY: u64 = 64;

type DerivedKey = Zeroizing<[u8; 32]>;

/// Why content cannot be read or made. Which file it is, the caller knows.
#[derive(Debug)]
pub(crate) enum EnvelopeError {
    NoPassphrase,
    WrongPassphrase,
    UnsupportedEncryption,
    Key(KeyError),
    Encryption,
}

/// Whether content is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    Clear,
    Encrypted,
}

/// What content of a key file is, by its PEM label; `None` for what is no PEM.
pub(crate) fn protection(pem: &[u8]) -> Option<Protection> {
    let block = pem::blocks(pem).next()?;
    Some(if block.label() == Some(PemLabel::EncryptedPrivateKey) {
        Protection::Encrypted
    } else {
        Protection::Clear
    })
}

/// Reads and writes the content of key files.
pub(crate) enum Envelope {
    Clear,
    Encrypted(Box<Lock>),
}

impl Envelope {
    pub(crate) fn new(secret: Option<KeySecret>) -> Result<Self, EnvelopeError> {
        let Some(secret) = secret else {
            return Ok(Self::Clear);
        };
        let mut salt = [0; 16];
        rand::fill(&mut salt).map_err(|_| EnvelopeError::Encryption)?;
        Ok(Self::Encrypted(Box::new(Lock {
            secret,
            derivation: Derivation {
                salt: salt.into(),
                iterations: ITERATIONS,
            },
            derived: Cache::new(DERIVED_CAPACITY),
        })))
    }

    /// Whether new content is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// Writes new content as `existing`, which opens with this envelope, was written: with the
    /// same derived key.
    pub(crate) fn continue_from(&mut self, existing: &[u8]) {
        if let Self::Encrypted(lock) = self
            && let Ok(der) = decode_pem(existing)
            && let Ok(parsed) = parse(&der)
            && parsed.derivation.iterations >= ITERATIONS
        {
            lock.derivation = parsed.derivation;
        }
    }

    /// The content for `key`, in PEM.
    pub(crate) fn seal(&self, key: &PrivateKey) -> Result<Zeroizing<String>, EnvelopeError> {
        let clear = key.to_pkcs8_der().map_err(EnvelopeError::Key)?;
        let pem = match self {
            Self::Clear => der_to_pem(PemLabel::PrivateKey, &clear),
            Self::Encrypted(lock) => {
                der_to_pem(PemLabel::EncryptedPrivateKey, &lock.encrypt(&clear)?)
            }
        };
        Ok(Zeroizing::new(pem))
    }

    /// The key in `pem`. Clear content is read whatever is configured.
    pub(crate) fn open(&self, pem: &[u8]) -> Result<PrivateKey, EnvelopeError> {
        match (protection(pem), self) {
            (Some(Protection::Encrypted), Self::Encrypted(lock)) => {
                let clear = lock.decrypt(&decode_pem(pem)?)?;
                // One wrong password in 256 passes the padding; what comes out is then no key.
                PrivateKey::from_pkcs8_der(&clear).map_err(|error| match error {
                    KeyError::Malformed => EnvelopeError::WrongPassphrase,
                    other => EnvelopeError::Key(other),
                })
            }
            (Some(Protection::Encrypted), Self::Clear) => Err(EnvelopeError::NoPassphrase),
            (Some(Protection::Clear) | None, _) => {
                PrivateKey::from_pem(pem).map_err(EnvelopeError::Key)
            }
        }
    }
}

/// The configured secret, and what was derived from it.
pub(crate) struct Lock {
    secret: KeySecret,
    /// For new files.
    derivation: Derivation,
    derived: Cache<Derivation, Arc<DerivedKey>>,
}

/// What a key is derived with, beside the password.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Derivation {
    salt: Box<[u8]>,
    iterations: u32,
}

impl Lock {
    fn encrypt(&self, clear: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let failed = |_| EnvelopeError::Encryption;
        let mut iv = [0; 16];
        rand::fill(&mut iv).map_err(failed)?;
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(self.cipher_key(&self.derivation)?)
            .map_err(failed)?;
        // With room for the padding, so that no clear copy is left behind by growing.
        let mut data = Vec::with_capacity(clear.len().saturating_add(iv.len()));
        data.extend_from_slice(clear);
        key.less_safe_encrypt(&mut data, EncryptionContext::Iv128(FixedLength::from(iv)))
            .map_err(failed)?;
        encode(&self.derivation, iv, &data).map_err(|_| EnvelopeError::Encryption)
    }

    fn decrypt(&self, der: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let parsed = parse(der)?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(self.cipher_key(&parsed.derivation)?)
            .map_err(|_| EnvelopeError::Encryption)?;
        let mut data = Zeroizing::new(parsed.data.to_vec());
        let context = DecryptionContext::Iv128(FixedLength::from(parsed.iv));
        let n_clear = key
            .decrypt(&mut data, context)
            .map_err(|_| EnvelopeError::WrongPassphrase)?
            .len();
        data.truncate(n_clear);
        Ok(data)
    }

    fn cipher_key(&self, derivation: &Derivation) -> Result<UnboundCipherKey, EnvelopeError> {
        let iterations =
            NonZeroU32::new(derivation.iterations).ok_or(EnvelopeError::UnsupportedEncryption)?;
        let key = self.derived.get_with_by_ref(derivation, || {
            let mut key = Zeroizing::new([0; 32]);
            pbkdf2::derive(
                pbkdf2::PBKDF2_HMAC_SHA256,
                iterations,
                &derivation.salt,
                self.secret.password(),
                key.as_mut_slice(),
            );
            Arc::new(key)
        });
        UnboundCipherKey::new(&AES_256, key.as_slice()).map_err(|_| EnvelopeError::Encryption)
    }
}

struct Parsed<'a> {
    derivation: Derivation,
    iv: [u8; 16],
    data: &'a [u8],
}

fn decode_pem(pem: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    pem::blocks(pem)
        .next()
        .and_then(|block| block.der().ok())
        .ok_or(EnvelopeError::Key(KeyError::NoPemBlock))
}

fn parse(der: &[u8]) -> Result<Parsed<'_>, EnvelopeError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der)
        .map_err(|_| EnvelopeError::UnsupportedEncryption)?;
    let parameters = info
        .encryption_algorithm
        .pbes2()
        .ok_or(EnvelopeError::UnsupportedEncryption)?;
    let (Kdf::Pbkdf2(kdf), EncryptionScheme::Aes256Cbc { iv }) =
        (&parameters.kdf, &parameters.encryption)
    else {
        return Err(EnvelopeError::UnsupportedEncryption);
    };
    if kdf.prf != Pbkdf2Prf::HmacWithSha256 || !(1..=MAX_ITERATIONS).contains(&kdf.iteration_count)
    {
        return Err(EnvelopeError::UnsupportedEncryption);
    }
    Ok(Parsed {
        derivation: Derivation {
            salt: kdf.salt.as_bytes().into(),
            iterations: kdf.iteration_count,
        },
        iv: *iv,
        data: info.encrypted_data.as_bytes(),
    })
}

fn encode(derivation: &Derivation, iv: [u8; 16], data: &[u8]) -> Result<Vec<u8>, pkcs5::Error> {
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(derivation.iterations, &derivation.salt, iv)?;
    let info = EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(data).map_err(|_| pkcs5::Error::EncryptFailed)?,
    };
    info.to_der().map_err(|_| pkcs5::Error::EncryptFailed)
}
