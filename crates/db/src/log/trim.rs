//! Keeping the event log within its limits.
//!
//! Where to cut is found by reading, from the log's old end and no further than the rows that go: the
//! one writer of a database is not held up by what stays.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use time::{Duration, OffsetDateTime};

use crate::audit::trim_refusals;
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::instant::to_micros;
use crate::job::{Job, JobError, NextRun};
use crate::params;
use crate::statement::sql;
use crate::write_set::{Seq, WriteSet};

/// How much of the log is kept behind the slowest subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Events younger than this are kept although everybody has handled them.
    pub keep: Duration,
    /// Events older than this are dropped although a subscription has not handled them. It is
    /// warned about first, from half this age on.
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
    dropped_before: i64,
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
    if let Some((name, position)) = &laggard {
        warn_of_laggard(db, (name, *position), newest, limits).await?;
    }
    let bounds = Bounds {
        slowest,
        handled_before: to_micros(now.saturating_add(-limits.keep)),
        dropped_before: to_micros(now.saturating_add(-limits.max_age)),
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
        if seq <= bounds.crowded_out || occurred_at < bounds.dropped_before {
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

async fn warn_of_laggard(
    db: &Db,
    (name, position): (&str, Seq),
    newest: Seq,
    limits: LogLimits,
) -> Result<(), DbError> {
    let query = sql(
        "SELECT occurred_at FROM event_log WHERE seq > $1 ORDER BY seq LIMIT 1",
        params![position.0],
    );
    let Some(row) = db.row_opt(query).await? else {
        return Ok(());
    };
    let waiting_since: i64 = row.get("occurred_at")?;
    let behind = newest.0.saturating_sub(position.0);
    let half_age = to_micros(db.now().saturating_add(-limits.max_age / 2));
    if waiting_since < half_age || behind > i64::from(limits.max_events / 2) {
        tracing::warn!(
            subscription = name,
            position = position.0,
            behind,
            "subscription is far behind and will lose events"
        );
    }
    Ok(())
}

/// The job that keeps the event log and the refusals in the audit log within limits, every ten minutes.
#[derive(Debug)]
pub struct TrimLog {
    db: Db,
    limits: LogLimits,
}

impl TrimLog {
    /// A job that keeps the log within `limits`.
    pub fn new(db: &Db, limits: LogLimits) -> Self {
        Self {
            db: db.clone(),
            limits,
        }
    }
}

#[async_trait]
impl Job for TrimLog {
    fn name(&self) -> &'static str {
        "trim-event-log"
    }

    async fn run(&self, _: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let full = u64::from(self.limits.batch);
        while trim_log(&self.db, self.limits).await? >= full {}
        while trim_refusals(&self.db, self.limits.max_refusals, self.limits.batch).await? >= full {}
        Ok(NextRun::At(now.saturating_add(Duration::minutes(10))))
    }
}
