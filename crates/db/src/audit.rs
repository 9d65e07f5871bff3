//! Who did what: one record per change, stored in the write set of the change.

use std::sync::{Mutex, PoisonError};

use lamassu_core::caller::{Caller, Principal};
use time::OffsetDateTime;

use crate::db::Db;
use crate::error::CommitError;
use crate::statement::{Statement, sql};
use crate::write_set::WriteSet;

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
            operation,
            resource: resource.into(),
            outcome: Outcome::Done,
            request_id: caller.request_id.as_ref().to_owned(),
        }
    }

    /// The same, refused. `reason` is safe to show: the text that the client got.
    #[must_use]
    pub fn refused(mut self, reason: impl Into<String>) -> Self {
        self.outcome = Outcome::Refused(reason.into());
        self
    }

    pub(crate) fn insert(&self) -> Statement {
        let (result, reason) = match &self.outcome {
            Outcome::Done => ("done", None),
            Outcome::Refused(reason) => ("refused", Some(reason.as_str())),
        };
        sql(
            "INSERT INTO audit_log \
             (occurred_at, principal, credential, operation, resource, result, reason, request_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            crate::params![
                self.at,
                &self.principal,
                &self.credential,
                self.operation,
                &self.resource,
                result,
                reason,
                &self.request_id,
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

/// Records refused credentials and permissions, at most so many per minute: an attacker must not
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
