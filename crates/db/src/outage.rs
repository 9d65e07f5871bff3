//! Telling when the database goes away and when it is back, once each.
//!
//! Whoever works with the database sees every failure as an error of its own. Operators want to know
//! two things of an outage, however many requests met it: when it began and when it was over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use lamassu_core::error::ToldOnce;
use tokio::time::Instant;

use crate::error::{CommitError, DbError};

/// Whether one way to the database works. Reading and writing have one each: a server that takes no
/// writes is still read from.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    is_away: AtomicBool,
    /// When that changed last. What began before says nothing about the time since.
    changed: Mutex<Instant>,
}

/// How an attempt ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The database answered, if only by refusing.
    Yes,
    /// It did not.
    No,
    /// The attempt tells nothing.
    Unknown,
}

impl From<&DbError> for Reached {
    fn from(error: &DbError) -> Self {
        match error {
            DbError::Unreachable(_) | DbError::Refused(_) => Self::No,
            DbError::Overloaded
            | DbError::Busy(_)
            | DbError::Full(_)
            | DbError::TimedOut
            | DbError::Closed
            | DbError::Corrupt { .. }
            | DbError::NoSuchColumn(_)
            | DbError::Sql { .. }
            | DbError::MissingParameter { .. } => Self::Unknown,
        }
    }
}

impl From<&CommitError> for Reached {
    fn from(error: &CommitError) -> Self {
        match error {
            CommitError::Unmet { .. } | CommitError::Conflict { .. } => Self::Yes,
            CommitError::OutcomeUnknown(_) => Self::No,
            CommitError::Db(error) => error.into(),
        }
    }
}

/// Whether an error is only the consequence of the database being away, which is told here.
pub(crate) fn is_outage(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_reading = error.downcast_ref().is_some_and(DbError::is_outage);
    let of_writing = error.downcast_ref().is_some_and(|error| match error {
        CommitError::Db(error) => error.is_outage(),
        CommitError::Unmet { .. }
        | CommitError::Conflict { .. }
        | CommitError::OutcomeUnknown(_) => false,
    });
    of_reading || of_writing || ToldOnce::is_behind(error)
}

impl Outage {
    /// A way that works until it is seen not to; `what` it is for goes into the log.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            is_away: AtomicBool::new(false),
            changed: Mutex::new(Instant::now()),
        }
    }

    /// Takes note of an attempt that began at `begun`.
    pub(crate) fn note<T, E>(&self, begun: Instant, outcome: &Result<T, E>)
    where
        for<'a> Reached: From<&'a E>,
        E: std::error::Error + 'static,
    {
        match outcome {
            Ok(_) => self.answered(begun),
            Err(error) => match Reached::from(error) {
                Reached::Yes => self.answered(begun),
                Reached::No => self.failed(begun, error),
                Reached::Unknown => {}
            },
        }
    }

    fn answered(&self, begun: Instant) {
        if !self.is_away.load(Ordering::Relaxed) {
            return;
        }
        if let Some(away) = self.turn(begun, false) {
            tracing::info!(
                way = self.what,
                elapsed_ms = away.as_millis(),
                "database reachable again"
            );
        }
    }

    fn failed(&self, begun: Instant, error: &(dyn std::error::Error + 'static)) {
        if self.turn(begun, true).is_some() {
            tracing::warn!(way = self.what, error, "database went away");
        }
    }

    /// Changes the state unless it is so already, or the attempt is older than the last change; gives
    /// how long the other state lasted.
    fn turn(&self, begun: Instant, is_away: bool) -> Option<std::time::Duration> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if begun < *changed || self.is_away.swap(is_away, Ordering::Relaxed) == is_away {
            return None;
        }
        let lasted = changed.elapsed();
        *changed = Instant::now();
        Some(lasted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::Outage;
    use crate::error::DbError;

    fn away() -> Result<(), DbError> {
        Err(DbError::Unreachable(Arc::new(std::io::Error::other("x"))))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_has_one_beginning_and_one_end_whatever_arrives_late() {
        let outage = Outage::new("reading");
        let early = Instant::now();
        advance(Duration::from_secs(1)).await;
        let failing = Instant::now();
        assert_eq!(outage.turn(failing, true), Some(Duration::from_secs(1)));
        assert_eq!(outage.turn(failing, true), None);

        // An answer that was on its way before is no sign of life.
        outage.note::<_, DbError>(early, &Ok(()));
        assert_eq!(outage.turn(failing, true), None);

        advance(Duration::from_secs(5)).await;
        let again = Instant::now();
        assert_eq!(outage.turn(again, false), Some(Duration::from_secs(5)));
        // Nor is the failure of one who asked before it was back another outage.
        outage.note(failing, &away());
        assert_eq!(outage.turn(again, false), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_statement_is_no_outage() {
        let outage = Outage::new("reading");
        outage.note::<(), _>(Instant::now(), &Err(DbError::TimedOut));
        assert_eq!(outage.turn(Instant::now(), false), None);
        outage.note(Instant::now(), &away());
        assert!(outage.turn(Instant::now(), false).is_some());
    }
}
