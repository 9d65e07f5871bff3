//! Refusals of key generation, of approvals and of channel binding.

use crate::error::ErrorKind;

/// Why no key was made for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeygenRefusal {
    /// The DMS does not offer it.
    #[error("server key generation not enabled")]
    Disabled,
    /// The DMS asks for a key that is not made here.
    #[error("unsupported key type {0}")]
    KeyType(String),
    /// As many keys are being made, or wait for it, as this process takes on.
    #[error("server key generation is busy")]
    Busy,
    /// The request names a symmetric key to encrypt with, and none is known here.
    #[error("private key cannot be encrypted: no symmetric key is shared with this server")]
    SymmetricKey,
    /// The request names a public key that is neither the client certificate's nor its own.
    #[error(
        "private key cannot be encrypted: AsymmetricDecryptKeyIdentifier names neither the key of the \
         client certificate nor that of the request"
    )]
    UnknownKey,
    /// Nothing can be encrypted for the named key.
    #[error(
        "private key cannot be encrypted: the named key is none of RSA, P-256, P-384 and P-521"
    )]
    UnfitKey,
    /// The request does not say what the device can open.
    #[error(
        "private key cannot be encrypted: SMIMECapabilities are missing, which name the ciphers that the \
         device can open"
    )]
    NoCapabilities,
    /// The device can open nothing that is known here.
    #[error("private key cannot be encrypted: SMIMECapabilities name neither AES-CBC nor AES-GCM")]
    NoCipher,
}

impl KeygenRefusal {
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::Disabled => ErrorKind::Forbidden,
            Self::KeyType(_) => ErrorKind::Internal,
            Self::Busy => ErrorKind::Unavailable,
            Self::SymmetricKey
            | Self::UnknownKey
            | Self::UnfitKey
            | Self::NoCapabilities
            | Self::NoCipher => ErrorKind::Invalid,
        }
    }

    pub(super) const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Disabled => Some("server_keygen_disabled"),
            Self::KeyType(_) => Some("dms_misconfigured"),
            Self::Busy => None,
            Self::SymmetricKey
            | Self::UnknownKey
            | Self::UnfitKey
            | Self::NoCapabilities
            | Self::NoCipher => Some("key_encryption_impossible"),
        }
    }
}

/// Why an enrollment that needs approval does not go on, or a decision was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefusal {
    /// No approval has this id.
    #[error("approval not found")]
    NotFound,
    /// It is decided already, or has expired.
    #[error("approval is not pending")]
    NotPending,
    /// Somebody denied it.
    #[error("enrollment was denied")]
    Denied,
    /// As many wait as the installation keeps.
    #[error("too many enrollments wait for approval")]
    QueueFull,
}

impl ApprovalRefusal {
    pub(super) const fn kind(self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::NotPending => ErrorKind::Conflict,
            Self::Denied => ErrorKind::Forbidden,
            Self::QueueFull => ErrorKind::Unavailable,
        }
    }

    pub(super) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Denied => Some("enrollment_denied"),
            Self::NotFound | Self::NotPending | Self::QueueFull => None,
        }
    }
}

/// Why a request is not taken for one of this very connection (RFC 7030 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelBindingRefusal {
    /// The DMS requires it, and the request has no challenge password.
    #[error("channel binding is required in the challengePassword")]
    Missing,
    /// The DMS requires it, and this connection has none: TLS 1.2, or a proxy in between.
    #[error("channel binding is required, and this connection has none")]
    Unavailable,
    /// It is another connection's.
    #[error("channel binding of the request is not that of the connection")]
    Mismatch,
}

impl ChannelBindingRefusal {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Missing => "channel_binding_missing",
            Self::Unavailable => "channel_binding_unavailable",
            Self::Mismatch => "channel_binding_mismatch",
        }
    }
}
