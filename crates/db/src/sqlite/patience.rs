//! When a read that is in progress is given up.
//!
//! A client can ask for what takes minutes to find. SQLite works on a thread that knows nothing of
//! whoever waits, so it is told to look up every now and then: a read ends when its caller is gone,
//! when it takes too long, and soon after the database began to close.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::failure::db_error;
use crate::error::DbError;

/// Instructions of SQLite's machine between two looks; they take some microseconds, unless they
/// call functions of ours, which bound themselves.
const INSTRUCTIONS: i32 = 200;

/// How long reads may go on when the database closes.
const CLOSING_GRACE: Duration = Duration::from_secs(1);

/// Tells reads that the database is closing.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing(Arc<OnceLock<Instant>>);

impl Closing {
    /// From now on reads have the grace period to end.
    pub(super) fn begin(&self) {
        self.0.get_or_init(Instant::now);
    }

    fn is_over(&self) -> bool {
        self.0
            .get()
            .is_some_and(|began| began.elapsed() >= CLOSING_GRACE)
    }
}

/// How long reads are waited for.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    limit: Duration,
    closing: Closing,
}

impl Patience {
    pub(super) fn new(limit: Duration, closing: &Closing) -> Self {
        Self {
            limit,
            closing: closing.clone(),
        }
    }

    /// Reads as long as somebody waits and time is left; only what `read` does is interrupted.
    ///
    /// Fails as `read` does, where it was interrupted with [`DbError::TimedOut`] or
    /// [`DbError::Closed`].
    pub(super) fn while_wanted<T>(
        &self,
        connection: &Connection,
        is_unwanted: impl Fn() -> bool + Send + 'static,
        read: impl FnOnce() -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let (started, limit, closing) = (Instant::now(), self.limit, self.closing.clone());
        let gives_up = move || is_unwanted() || started.elapsed() >= limit || closing.is_over();
        watch(connection, Some(gives_up))?;
        let outcome = read();
        watch(connection, None::<fn() -> bool>)?;
        match outcome {
            Err(DbError::TimedOut) if self.closing.is_over() => Err(DbError::Closed),
            outcome => outcome,
        }
    }
}

fn watch(
    connection: &Connection,
    gives_up: Option<impl FnMut() -> bool + Send + 'static>,
) -> Result<(), DbError> {
    connection
        .progress_handler(INSTRUCTIONS, gives_up)
        .map_err(|error| db_error(error, "progress handler"))
}
