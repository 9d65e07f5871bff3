//! The event log: appending to it, reading it, trimming it.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use time::{Duration, OffsetDateTime};

use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::event::{EVENT_COLUMNS, Event, LoggedEvent};
use crate::instant::to_micros;
use crate::job::{Job, JobError, NextRun};
use crate::params;
use crate::statement::{Statement, sql};
use crate::value::Value;
use crate::write_set::{Seq, WriteSet};

/// The statement that appends an event.
pub(crate) fn insert(event: &Event) -> Result<Statement, serde_json::Error> {
    Ok(sql(
        "INSERT INTO event_log (event_type, subject, source, occurred_at, body) \
         VALUES ($1, $2, $3, $4, $5)",
        params![
            event.event_type.as_ref(),
            event.subject.as_deref(),
            &event.source,
            event.time,
            event.to_json()?,
        ],
    ))
}

/// A slice of the log as one subscription sees it.
#[derive(Debug)]
pub(crate) struct Page {
    /// The events it listens to, oldest first.
    pub(crate) events: Vec<LoggedEvent>,
    /// Where the log ended.
    pub(crate) head: Seq,
    /// Everything up to here was looked at.
    pub(crate) scanned_to: Seq,
}

/// Reads up to `limit` events behind `after` and up to `head` that match one of the patterns: an
/// exact type, a prefix ending in `#` (`ca.#`), or `#` for all.
pub(crate) async fn page(
    db: &Db,
    (after, head): (Seq, Seq),
    patterns: &[&'static str],
    limit: u32,
) -> Result<Page, DbError> {
    if head <= after {
        return Ok(Page {
            events: Vec::new(),
            head,
            scanned_to: after,
        });
    }
    let rows = db.rows(select(after, head, patterns, limit)).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let events = rows
        .into_iter()
        .map(LoggedEvent::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    let scanned_to = match events.last() {
        Some(last) if full => last.seq,
        _ => head,
    };
    Ok(Page {
        events,
        head,
        scanned_to,
    })
}

fn select(after: Seq, head: Seq, patterns: &[&'static str], limit: u32) -> Statement {
    let mut values: Vec<Value> = params![after.0, head.0];
    let mut conditions = Vec::new();
    for pattern in patterns {
        let prefix = pattern.strip_suffix('#');
        let number = values.len() + 1;
        match prefix {
            Some("") => conditions.push("1 = 1".to_owned()),
            Some(prefix) => {
                let length = prefix.chars().count();
                conditions.push(format!("substr(event_type, 1, {length}) = ${number}"));
                values.push(prefix.into());
            }
            None => {
                conditions.push(format!("event_type = ${number}"));
                values.push((*pattern).into());
            }
        }
    }
    if conditions.is_empty() {
        conditions.push("1 = 0".to_owned());
    }
    sql(
        format!(
            "SELECT {EVENT_COLUMNS} FROM event_log WHERE seq > $1 AND seq <= $2 AND ({}) \
             ORDER BY seq LIMIT {limit}",
            conditions.join(" OR ")
        ),
        values,
    )
}

/// How much of the log is kept behind the slowest subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Events younger than this are kept although everybody has handled them.
    pub keep: Duration,
    /// Events older than this are dropped although a subscription has not handled them. It is
    /// warned about first, from half this age on.
    pub max_age: Duration,
    /// Most events removed by one call.
    pub batch: u32,
}

impl Default for LogLimits {
    /// Keeps an hour of handled events and 30 days of unhandled ones.
    fn default() -> Self {
        Self {
            keep: Duration::hours(1),
            max_age: Duration::days(30),
            batch: 5_000,
        }
    }
}

/// Removes events that every subscription has handled and that are older than `limits.keep`, and
/// those that are too old for anybody. Returns how many went; call again while it is a full batch.
///
/// # Errors
///
/// [`CommitError`].
pub async fn trim_log(db: &Db, limits: LogLimits) -> Result<u64, CommitError> {
    let now = db.now();
    let slowest = slowest(db).await?;
    let handled_before = to_micros(now.saturating_add(-limits.keep));
    let dropped_before = to_micros(now.saturating_add(-limits.max_age));
    warn_of_laggards(
        db,
        slowest,
        to_micros(now.saturating_add(-limits.max_age / 2)),
    )
    .await?;
    let mut set = WriteSet::new();
    let step = set.execute(sql(
        "DELETE FROM event_log WHERE seq IN (SELECT seq FROM event_log \
         WHERE (seq <= $1 AND occurred_at < $2) OR occurred_at < $3 ORDER BY seq LIMIT $4)",
        params![slowest.0, handled_before, dropped_before, limits.batch],
    ));
    let committed = db.commit(set).await?;
    Ok(committed.count(step))
}

/// The position of the subscription that is furthest behind; the head where there is none.
async fn slowest(db: &Db) -> Result<Seq, DbError> {
    let query = sql(
        "SELECT MIN(position) AS slowest FROM subscriptions",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    match row
        .map(|row| row.get::<Option<i64>>("slowest"))
        .transpose()?
    {
        Some(Some(position)) => Ok(Seq(position)),
        Some(None) | None => db.log_head().await,
    }
}

async fn warn_of_laggards(db: &Db, slowest: Seq, older_than: i64) -> Result<(), DbError> {
    let query = sql(
        "SELECT seq FROM event_log WHERE seq > $1 AND occurred_at < $2 ORDER BY seq LIMIT 1",
        params![slowest.0, older_than],
    );
    if db.row_opt(query).await?.is_some() {
        tracing::warn!(
            position = slowest.0,
            "a subscription is far behind and will lose events"
        );
    }
    Ok(())
}

/// The job that trims the log, every ten minutes.
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
        while trim_log(&self.db, self.limits).await? >= u64::from(self.limits.batch) {}
        Ok(NextRun::At(now.saturating_add(Duration::minutes(10))))
    }
}
