//! Why an engine did not do what it was asked.

use lamassu_crypto::{KeyError, KeySpec, SignError, SignatureScheme};

use crate::error::ErrorKind;

/// What an engine does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsupported {
    /// Keys of this kind and size.
    KeySpec(KeySpec),
    /// This signature scheme.
    Scheme(SignatureScheme),
    /// Taking foreign keys.
    Import,
    /// Giving private keys away.
    Export,
    /// Forgetting keys.
    Delete,
}

/// A cause that goes to the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No key has this handle.
    #[error("key not found")]
    KeyNotFound,
    /// A key has this handle already.
    #[error("a key of this name exists in the engine")]
    KeyExists,
    /// The key is there, but cannot be read.
    #[error("the key cannot be read from the engine")]
    KeyUnreadable(#[source] Cause),
    /// The key is there, and its owner does not let it sign.
    #[error("the key is disabled")]
    KeyDisabled,
    /// This engine does not do it.
    #[error("not supported by the engine")]
    Unsupported(Unsupported),
    /// The key or the scheme does not allow this signature.
    #[error("the key did not sign")]
    Sign(#[from] SignError),
    /// The key could not be made or encoded.
    #[error("the key could not be made")]
    Key(#[from] KeyError),
    /// Too many slow keys are being made; later it may work.
    #[error("too many keys are being generated")]
    Busy,
    /// The back end cannot be reached; later it may work.
    #[error("the engine is unavailable")]
    Unavailable(#[source] Cause),
    /// The back end was not reached, so nothing of what was asked has begun; later it may work.
    #[error("the engine is unavailable")]
    NotReached(#[source] Cause),
    /// The back end failed.
    #[error("the engine failed")]
    Failed(#[source] Cause),
}

impl EngineError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::KeyNotFound => ErrorKind::NotFound,
            Self::KeyExists
            | Self::KeyDisabled
            | Self::Unsupported(Unsupported::Import | Unsupported::Export | Unsupported::Delete) => {
                ErrorKind::Conflict
            }
            Self::Unsupported(Unsupported::KeySpec(_) | Unsupported::Scheme(_))
            | Self::Sign(
                SignError::WrongKey
                | SignError::VerifyOnly
                | SignError::DigestLength { .. }
                | SignError::RawOnly,
            ) => ErrorKind::Invalid,
            Self::Busy | Self::Unavailable(_) | Self::NotReached(_) => ErrorKind::Unavailable,
            Self::KeyUnreadable(_)
            | Self::Sign(SignError::Library)
            | Self::Key(_)
            | Self::Failed(_) => ErrorKind::Internal,
        }
    }
}
