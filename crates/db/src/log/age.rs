//! How old events are in running time: what a monotonic clock has counted while a process ran.
//!
//! Events that nobody has handled are dropped for their age only by this. A wall clock may be set
//! ahead by a month, and a machine may be switched off for as long: in neither case had anybody the
//! time to handle them. The count is kept in the database, with marks that say how far the log went
//! at which time.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::settings::{replacing, setting};
use crate::write_set::Seq;

/// Under which it is kept.
const NAME: &str = "log_running_time";

/// Marks in the time after which events are dropped.
const MARKS: i64 = 32;

/// Running time, and where the log ended at times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunningTime {
    micros: i64,
    /// Oldest first.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    micros: i64,
    newest: i64,
}

impl RunningTime {
    /// What the database has; none in one that nobody has counted in.
    pub(super) async fn load(db: &Db) -> Result<Self, DbError> {
        let Some(stored) = setting(db, NAME).await? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&stored)
            .map_err(|error| DbError::corrupt("settings.value", error.to_string()))
    }

    /// Adds time for which a process has run, in which the log has come to `newest`, and stores it.
    /// `max_age` is the age after which events are dropped.
    pub(super) async fn note(
        db: &Db,
        ran: Duration,
        newest: Seq,
        max_age: time::Duration,
    ) -> Result<(), CommitError> {
        let mut time = Self::load(db).await?;
        time.add(ran, newest, micros(max_age));
        let stored = serde_json::to_vec(&time)
            .map_err(|error| DbError::corrupt("settings.value", error.to_string()))?;
        db.commit(replacing(NAME, Bytes::from(stored))).await?;
        Ok(())
    }

    fn add(&mut self, ran: Duration, newest: Seq, max_age: i64) {
        let ran = i64::try_from(ran.as_micros()).unwrap_or(i64::MAX);
        self.micros = self.micros.saturating_add(ran);
        let last = self.marks.last().map(|mark| mark.micros);
        let is_due = last.is_none_or(|last| self.micros.saturating_sub(last) >= max_age / MARKS);
        if is_due {
            self.marks.push(Mark {
                micros: self.micros,
                newest: newest.0,
            });
        }
        // Of those that are old enough the last one says all.
        let n_old = self.n_older_than(max_age);
        self.marks.drain(..n_old.saturating_sub(1));
    }

    /// Events up to here were in the log when `age` of running time was yet to come.
    pub(super) fn older_than(&self, age: time::Duration) -> Seq {
        let n_old = self.n_older_than(micros(age));
        let last = n_old.checked_sub(1).and_then(|last| self.marks.get(last));
        Seq(last.map_or(0, |mark| mark.newest))
    }

    fn n_older_than(&self, age: i64) -> usize {
        let is_old = |mark: &Mark| self.micros.saturating_sub(mark.micros) >= age;
        self.marks.partition_point(is_old)
    }
}

fn micros(duration: time::Duration) -> i64 {
    i64::try_from(duration.whole_microseconds()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn only_time_that_was_run_makes_events_old() {
        let max_age = time::Duration::days(30);
        let mut time = RunningTime::default();
        time.add(Duration::ZERO, Seq(7), micros(max_age));
        for day in 1..30 {
            time.add(DAY, Seq(7 + day), micros(max_age));
            assert_eq!(time.older_than(max_age), Seq(0), "{day}");
        }
        time.add(DAY, Seq(37), micros(max_age));
        assert_eq!(time.older_than(max_age), Seq(7));
        assert_eq!(time.older_than(max_age / 2), Seq(22));
        time.add(DAY, Seq(38), micros(max_age));
        assert_eq!(time.older_than(max_age), Seq(8));
    }

    #[test]
    fn marks_are_few_however_long_it_runs_and_however_often_it_is_looked() {
        let max_age = time::Duration::days(30);
        let mut time = RunningTime::default();
        for look in 0..20_000 {
            time.add(Duration::from_mins(10), Seq(look), micros(max_age));
        }
        assert!(time.marks.len() <= 34, "{}", time.marks.len());
        // Dropped at most a day later than the limit says.
        let aged = 20_000 - time.older_than(max_age).0;
        assert!((30 * 144..=31 * 144).contains(&aged), "{aged}");
    }
}
