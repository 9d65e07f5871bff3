//! Keeping the event log within its limits.
//!
//! Where to cut is found by reading, from the log's old end and no further than the rows that go: the
//! one writer of a database is not held up by what stays.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::age::RunningTime;
use crate::audit::trim_refusals;
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::instant::to_micros;
use crate::job::{Job, JobError, NextRun};
use crate::params;
use crate::statement::sql;
use crate::write_set::{Seq, WriteSet};

/// How often it is looked.
const INTERVAL: std::time::Duration = std::time::Duration::from_mins(10);

/// How much of the log is kept behind the slowest subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Events younger than this are kept although everybody has handled them.
    pub keep: Duration,
    /// Events older than this are dropped although a subscription has not handled them. It is
    /// warned about first, from half this age on. What counts is the time for which the program ran, by
    /// a monotonic clock, whatever the wall clock says.
    pub max_age: Duration,
    /// The oldest events beyond so many are dropped, handled or not. It is warned about first, from
    /// half as many unhandled ones on.
    pub max_events: u32,
    /// The oldest records of refused calls in the audit log beyond so many are dropped.
    pub max_refusals: u32,
    /// Most events removed by one call.
    pub batch: u32,
}

impl Default for LogLimits {
    /// Keeps an hour of handled events, 30 days of unhandled ones, ten million of both, and a million
    /// refusals.
    fn default() -> Self {
        Self {
            keep: Duration::hours(1),
            max_age: Duration::days(30),
            max_events: 10_000_000,
            max_refusals: 1_000_000,
            batch: 5_000,
        }
    }
}

/// What the oldest events are measured by.
struct Bounds {
    /// Everybody has handled what is up to here.
    slowest: Seq,
    handled_before: i64,
    /// What is up to here is too old for anybody.
    aged: Seq,
    /// Up to here there is no room.
    crowded_out: Seq,
}

/// Removes events that every subscription has handled and that are older than `limits.keep`, and
/// those that are too old or too many for anybody. Returns how many went; call again while it is a
/// full batch.
///
/// # Errors
///
/// [`CommitError`].
pub async fn trim_log(db: &Db, limits: LogLimits) -> Result<u64, CommitError> {
    let now = db.now();
    let Some((oldest, newest)) = ends(db).await? else {
        return Ok(0);
    };
    let laggard = slowest(db).await?;
    let slowest = match &laggard {
        Some((_, position)) => *position,
        None => db.log_head().await?,
    };
    let time = RunningTime::load(db).await?;
    if let Some((name, position)) = &laggard {
        let half_aged = time.older_than(limits.max_age / 2);
        warn_of_laggard((name, *position), (half_aged, newest), limits);
    }
    let bounds = Bounds {
        slowest,
        handled_before: to_micros(now.saturating_add(-limits.keep)),
        aged: time.older_than(limits.max_age),
        crowded_out: Seq(newest.0.saturating_sub(i64::from(limits.max_events))),
    };
    let Some(cut) = find_cut(db, &bounds, limits.batch).await? else {
        return Ok(0);
    };
    let mut set = WriteSet::new();
    let step = set.execute(sql(
        "DELETE FROM event_log WHERE seq >= $1 AND seq <= $2",
        params![oldest.0, cut.0],
    ));
    let committed = db.commit(set).await?;
    Ok(committed.count(step))
}

/// The last of the oldest events that goes.
async fn find_cut(db: &Db, bounds: &Bounds, batch: u32) -> Result<Option<Seq>, DbError> {
    let query = format!("SELECT seq, occurred_at FROM event_log ORDER BY seq LIMIT {batch}");
    let mut cut = None;
    for row in db.rows(sql(query, Vec::new())).await? {
        let (seq, occurred_at): (i64, i64) = (row.get("seq")?, row.get("occurred_at")?);
        let seq = Seq(seq);
        if seq <= bounds.crowded_out || seq <= bounds.aged {
            cut = Some(seq);
        } else if seq <= bounds.slowest {
            // The log is in order of time but for moments: a young one may stand before an old one.
            if occurred_at < bounds.handled_before {
                cut = Some(seq);
            }
        } else {
            break;
        }
    }
    Ok(cut)
}

/// The oldest and the newest event.
async fn ends(db: &Db) -> Result<Option<(Seq, Seq)>, DbError> {
    let query = "SELECT MIN(seq) AS place FROM event_log UNION ALL \
                 SELECT MAX(seq) AS place FROM event_log";
    let rows = db.rows(sql(query, Vec::new())).await?;
    let mut ends = [None, None];
    for (end, row) in ends.iter_mut().zip(rows) {
        *end = row.get::<Option<i64>>("place")?;
    }
    let [Some(one), Some(other)] = ends else {
        return Ok(None);
    };
    Ok(Some((Seq(one.min(other)), Seq(one.max(other)))))
}

/// The subscription that is furthest behind, and where it is.
async fn slowest(db: &Db) -> Result<Option<(String, Seq)>, DbError> {
    let query = sql(
        "SELECT name, position FROM subscriptions ORDER BY position, name LIMIT 1",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    row.map(|row| Ok((row.get("name")?, Seq(row.get("position")?))))
        .transpose()
}

fn warn_of_laggard(
    (name, position): (&str, Seq),
    (half_aged, newest): (Seq, Seq),
    limits: LogLimits,
) {
    let behind = newest.0.saturating_sub(position.0);
    if position < half_aged || behind > i64::from(limits.max_events / 2) {
        tracing::warn!(
            subscription = name,
            position = position.0,
            behind,
            "subscription is far behind and will lose events"
        );
    }
}

/// The job that keeps the event log and the refusals in the audit log within limits, every ten minutes.
#[derive(Debug)]
pub struct TrimLog {
    db: Db,
    limits: LogLimits,
    /// When this process counted its running time last.
    counted: Mutex<Option<Instant>>,
}

impl TrimLog {
    /// A job that keeps the log within `limits`.
    pub fn new(db: &Db, limits: LogLimits) -> Self {
        Self {
            db: db.clone(),
            limits,
            counted: Mutex::default(),
        }
    }

    /// Counts the time since the last run. At most two intervals of it: meanwhile the job was another
    /// process's, which counted.
    async fn count_running_time(&self) -> Result<(), CommitError> {
        let now = Instant::now();
        let last = {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.replace(now)
        };
        let ran = last.map_or(std::time::Duration::ZERO, |last| now - last);
        let newest = self.db.log_head().await?;
        RunningTime::note(&self.db, ran.min(INTERVAL * 2), newest, self.limits.max_age).await
    }
}

#[async_trait]
impl Job for TrimLog {
    fn name(&self) -> &'static str {
        "trim-event-log"
    }

    async fn run(&self, _: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        self.count_running_time().await?;
        let full = u64::from(self.limits.batch);
        while trim_log(&self.db, self.limits).await? >= full {}
        while trim_refusals(&self.db, self.limits.max_refusals, self.limits.batch).await? >= full {}
        Ok(NextRun::At(now + INTERVAL))
    }
}
