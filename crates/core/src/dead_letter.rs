//! Events that a reader could not handle, as whoever does not own the database asks for them: one
//! process writes an SQLite file, so others have it do what they want (`/internal/v1`).

use crate::error::{ErrorKind, ServiceError, StorageFailure};

/// Why nothing was done about an event that was set aside.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// None has this id; it may have been handled meanwhile.
    #[error("dead letter not found")]
    NotFound,
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl ServiceError for DeadLetterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Storage(failure) => failure.kind(),
        }
    }
}
