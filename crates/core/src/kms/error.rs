//! Why the KMS refused.

use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::patch::PatchError;

/// Why the KMS refused.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// A required member is missing.
    #[error("struct validation error")]
    Validation,
    /// No key has this id, alias or URI.
    #[error("key not found")]
    KeyNotFound,
    /// A `pkcs11:` URI lacks `token-id`, `id` or `type`.
    #[error("invalid id format: missing required fields")]
    InvalidUri,
    /// No engine has this id.
    #[error("crypto engine not found")]
    EngineNotFound,
    /// The engine that holds the key is not configured.
    #[error("engine not found")]
    KeyEngineMissing,
    /// The engine of this id is configured and did not open; later it may work.
    #[error("crypto engine {0} did not open")]
    EngineNotOpened(String),
    /// The engine does not take this key type.
    #[error("key type {key_type} is not supported in engine {provider}")]
    KeyTypeUnsupported {
        /// As sent.
        key_type: String,
        /// Provider text of the engine.
        provider: String,
    },
    /// The engine does not take this size.
    #[error("key size {size} is not supported for key type {key_type} in engine {provider}")]
    KeySizeUnsupported {
        /// As sent.
        size: u32,
        /// As sent.
        key_type: String,
        /// Provider text of the engine.
        provider: String,
    },
    /// The algorithm is none of the names of the wire, or not one for this key.
    #[error("unsupported algorithm")]
    UnsupportedAlgorithm,
    /// An RSA algorithm for a key that is not RSA.
    #[error("key is not RSA key")]
    NotRsaKey,
    /// An ECDSA algorithm for a key that is not ECDSA.
    #[error("key is not ECDSA key")]
    NotEcdsaKey,
    /// `message_type` is neither `raw` nor `hash` nor `digest`.
    #[error("unsupported message type: {0}")]
    MessageType(String),
    /// The key shall be called something longer than [`MAX_NAME_OCTETS`](super::MAX_NAME_OCTETS).
    #[error("name is longer than {} octets", super::MAX_NAME_OCTETS)]
    NameTooLong,
    /// A patch of the metadata cannot be read or applied.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// A patch of the aliases cannot be read or applied; the text says which operation and why.
    #[error("failed to apply patches to aliases: {0}")]
    AliasPatch(String),
    /// An alias that a patch sets is no text.
    #[error("invalid alias value type")]
    AliasType,
    /// A key has the alias that a patch sets, perhaps this one.
    #[error("duplicate alias found")]
    AliasExists,
    /// The member `private_key` is missing or empty.
    #[error("private key is required")]
    PrivateKeyRequired,
    /// The private key is of a kind that no engine knows.
    #[error("tls: found unknown private key type in PKCS#8 wrapping")]
    PrivateKeyType,
    /// It is no private key, is encrypted, or its values do not belong together.
    #[error("tls: failed to parse private key")]
    PrivateKeyUnreadable,
    /// The engine did not take the private key.
    #[error("failed to import private key")]
    ImportFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is a key with this public half, perhaps in another engine.
    #[error("key already exists")]
    KeyExists,
    /// The key is being imported, moved or destroyed by somebody else, or was when that ended;
    /// later it is known.
    #[error("the key is being imported, moved or deleted")]
    KeyUnsettled,
    /// The key was disabled.
    #[error("key is disabled")]
    KeyDisabled,
    /// The digest is not as long as the hash of the algorithm.
    #[error("invalid digest size")]
    DigestSize,
    /// Live certificates use the key.
    #[error("key is in use by certificates and cannot be deleted")]
    KeyInUse,
    /// A request for a CA was made with the key, and its answer is not here yet.
    #[error("key belongs to a pending CA request and cannot be deleted")]
    KeyRequested,
    /// A list parameter is wrong.
    #[error(transparent)]
    Query(#[from] crate::query::QueryError),
    /// More keys are being generated than the queue holds.
    #[error("key generation queue is full")]
    Busy,
    /// The engine cannot do it at all.
    #[error("operation not supported by crypto engine {0}")]
    EngineUnsupported(String),
    /// The engine does not give the private key: it is gone, or cannot be read.
    #[error("could not get signing key")]
    SigningKey(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine cannot be reached; later it may work.
    #[error("crypto engine unavailable")]
    EngineUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine did not do it.
    #[error("crypto engine failure")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl ServiceError for KmsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation
            | Self::InvalidUri
            | Self::EngineNotFound
            | Self::KeyTypeUnsupported { .. }
            | Self::KeySizeUnsupported { .. }
            | Self::UnsupportedAlgorithm
            | Self::NotRsaKey
            | Self::NotEcdsaKey
            | Self::MessageType(_)
            | Self::NameTooLong
            | Self::AliasPatch(_)
            | Self::AliasType
            | Self::PrivateKeyRequired
            | Self::PrivateKeyType
            | Self::PrivateKeyUnreadable
            | Self::DigestSize
            | Self::Query(_) => ErrorKind::Invalid,
            Self::KeyNotFound => ErrorKind::NotFound,
            Self::KeyInUse
            | Self::KeyRequested
            | Self::AliasExists
            | Self::KeyExists
            | Self::KeyDisabled
            | Self::EngineUnsupported(_) => ErrorKind::Conflict,
            Self::Busy
            | Self::KeyUnsettled
            | Self::EngineNotOpened(_)
            | Self::EngineUnavailable(_) => ErrorKind::Unavailable,
            Self::KeyEngineMissing
            | Self::ImportFailed(_)
            | Self::SigningKey(_)
            | Self::Engine(_) => ErrorKind::Internal,
            Self::Patch(error) => error.kind(),
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Query(error) => error.code(),
            Self::Patch(error) => error.code(),
            Self::AliasPatch(_) => Some("patch_failed"),
            _ => None,
        }
    }
}
