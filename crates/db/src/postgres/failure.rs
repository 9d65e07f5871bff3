//! What PostgreSQL's error codes mean to callers.

use std::sync::Arc;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::error::{CommitError, DbError};
use crate::write_set::Check;

/// Whether the connection is of no further use: it broke, the server ends or does not take writes.
pub(super) fn is_gone(error: &Error) -> bool {
    let Some(state) = error.code() else {
        return error.is_closed() || is_io(error);
    };
    let code = state.code();
    code.starts_with("08")
        || code.starts_with("57P")
        || matches!(
            *state,
            SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        )
}

fn is_io(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the same transaction may succeed when it is repeated.
pub(super) fn is_worth_repeating(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
    )
}

/// Whether the statement failed only because one before it in the transaction did.
pub(super) fn is_aftermath(error: &Error) -> bool {
    error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
}

/// Whether a kept plan no longer fits the tables, because a newer program changed them. The
/// message is in the server's language, so the place in the server's code tells.
pub(super) fn is_outdated_plan(error: &Error) -> bool {
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        && error
            .as_db_error()
            .is_some_and(|error| error.routine() == Some("RevalidateCachedQuery"))
}

/// A failure of anything but a constraint.
pub(super) fn db_error(error: Error, sql: &str) -> DbError {
    if is_gone(&error) {
        return DbError::Unreachable(Arc::new(error));
    }
    let Some(state) = error.code().cloned() else {
        return DbError::Sql {
            sql: sql.to_owned(),
            source: Arc::new(error),
        };
    };
    if state == SqlState::QUERY_CANCELED {
        return DbError::TimedOut;
    }
    let source = Arc::new(error);
    match state.code() {
        "55P03" | "40001" | "40P01" => DbError::Busy(source),
        "53100" => DbError::Full(source),
        // No login, no such database, no right to connect to it.
        code if code.starts_with("28") || code.starts_with("3D") => DbError::Refused(source),
        // Too few resources, an error of the server's disk.
        code if ["53", "58"].contains(&code.get(..2).unwrap_or_default()) => {
            DbError::Unreachable(source)
        }
        code if code.starts_with("XX") => DbError::corrupt("database", source.to_string()),
        _ => DbError::Sql {
            sql: sql.to_owned(),
            source,
        },
    }
}

/// The server has no TLS, and the options ask for it.
#[derive(Debug, thiserror::Error)]
#[error("it has no TLS, and sslmode asks for TLS")]
struct NoTls(#[source] Error);

/// Why there is no connection.
pub(super) fn connect_error(error: Error) -> DbError {
    // The driver has no other sign of it; the text is its own, not the server's.
    let cause = std::error::Error::source(&error);
    if cause.is_some_and(|cause| cause.to_string() == "server does not support TLS") {
        return DbError::Refused(Arc::new(NoTls(error)));
    }
    db_error(error, "connect")
}

/// A failure of one statement of a write set.
pub(super) fn commit_error(error: Error, sql: &str, check: Option<Check>) -> CommitError {
    match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION | &SqlState::FOREIGN_KEY_VIOLATION) => {
            CommitError::Conflict {
                check,
                source: Arc::new(error),
            }
        }
        _ => CommitError::Db(db_error(error, sql)),
    }
}

/// Why no connection came out of the pool.
pub(super) fn pool_error(error: PoolError) -> DbError {
    match error {
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => DbError::Overloaded,
        PoolError::Closed => DbError::Closed,
        PoolError::Backend(error) => connect_error(error),
        other => DbError::Unreachable(Arc::new(other)),
    }
}
