//! What can go wrong with a database, free of any driver's types.

use std::path::PathBuf;
use std::sync::Arc;

use lamassu_core::error::{ErrorKind, StorageFailure, ToldOnce};

use crate::write_set::Check;

/// The driver's error behind one of ours; shared, because one failed commit answers many callers.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why reading, or reaching the database at all, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// The queue of waiting callers is full; nothing was done.
    #[error("the database is overloaded")]
    Overloaded,
    /// Somebody else held a lock for longer than we wait; nothing was done.
    #[error("the database is busy")]
    Busy(#[source] Cause),
    /// No space is left on the device, or the configured limit is reached; nothing was done.
    #[error("the database is full")]
    Full(#[source] Cause),
    /// The file or the server cannot be reached; nothing was done.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Cause),
    /// The server does not let us in: the password, the certificate or the database's name is
    /// wrong; nothing was done.
    #[error("the database server refused the login")]
    Refused(#[source] Cause),
    /// A statement took longer than it may ([`SqliteOptions::read_timeout`],
    /// [`PostgresOptions::statement_timeout`]); it was given up.
    ///
    /// [`SqliteOptions::read_timeout`]: crate::SqliteOptions::read_timeout
    /// [`PostgresOptions::statement_timeout`]: crate::PostgresOptions::statement_timeout
    #[error("the database took too long to answer")]
    TimedOut,
    /// The database was closed by this process.
    #[error("the database is closed")]
    Closed,
    /// A stored value is not what this program writes.
    #[error("stored value of `{column}` cannot be read: {reason}")]
    Corrupt {
        /// The column, or what else holds the value.
        column: String,
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// A statement's result lacks a column that the program reads: a defect.
    #[error("the statement selects no column `{0}`")]
    NoSuchColumn(String),
    /// The database refused a statement: a defect.
    #[error("the database refused `{sql}`")]
    Sql {
        /// The statement, without its parameters.
        sql: String,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// A statement names a parameter that was not given: a defect.
    #[error("`{sql}` has no value for parameter {parameter}")]
    MissingParameter {
        /// The statement, without its parameters.
        sql: String,
        /// The parameter, for example `$3`.
        parameter: String,
    },
}

impl DbError {
    /// A stored value that makes no sense, for `try_from` of rows in services.
    pub fn corrupt(column: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            column: column.into(),
            reason: reason.into(),
        }
    }

    /// Whether the database is away, which the log tells once and not per caller.
    pub(crate) const fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Refused(_))
    }

    /// What kind of failure a client sees.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Overloaded
            | Self::Busy(_)
            | Self::Full(_)
            | Self::Unreachable(_)
            | Self::Refused(_)
            | Self::TimedOut
            | Self::Closed => ErrorKind::Unavailable,
            Self::Corrupt { .. }
            | Self::NoSuchColumn(_)
            | Self::Sql { .. }
            | Self::MissingParameter { .. } => ErrorKind::Internal,
        }
    }
}

impl From<DbError> for StorageFailure {
    fn from(error: DbError) -> Self {
        if error.is_outage() {
            Self::Unavailable(Box::new(ToldOnce(Box::new(error))))
        } else if error.kind() == ErrorKind::Unavailable {
            Self::Unavailable(Box::new(error))
        } else {
            Self::Internal(Box::new(error))
        }
    }
}

/// Why a write set was not applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A statement did not find what the write set expects: somebody else was faster, or the
    /// addressed row is gone. Nothing was changed.
    #[error("{check} was not met ({found} rows)")]
    Unmet {
        /// Which expectation.
        check: Check,
        /// How many rows the statement found or changed.
        found: u64,
    },
    /// A unique or foreign key refused a statement. Nothing was changed.
    #[error("a constraint refused the change")]
    Conflict {
        /// The check of the refused statement, if it has one.
        check: Option<Check>,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// The database failed while it confirmed the change: it may or may not be stored.
    #[error("the database did not confirm the change")]
    OutcomeUnknown(#[source] Cause),
    /// The database could not be reached or refused a statement. Nothing was changed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl CommitError {
    /// Whether the caller lost a race and should start again from its read.
    pub const fn is_race(&self) -> bool {
        matches!(self, Self::Unmet { .. } | Self::Conflict { .. })
    }

    /// Whether this very check failed, by count or by constraint.
    pub fn failed(&self, check: Check) -> bool {
        match self {
            Self::Unmet { check: failed, .. } => *failed == check,
            Self::Conflict { check: failed, .. } => *failed == Some(check),
            Self::OutcomeUnknown(_) | Self::Db(_) => false,
        }
    }
}

impl From<CommitError> for StorageFailure {
    /// A race that was lost once too often is worth coming back for.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unmet { .. } | CommitError::Conflict { .. } => {
                Self::Unavailable(Box::new(error))
            }
            CommitError::OutcomeUnknown(_) => Self::OutcomeUnknown(Box::new(error)),
            CommitError::Db(error) => error.into(),
        }
    }
}

/// Why a database did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on this data directory.
    #[error("data directory {} is in use by process {pid}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, 0 when the system does not tell.
        pid: u32,
    },
    /// The directory or a file in it cannot be created, read or locked.
    #[error("data directory {} cannot be used", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The settings make no sense.
    #[error("the database settings cannot be used: {0}")]
    Settings(String),
    /// The database itself did not open.
    #[error("the database did not open")]
    Database(#[source] Cause),
    /// Its tables cannot be brought to what this program needs.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// It opened, but the first reads or writes failed.
    #[error("the database cannot be opened")]
    Start(#[from] CommitError),
}

impl OpenError {
    /// Whether the same attempt may succeed later: the server is down, starting or not reachable.
    pub fn is_temporary(&self) -> bool {
        let error = match self {
            Self::Migration(MigrationError::Db(error)) | Self::Start(CommitError::Db(error)) => {
                error
            }
            Self::InUse { .. }
            | Self::Directory { .. }
            | Self::Settings(_)
            | Self::Database(_)
            | Self::Migration(_)
            | Self::Start(_) => return false,
        };
        match error {
            // Who is not let in is not let in a second later either.
            DbError::Refused(_) => false,
            other => other.kind() == ErrorKind::Unavailable,
        }
    }
}

impl From<DbError> for OpenError {
    fn from(error: DbError) -> Self {
        Self::Start(error.into())
    }
}

/// Why migrations were not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database has a migration that this program does not know.
    #[error(
        "the tables of `{history}` were written by a newer version of lamassu \
         (schema {found}, this program knows {known})"
    )]
    NewerSchema {
        /// Whose tables.
        history: &'static str,
        /// The newest migration that the database has.
        found: i64,
        /// The newest migration that this program has.
        known: i64,
    },
    /// The database lacks a migration, and this start may not change tables.
    #[error(
        "the tables of `{history}` are older than this version of lamassu needs \
         (schema {found}, needed {known}); run `lamassu migrate`"
    )]
    OlderSchema {
        /// Whose tables.
        history: &'static str,
        /// The newest migration that the database has.
        found: i64,
        /// The newest migration that this program has.
        known: i64,
    },
    /// A migration failed, or an applied one reads differently from ours.
    #[error("migration of `{history}` failed")]
    Failed {
        /// Whose tables.
        history: &'static str,
        /// What the database or the migration runner said.
        #[source]
        source: Cause,
    },
    /// The database could not be reached.
    #[error(transparent)]
    Db(#[from] DbError),
}
