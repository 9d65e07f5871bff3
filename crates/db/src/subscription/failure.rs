//! How a handler fails and how often it is asked again.

use std::sync::Arc;
use std::time::Duration;

use lamassu_core::error::{ErrorKind, ServiceError, StorageFailure};

use crate::error::{Cause, CommitError, DbError};

/// Why a handler has no effect to offer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandlerError {
    /// Something that it needs is down or overloaded: the event itself may be fine.
    #[error("a dependency of the event handler is unavailable")]
    Unavailable(#[source] Cause),
    /// The event cannot be handled.
    #[error("the event handler failed")]
    Failed(#[source] Cause),
}

impl HandlerError {
    /// The event cannot be handled, because of `cause`.
    pub fn failed(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Arc::new(cause))
    }

    /// A service that the handler calls answered with an error.
    pub fn from_service(error: impl ServiceError) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::GatewayTimeout => {
                Self::Unavailable(Arc::new(error))
            }
            ErrorKind::Invalid
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::RequestTimeout
            | ErrorKind::Conflict
            | ErrorKind::TooLarge
            | ErrorKind::UnsupportedMediaType
            | ErrorKind::Unprocessable
            | ErrorKind::Internal
            | ErrorKind::MethodNotAllowed
            | ErrorKind::PreconditionFailed
            | ErrorKind::BadGateway => Self::Failed(Arc::new(error)),
        }
    }

    fn by_kind(kind: ErrorKind, cause: Cause) -> Self {
        if kind == ErrorKind::Unavailable {
            Self::Unavailable(cause)
        } else {
            Self::Failed(cause)
        }
    }

    /// The whole chain of causes in one line, for logs and dead letters.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl From<DbError> for HandlerError {
    fn from(error: DbError) -> Self {
        Self::by_kind(error.kind(), Arc::new(error))
    }
}

impl From<CommitError> for HandlerError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unmet { .. } | CommitError::Conflict { .. } => {
                Self::Failed(Arc::new(error))
            }
            CommitError::OutcomeUnknown(_) => Self::Unavailable(Arc::new(error)),
            CommitError::Db(error) => error.into(),
        }
    }
}

impl From<StorageFailure> for HandlerError {
    fn from(error: StorageFailure) -> Self {
        Self::by_kind(error.kind(), Arc::new(error))
    }
}

impl From<serde_json::Error> for HandlerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// How often and how soon a failed event is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all before an event that fails is set aside.
    pub attempts: u32,
    /// Attempts in all before an event is set aside because a dependency stays unavailable.
    pub unavailable_attempts: u32,
    /// Pause after the first failure; each next one is three times as long.
    pub first_delay: Duration,
    /// Longest pause.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts within three seconds; half an hour for dependencies that are down.
    fn default() -> Self {
        Self {
            attempts: 4,
            unavailable_attempts: 64,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// The pause after so many failures (from 1).
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let factor = 3_u32.saturating_pow(failures.saturating_sub(1));
        self.first_delay.saturating_mul(factor).min(self.max_delay)
    }

    pub(crate) const fn gives_up(&self, failures: u32, error: &HandlerError) -> bool {
        match error {
            HandlerError::Unavailable(_) => failures >= self.unavailable_attempts,
            HandlerError::Failed(_) => failures >= self.attempts,
        }
    }
}
