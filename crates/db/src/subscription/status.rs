//! How far the readers of the log have come, for those who look after them.

use lamassu_core::caller::Caller;
use time::OffsetDateTime;

use super::lease_name;
use crate::audit::AuditRecord;
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::params;
use crate::row::Row;
use crate::statement::sql;
use crate::write_set::{Check, Seq, WriteSet};

/// Up to how many events a lag is counted.
pub const MAX_COUNTED_LAG: u32 = 100_000;

/// There is such a subscription, and nobody reads.
const IDLE: Check = Check::new("idle subscription");

/// A subscription as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// The last event whose effect is stored. Events of no interest move it too, a little later.
    pub position: Seq,
    /// When that was stored.
    pub updated_at: OffsetDateTime,
    /// How many events of the log are behind the position, of interest or not; at most
    /// [`MAX_COUNTED_LAG`].
    pub lag: u64,
    /// When the first of them happened.
    pub waiting_since: Option<OffsetDateTime>,
    /// The process that reads (host, process id, a random part), where several could; none where
    /// the data directory's owner is the only one, or nobody reads.
    pub holder: Option<String>,
}

impl TryFrom<Row> for SubscriptionStatus {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            name: row.get("name")?,
            position: Seq(row.get("position")?),
            updated_at: row.get("updated_at")?,
            lag: row.get("lag")?,
            waiting_since: row.get("waiting_since")?,
            holder: row.get("holder")?,
        })
    }
}

/// All subscriptions that ever ran, by name. Counts the events behind each, up to a limit.
///
/// # Errors
///
/// [`DbError`].
pub async fn subscriptions(db: &Db) -> Result<Vec<SubscriptionStatus>, DbError> {
    let query = sql(
        "SELECT s.name AS name, s.position AS position, s.updated_at AS updated_at, \
         (SELECT COUNT(*) FROM (SELECT 1 FROM event_log AS e WHERE e.seq > s.position \
         LIMIT $3) AS behind) AS lag, \
         (SELECT e.occurred_at FROM event_log AS e WHERE e.seq > s.position \
         ORDER BY e.seq LIMIT 1) AS waiting_since, \
         (SELECT l.holder FROM leases AS l WHERE l.name = $1 || s.name AND l.expires_at > $2) \
         AS holder \
         FROM subscriptions AS s ORDER BY s.name",
        params![lease_name(""), db.now(), MAX_COUNTED_LAG],
    );
    let rows = db.rows(query).await?;
    rows.into_iter().map(SubscriptionStatus::try_from).collect()
}

/// Removes what is known of a subscription that no program runs any more, so that the log is not kept
/// for it. If a program runs it after all, it begins where new ones do.
///
/// # Errors
///
/// [`CommitError::Unmet`] when there is none of this name, or a process reads for it.
pub async fn forget_subscription(db: &Db, caller: &Caller, name: &str) -> Result<(), CommitError> {
    let mut set = WriteSet::new();
    set.expect_one(
        sql(
            "DELETE FROM subscriptions WHERE name = $1 AND NOT EXISTS \
             (SELECT 1 FROM leases AS l WHERE l.name = $2 AND l.expires_at > $3)",
            params![name, lease_name(name), db.now()],
        ),
        IDLE,
    );
    set.audit(AuditRecord::done(
        caller,
        "subscription.forget",
        format!("subscription/{name}"),
        db.now(),
    ));
    db.commit(set).await.map(drop)
}
