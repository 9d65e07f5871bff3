//! Why the local issuer fails.

use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_db::{CommitError, DbError, MigrationError};

use crate::keys::JwksError;

/// Why the local issuer cannot do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The database cannot be brought up to date.
    #[error("the tables of the token issuer cannot be prepared")]
    Migration(#[from] MigrationError),
    /// The database does not answer, or not with keys.
    #[error("the keys of the token issuer cannot be read")]
    Read(#[from] DbError),
    /// The database does not take a new key.
    #[error("a key of the token issuer cannot be stored")]
    Store(#[from] CommitError),
    /// A key cannot be made.
    #[error("a key of the token issuer cannot be made")]
    Generate(#[source] lamassu_crypto::KeyError),
    /// A stored key is none.
    #[error("a stored key of the token issuer cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no key at all.
    #[error("the token issuer has no key")]
    NoKey,
    /// The token cannot be signed.
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The token would live longer than keys are kept, or not at all.
    #[error("a token lives between one second and 90 days")]
    Ttl,
}

impl ServiceError for IssuerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Ttl => ErrorKind::Invalid,
            Self::Read(error) => error.kind(),
            Self::Store(_) => ErrorKind::Unavailable,
            Self::Migration(_)
            | Self::Generate(_)
            | Self::Unusable(_)
            | Self::NoKey
            | Self::Sign(_) => ErrorKind::Internal,
        }
    }
}

impl From<JwksError> for IssuerError {
    fn from(error: JwksError) -> Self {
        Self::Unusable(Box::new(error))
    }
}
