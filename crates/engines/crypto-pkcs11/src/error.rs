//! What can go wrong with a module, its token and the keys in it.

use std::io;
use std::path::{Path, PathBuf};

use cryptoki::error::{Error as CallError, RvError};
use lamassu_core::crypto_engine::{EngineError, Unsupported};
use lamassu_crypto::{KeyError, KeySpec, SignError};

use crate::config::ConfigError;
use crate::module::Lost;

/// Why the engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration cannot be used.
    #[error("the configuration of the PKCS#11 engine cannot be used")]
    Config(#[from] ConfigError),
    /// The file with the PIN cannot be read.
    #[error("the PIN file {} cannot be read", .0.display())]
    PinFile(PathBuf, #[source] io::Error),
    /// The environment variable with the PIN does not exist.
    #[error("the environment variable {0}, which holds the PIN, is not set")]
    PinVariable(String),
    /// The module is no PKCS#11 library.
    #[error("the PKCS#11 module {} cannot be loaded", .0.display())]
    Module(PathBuf, #[source] CallError),
    /// The module is in use already, under a path that does not tell that it is the same.
    #[error("the PKCS#11 module {} is in use under another path: name it alike everywhere", .0.display())]
    ModuleInUse(PathBuf),
    /// A thread for a session cannot be started.
    #[error("no thread for a session of the token")]
    Thread(#[source] io::Error),
    /// The token does not work.
    #[error("the token cannot be used")]
    Token(#[from] Pkcs11Error),
}

impl ConnectError {
    /// Tells apart that somebody else has initialised the module.
    pub(crate) fn of_module(self, path: &Path) -> Self {
        match self {
            Self::Token(error) if error.rv() == Some(RvError::CryptokiAlreadyInitialized) => {
                Self::ModuleInUse(path.to_owned())
            }
            other => other,
        }
    }
}

/// Why a call did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum Pkcs11Error {
    /// The module refused or failed.
    #[error("the PKCS#11 module failed")]
    Call(#[from] CallError),
    /// The module is not initialised.
    #[error("the PKCS#11 module is not initialised")]
    NotInitialised,
    /// The token has forgotten the login.
    #[error("the session is not logged in any more")]
    NotLoggedIn,
    /// No slot has this token.
    #[error("no token is labelled {0:?}")]
    TokenNotFound(String),
    /// Several tokens have this label.
    #[error("several tokens are labelled {0:?}: choose one by token_serial")]
    SeveralTokens(String),
    /// The token did not take the PIN. It is not asked again: it might lock itself.
    #[error("the token refused the PIN; it is not tried again before the next start")]
    PinRefused(#[source] Option<CallError>),
    /// The token did not answer in time.
    #[error("the token did not answer in time")]
    Timeout,
    /// A key of this name is still being made.
    #[error("the key is still being made")]
    BeingMade,
    /// Too many calls wait.
    #[error("too many calls wait for the token")]
    Overloaded,
    /// The module does not come back from a call, so it cannot be initialised again.
    #[error("a call into the PKCS#11 module does not return")]
    Stuck,
    /// The threads of the engine have ended.
    #[error("the engine has stopped")]
    Stopped,
    /// No private key has this name.
    #[error("the token has no such private key")]
    KeyNotFound,
    /// A private key has this name.
    #[error("the token has a private key of this name")]
    KeyExists,
    /// Several private or public keys have this name.
    #[error("the token has several keys of this name")]
    SeveralKeys,
    /// The public half is missing.
    #[error("the token has no public half of this key")]
    NoPublicHalf,
    /// The halves are of different keys, or not of the key that was here before.
    #[error("the token holds another key under this name")]
    OtherKey,
    /// An attribute of a key is missing or malformed.
    #[error("the key's attribute {0} is missing or cannot be read")]
    Attribute(&'static str),
    /// The public half is of a kind that is not supported.
    #[error("the public half cannot be used")]
    PublicHalf(#[source] KeyError),
    /// The private key to be imported cannot be taken apart.
    #[error("the private key cannot be encoded for the token")]
    Encoding,
    /// The token does not make or take this kind of key.
    #[error("the token does not make or take such keys")]
    KeySpec(KeySpec),
    /// The token takes no foreign keys.
    #[error("the token takes no foreign keys")]
    Import(#[source] CallError),
    /// The signature makes no sense for the key.
    #[error("the key did not sign")]
    Sign(#[from] SignError),
    /// The signature that came back has a wrong form.
    #[error("the token gave a malformed signature")]
    Signature,
}

impl Pkcs11Error {
    /// The module's answer, where it is one.
    pub(crate) fn rv(&self) -> Option<RvError> {
        match self {
            Self::Call(CallError::Pkcs11(rv, _)) => Some(*rv),
            _ => None,
        }
    }

    /// Whether a new session may help: it, the login, the token or the module is gone, or in a state
    /// that nobody can know.
    pub(crate) fn loses_session(&self) -> bool {
        if matches!(
            self,
            Self::NotInitialised | Self::NotLoggedIn | Self::TokenNotFound(_)
        ) {
            return true;
        }
        matches!(self, Self::Call(cause) if Self::is_loss(cause))
    }

    /// The module's answers of that kind.
    pub(crate) fn is_loss(cause: &CallError) -> bool {
        let CallError::Pkcs11(rv, _) = cause else {
            return false;
        };
        matches!(
            rv,
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::DeviceError
                | RvError::DeviceRemoved
                | RvError::DeviceMemory
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::SlotIdInvalid
                | RvError::CryptokiNotInitialized
                | RvError::GeneralError
                | RvError::FunctionFailed
                | RvError::FunctionCanceled
                | RvError::OperationActive
                | RvError::HostMemory
                | RvError::VendorDefined(_)
                | RvError::UnknownErrorCode(_)
        )
    }

    /// Whether everybody's module is gone by this, or only one engine's token for all that is known.
    pub(crate) fn lost(&self) -> Lost {
        match (self, self.rv()) {
            (Self::NotInitialised, _) | (_, Some(RvError::CryptokiNotInitialized)) => Lost::Module,
            _ => Lost::Token,
        }
    }

    /// Whether the token says that the object is gone.
    pub(crate) fn loses_object(&self) -> bool {
        matches!(
            self.rv(),
            Some(RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid)
        )
    }
}

impl From<Pkcs11Error> for EngineError {
    fn from(error: Pkcs11Error) -> Self {
        match error {
            Pkcs11Error::KeyNotFound => Self::KeyNotFound,
            Pkcs11Error::KeyExists => Self::KeyExists,
            Pkcs11Error::Sign(error) => Self::Sign(error),
            Pkcs11Error::KeySpec(spec) => Self::Unsupported(Unsupported::KeySpec(spec)),
            Pkcs11Error::Import(ref cause) => {
                tracing::warn!(
                    error = cause as &(dyn std::error::Error + 'static),
                    "import refused by the token"
                );
                Self::Unsupported(Unsupported::Import)
            }
            Pkcs11Error::SeveralKeys
            | Pkcs11Error::NoPublicHalf
            | Pkcs11Error::OtherKey
            | Pkcs11Error::Attribute(_)
            | Pkcs11Error::PublicHalf(_) => Self::KeyUnreadable(error.into()),
            Pkcs11Error::NotInitialised
            | Pkcs11Error::NotLoggedIn
            | Pkcs11Error::TokenNotFound(_)
            | Pkcs11Error::PinRefused(_)
            | Pkcs11Error::Timeout
            | Pkcs11Error::BeingMade
            | Pkcs11Error::Overloaded
            | Pkcs11Error::Stuck
            | Pkcs11Error::Stopped => Self::Unavailable(error.into()),
            Pkcs11Error::Call(_) if error.loses_session() => Self::Unavailable(error.into()),
            Pkcs11Error::Call(_)
            | Pkcs11Error::SeveralTokens(_)
            | Pkcs11Error::Encoding
            | Pkcs11Error::Signature => Self::Failed(error.into()),
        }
    }
}
