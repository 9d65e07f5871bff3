//! What SQLite's result codes mean to callers.

use std::sync::Arc;

use rusqlite::{Error, ErrorCode, ffi};

use crate::error::{CommitError, DbError};
use crate::write_set::Check;

/// A failure of anything but a constraint.
pub(super) fn db_error(error: Error, sql: &str) -> DbError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => DbError::TimedOut,
        Some(ErrorCode::DiskFull) => DbError::Full(Arc::new(error)),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DbError::Busy(Arc::new(error)),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory,
        ) => DbError::Unreachable(Arc::new(error)),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            DbError::corrupt("database file", error.to_string())
        }
        _ => DbError::Sql {
            sql: sql.to_owned(),
            source: Arc::new(error),
        },
    }
}

/// A failure of one statement of a write set.
pub(super) fn commit_error(error: Error, sql: &str, check: Option<Check>) -> CommitError {
    if is_key_violation(&error) {
        return CommitError::Conflict {
            check,
            source: Arc::new(error),
        };
    }
    CommitError::Db(db_error(error, sql))
}

/// A unique or foreign key. `NOT NULL` and `CHECK` violations are defects of the program.
fn is_key_violation(error: &Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            ffi::SQLITE_CONSTRAINT_UNIQUE
                | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | ffi::SQLITE_CONSTRAINT_ROWID
                | ffi::SQLITE_CONSTRAINT_FOREIGNKEY
        )
    })
}

/// Whether the failure is of the database as a whole, so that nothing of a batch may be kept.
pub(super) const fn is_of_the_batch(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::OutcomeUnknown(_)
            | CommitError::Db(DbError::Full(_) | DbError::Unreachable(_) | DbError::Busy(_))
    )
}

/// A failure of `COMMIT` itself. A full disk stops before the commit record; after any other
/// failure the record may have reached the disk, and recovery would then apply it.
pub(super) fn at_commit(error: Error) -> CommitError {
    match db_error(error, "COMMIT") {
        DbError::Unreachable(cause) => CommitError::OutcomeUnknown(cause),
        other => CommitError::Db(other),
    }
}
