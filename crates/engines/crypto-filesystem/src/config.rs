//! Configuration of the engine, and the secret that its files are encrypted with.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::OpenError;

/// Options of an engine of type `filesystem`. At most one of the three secrets may be given;
/// without one, keys are stored in clear. Unknown members are refused: a misspelt secret must not
/// leave keys in clear.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesystemConfig {
    /// Id of the engine.
    pub id: String,
    /// Where the key files are. Created when missing; access by group and others is taken away.
    pub storage_directory: PathBuf,
    /// Free members, shown in the engine's description. Default: none.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Passphrase that the key files are encrypted with. Default: none.
    #[serde(default)]
    pub passphrase: Option<SecretString>,
    /// File that holds the passphrase; a line end behind it is not part of it. Default: none.
    #[serde(default)]
    pub passphrase_file: Option<PathBuf>,
    /// Key-encryption key: 32 random bytes as 64 hex digits. Default: none.
    #[serde(default)]
    pub key_encryption_key: Option<SecretString>,
}

impl FilesystemConfig {
    /// Checks what can be checked without reading anything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], one sentence.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.storage_directory.as_os_str().is_empty() {
            return Err(ConfigError::NoDirectory);
        }
        let n_secrets = usize::from(self.passphrase.is_some())
            + usize::from(self.passphrase_file.is_some())
            + usize::from(self.key_encryption_key.is_some());
        if n_secrets > 1 {
            return Err(ConfigError::SeveralSecrets);
        }
        if let Some(passphrase) = &self.passphrase {
            KeySecret::from_passphrase(passphrase)?;
        }
        if let Some(key) = &self.key_encryption_key {
            KeySecret::from_key_encryption_key(key)?;
        }
        Ok(())
    }

    /// The secret, read from its file where it is in one.
    pub(crate) fn secret(&self) -> Result<Option<KeySecret>, OpenError> {
        if let Some(passphrase) = &self.passphrase {
            return Ok(Some(KeySecret::from_passphrase(passphrase)?));
        }
        if let Some(key) = &self.key_encryption_key {
            return Ok(Some(KeySecret::from_key_encryption_key(key)?));
        }
        let Some(path) = &self.passphrase_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|cause| OpenError::PassphraseFile(path.clone(), cause))?;
        let passphrase = SecretString::from(text.trim_end_matches(['\r', '\n']));
        Ok(Some(KeySecret::from_passphrase(&passphrase)?))
    }
}

/// The password of the encrypted key files.
///
/// A passphrase is used as it is. A key-encryption key is used as its 64 lower-case hex digits,
/// so that there is one file format, and `openssl pkey -passin` opens the files of both kinds.
#[derive(Clone)]
pub struct KeySecret(SecretString);

impl KeySecret {
    /// A passphrase.
    ///
    /// # Errors
    ///
    /// [`ConfigError::EmptyPassphrase`].
    pub fn from_passphrase(passphrase: &SecretString) -> Result<Self, ConfigError> {
        if passphrase.expose_secret().is_empty() {
            return Err(ConfigError::EmptyPassphrase);
        }
        Ok(Self(passphrase.clone()))
    }

    /// A key-encryption key of 32 bytes, as hex digits of any case.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyEncryptionKey`] for anything else.
    pub fn from_key_encryption_key(hex_digits: &SecretString) -> Result<Self, ConfigError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(hex_digits.expose_secret(), bytes.as_mut_slice())
            .map_err(|_| ConfigError::KeyEncryptionKey)?;
        Ok(Self(SecretString::from(hex::encode(&bytes[..]))))
    }

    pub(crate) fn password(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret([redacted])")
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `storage_directory` is empty.
    #[error("storage_directory is empty")]
    NoDirectory,
    /// More than one secret.
    #[error("give one of passphrase, passphrase_file and key_encryption_key")]
    SeveralSecrets,
    /// The passphrase is the empty text.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The key-encryption key has another form.
    #[error("key_encryption_key must be 32 bytes as 64 hex digits")]
    KeyEncryptionKey,
}
