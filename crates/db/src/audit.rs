//! Who did what: one record per change, stored in the write set of the change.

use std::sync::{Arc, Mutex, PoisonError};

use lamassu_core::caller::{Caller, Principal};
use lamassu_core::error::{ErrorKind, ServiceError};
use time::OffsetDateTime;

use crate::db::Db;
use crate::error::CommitError;
use crate::statement::{Statement, sql};
use crate::write_set::WriteSet;

/// How much of what a refused request named is stored.
const MAX_RESOURCE_CHARS: usize = 256;

/// How much of the reason of a refusal is stored.
const MAX_REASON_CHARS: usize = 1_024;

/// How an audited operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused, with the text that the client got.
    Refused(String),
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    at: OffsetDateTime,
    principal: String,
    credential: String,
    also: Option<Arc<str>>,
    operation: &'static str,
    resource: String,
    outcome: Outcome,
    request_id: String,
}

impl AuditRecord {
    /// A record of an operation that was done, for example `ca.create` on `ca/7a1d6c1e`.
    pub fn done(
        caller: &Caller,
        operation: &'static str,
        resource: impl Into<String>,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            at: now,
            principal: caller.principal.auth_id().unwrap_or_default().to_owned(),
            credential: credential(&caller.principal),
            also: caller.also.clone(),
            operation,
            resource: resource.into(),
            outcome: Outcome::Done,
            request_id: caller.request_id.as_ref().to_owned(),
        }
    }

    /// The same, refused. `reason` is safe to show: the text that the client got. It and what was
    /// asked for are the client's words, so they are cut where they are long.
    #[must_use]
    pub fn refused(mut self, reason: impl Into<String>) -> Self {
        self.resource = cut(self.resource, MAX_RESOURCE_CHARS);
        self.outcome = Outcome::Refused(cut(reason.into(), MAX_REASON_CHARS));
        self
    }

    pub(crate) fn insert(&self) -> Statement {
        let (result, reason) = match &self.outcome {
            Outcome::Done => ("done", None),
            Outcome::Refused(reason) => ("refused", Some(reason.as_str())),
        };
        sql(
            "INSERT INTO audit_log \
             (occurred_at, principal, credential, operation, resource, result, reason, request_id, \
             also) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            crate::params![
                self.at,
                &self.principal,
                &self.credential,
                self.operation,
                &self.resource,
                result,
                reason,
                &self.request_id,
                self.also.as_deref(),
            ],
        )
    }
}

/// The kind of credential and, for tokens, who issued it.
fn credential(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "none".to_owned(),
        Principal::Token { provider, .. } => format!("jwt:{provider}"),
        Principal::Certificate { .. } => "certificate".to_owned(),
        Principal::ApiKey { .. } => "apikey".to_owned(),
        Principal::Service { .. } => "service".to_owned(),
        Principal::System => "system".to_owned(),
    }
}

fn cut(text: String, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// Removes up to `batch` of the oldest refusals beyond `max`; gives how many went. Records of what was
/// done are never removed.
///
/// # Errors
///
/// [`CommitError`].
pub async fn trim_refusals(db: &Db, max: u32, batch: u32) -> Result<u64, CommitError> {
    let query = format!(
        "SELECT id FROM audit_log WHERE result = 'refused' ORDER BY id DESC LIMIT 1 OFFSET {max}"
    );
    let Some(row) = db.row_opt(sql(query, Vec::new())).await? else {
        return Ok(0);
    };
    let newest: i64 = row.get("id")?;
    let mut set = WriteSet::new();
    let step = set.execute(sql(
        format!(
            "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log \
             WHERE result = 'refused' AND id <= $1 ORDER BY id LIMIT {batch})"
        ),
        crate::params![newest],
    ));
    let committed = db.commit(set).await?;
    Ok(committed.count(step))
}

/// Records refused credentials, permissions and changes, at most so many per minute: an attacker must not
/// be able to fill the disk. Those beyond the limit are counted in a metric.
#[derive(Debug)]
pub struct RefusalLog {
    db: Db,
    per_minute: u32,
    window: Mutex<Window>,
}

/// The minute that is being counted.
#[derive(Clone, Copy, Debug)]
struct Window {
    minute: i64,
    recorded: u32,
}

impl RefusalLog {
    /// A log that stores at most `per_minute` records a minute in this process.
    pub fn new(db: &Db, per_minute: u32) -> Self {
        Self {
            db: db.clone(),
            per_minute,
            window: Mutex::new(Window {
                minute: 0,
                recorded: 0,
            }),
        }
    }

    /// Stores the record if the limit allows it.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; the refusal itself stands either way.
    pub async fn record(&self, record: AuditRecord) -> Result<(), CommitError> {
        if !self.admit() {
            crate::metrics::refusal_unrecorded();
            return Ok(());
        }
        let mut set = WriteSet::new();
        set.audit(record);
        self.db.commit(set).await.map(drop)
    }

    /// Waits for a change, and stores a record when it is refused or fails. What is unavailable is
    /// left out: nothing was decided, and often it is the database itself.
    ///
    /// # Errors
    ///
    /// Those of the change.
    pub async fn watch<T, E: ServiceError>(
        &self,
        caller: &Caller,
        (operation, resource): (&'static str, String),
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let outcome = change.await;
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::Unavailable
        {
            let record = AuditRecord::done(caller, operation, resource, self.db.now());
            if let Err(error) = self.record(record.refused(error.to_string())).await {
                tracing::debug!(%error, "refused change not recorded");
            }
        }
        outcome
    }

    fn admit(&self) -> bool {
        let minute = self.db.now().unix_timestamp().div_euclid(60);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.minute != minute {
            *window = Window {
                minute,
                recorded: 0,
            };
        }
        if window.recorded >= self.per_minute {
            return false;
        }
        window.recorded += 1;
        true
    }
}
