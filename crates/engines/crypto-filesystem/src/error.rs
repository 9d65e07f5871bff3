//! What can go wrong with the directory and its files. Paths are shown: operators need them.

use std::io;
use std::path::PathBuf;

use lamassu_core::crypto_engine::EngineError;
use lamassu_crypto::KeyError;

use crate::config::ConfigError;

/// Why the engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot be used.
    #[error("the configuration of the filesystem engine cannot be used")]
    Config(#[from] ConfigError),
    /// The file with the passphrase cannot be read.
    #[error("the passphrase file {} cannot be read", .0.display())]
    PassphraseFile(PathBuf, #[source] io::Error),
    /// The directory cannot be created, read or written.
    #[error("the key directory {} cannot be used", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// Group or others may enter the directory, and that cannot be changed.
    #[error("the key directory {} is open to other users and cannot be closed", .0.display())]
    Permissions(PathBuf, #[source] io::Error),
    /// A key in the directory cannot be read with this configuration.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// No such file.
    #[error("the key file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// A file of this name exists.
    #[error("the key file {} exists already", .0.display())]
    Exists(PathBuf),
    /// The operating system refused.
    #[error("the key file {} cannot be accessed", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// The file does not open with the configured passphrase or key, or is damaged.
    #[error("the key file {} cannot be read with the configured passphrase", .0.display())]
    WrongPassphrase(PathBuf),
    /// The file is encrypted, the configuration has no secret.
    #[error("the key file {} is encrypted and no passphrase is configured", .0.display())]
    NoPassphrase(PathBuf),
    /// The file is encrypted in a way that is not read here.
    #[error("the key file {} is encrypted with algorithms that are not supported", .0.display())]
    UnsupportedEncryption(PathBuf),
    /// The file holds no private key that can be used.
    #[error("the key file {} holds no usable private key", .0.display())]
    Key(PathBuf, #[source] KeyError),
    /// The cryptographic library failed to encrypt.
    #[error("the key file {} cannot be encrypted", .0.display())]
    Encryption(PathBuf),
}

impl From<KeyFileError> for EngineError {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::Missing(_) => Self::KeyNotFound,
            KeyFileError::Exists(_) => Self::KeyExists,
            // Passes by itself, once somebody has made room.
            KeyFileError::Io(_, ref cause) if is_full(cause) => Self::Unavailable(error.into()),
            KeyFileError::Io(..) | KeyFileError::Encryption(_) => Self::Failed(error.into()),
            KeyFileError::WrongPassphrase(_)
            | KeyFileError::NoPassphrase(_)
            | KeyFileError::UnsupportedEncryption(_)
            | KeyFileError::Key(..) => Self::KeyUnreadable(error.into()),
        }
    }
}

/// Whether the disk is full, or full for us.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
