//! Events that a subscription could not handle, kept until somebody replays or discards them.

use lamassu_core::caller::Caller;
use time::OffsetDateTime;

use crate::audit::AuditRecord;
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::event::LoggedEvent;
use crate::params;
use crate::row::Row;
use crate::statement::{Statement, sql};
use crate::write_set::{Check, Seq, WriteSet};

const FOUND: Check = Check::new("dead letter");

/// Longest error text that is kept, in characters.
const MAX_ERROR_CHARS: usize = 2_000;

/// Most dead letters that one round replays; new events have their turn between two rounds.
const REPLAYED_AT_ONCE: u32 = 100;

/// An event that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it in the calls below.
    pub id: i64,
    /// Whose handler failed.
    pub subscription: String,
    /// Its place in the log.
    pub seq: Seq,
    /// For example `ca.create`.
    pub event_type: String,
    /// For example `ca/7a1d6c1e`.
    pub subject: Option<String>,
    /// The whole CloudEvents JSON.
    pub body: String,
    /// What the handler said last, causes included.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed last.
    pub failed_at: OffsetDateTime,
}

impl DeadLetter {
    pub(crate) fn event(&self) -> LoggedEvent {
        LoggedEvent {
            seq: self.seq,
            event_type: self.event_type.clone(),
            subject: self.subject.clone(),
            body: self.body.clone(),
        }
    }
}

impl TryFrom<Row> for DeadLetter {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            subscription: row.get("subscription")?,
            seq: Seq(row.get("seq")?),
            event_type: row.get("event_type")?,
            subject: row.get("subject")?,
            body: row.get("body")?,
            error: row.get("error")?,
            attempts: row.get("attempts")?,
            failed_at: row.get("failed_at")?,
        })
    }
}

/// Dead letters of all subscriptions with an id above `after` (0 for the first), oldest first.
///
/// # Errors
///
/// [`DbError`].
pub async fn dead_letters(db: &Db, after: i64, limit: u32) -> Result<Vec<DeadLetter>, DbError> {
    let query = sql(
        "SELECT id, subscription, seq, event_type, subject, body, error, attempts, failed_at \
         FROM dead_letters WHERE id > $1 ORDER BY id LIMIT $2",
        params![after, limit],
    );
    let rows = db.rows(query).await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// The dead letter with this id.
///
/// # Errors
///
/// [`DbError`].
pub async fn dead_letter(db: &Db, id: i64) -> Result<Option<DeadLetter>, DbError> {
    let query = sql(
        "SELECT id, subscription, seq, event_type, subject, body, error, attempts, failed_at \
         FROM dead_letters WHERE id = $1",
        params![id],
    );
    let row = db.row_opt(query).await?;
    row.map(DeadLetter::try_from).transpose()
}

/// Marks a dead letter for replay, in the name of `caller`, and wakes its subscription, which tries it once: on success it
/// is gone, on failure it is kept with the new error.
///
/// # Errors
///
/// [`CommitError::Unmet`] when there is no such dead letter.
pub async fn replay_dead_letter(db: &Db, caller: &Caller, id: i64) -> Result<(), CommitError> {
    let query = sql(
        "SELECT subscription FROM dead_letters WHERE id = $1",
        params![id],
    );
    let mut set = WriteSet::new();
    set.expect_one(
        sql(
            "UPDATE dead_letters SET replay = $1 WHERE id = $2",
            params![true, id],
        ),
        FOUND,
    );
    if let Some(row) = db.row_opt(query).await? {
        // In the write set, so that it reaches the process that runs the subscription.
        set.wake(row.get::<String>("subscription")?);
    }
    set.audit(AuditRecord::done(
        caller,
        "dead_letter.replay",
        resource(id),
        db.now(),
    ));
    db.commit(set).await.map(drop)
}

/// Removes a dead letter for good, in the name of `caller`.
///
/// # Errors
///
/// [`CommitError::Unmet`] when there is no such dead letter.
pub async fn discard_dead_letter(db: &Db, caller: &Caller, id: i64) -> Result<(), CommitError> {
    let mut set = removal(id);
    set.audit(AuditRecord::done(
        caller,
        "dead_letter.discard",
        resource(id),
        db.now(),
    ));
    db.commit(set).await.map(drop)
}

fn resource(id: i64) -> String {
    format!("dead_letter/{id}")
}

pub(crate) fn insert(
    subscription: &str,
    event: &LoggedEvent,
    error: &str,
    attempts: u32,
    now: OffsetDateTime,
) -> Statement {
    let error: String = error.chars().take(MAX_ERROR_CHARS).collect();
    sql(
        "INSERT INTO dead_letters \
         (subscription, seq, event_type, subject, body, error, attempts, failed_at, replay) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        params![
            subscription,
            event.seq.0,
            &event.event_type,
            event.subject.as_deref(),
            &event.body,
            error,
            attempts,
            now,
            false,
        ],
    )
}

/// Dead letters of one subscription that somebody marked for replay.
#[derive(Debug)]
pub(crate) struct Marked {
    /// The oldest ones.
    pub(crate) letters: Vec<DeadLetter>,
    /// Whether these may not be all.
    pub(crate) is_full: bool,
}

pub(crate) async fn marked(db: &Db, subscription: &str) -> Result<Marked, DbError> {
    let query = sql(
        "SELECT id, subscription, seq, event_type, subject, body, error, attempts, failed_at \
         FROM dead_letters WHERE subscription = $1 AND replay = $2 ORDER BY seq LIMIT $3",
        params![subscription, true, REPLAYED_AT_ONCE],
    );
    let rows = db.rows(query).await?;
    let letters: Vec<_> = rows
        .into_iter()
        .map(DeadLetter::try_from)
        .collect::<Result<_, _>>()?;
    let is_full = u32::try_from(letters.len()).is_ok_and(|n| n >= REPLAYED_AT_ONCE);
    Ok(Marked { letters, is_full })
}

pub(crate) fn removal(id: i64) -> WriteSet {
    let mut set = WriteSet::new();
    set.expect_one(
        sql("DELETE FROM dead_letters WHERE id = $1", params![id]),
        FOUND,
    );
    set
}

pub(crate) fn failed_again(id: i64, error: &str, now: OffsetDateTime) -> WriteSet {
    let error: String = error.chars().take(MAX_ERROR_CHARS).collect();
    let mut set = WriteSet::new();
    set.execute(sql(
        "UPDATE dead_letters \
         SET replay = $1, error = $2, failed_at = $3, attempts = attempts + 1 WHERE id = $4",
        params![false, error, now, id],
    ));
    set
}
