//! How far the readers of the log have come, for those who look after them.

use time::OffsetDateTime;

use super::lease_name;
use crate::db::Db;
use crate::error::DbError;
use crate::params;
use crate::row::Row;
use crate::statement::sql;
use crate::write_set::Seq;

/// A subscription as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// The last event whose effect is stored. Events of no interest move it too, a little later.
    pub position: Seq,
    /// When that was stored.
    pub updated_at: OffsetDateTime,
    /// How many events of the log are behind the position, of interest or not.
    pub lag: u64,
    /// When the oldest of them happened.
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

/// All subscriptions that ever ran, by name. Counts the events behind each.
///
/// # Errors
///
/// [`DbError`].
pub async fn subscriptions(db: &Db) -> Result<Vec<SubscriptionStatus>, DbError> {
    let query = sql(
        "SELECT s.name AS name, s.position AS position, s.updated_at AS updated_at, \
         (SELECT COUNT(*) FROM event_log AS e WHERE e.seq > s.position) AS lag, \
         (SELECT MIN(e.occurred_at) FROM event_log AS e WHERE e.seq > s.position) \
         AS waiting_since, \
         (SELECT l.holder FROM leases AS l WHERE l.name = $1 || s.name AND l.expires_at > $2) \
         AS holder \
         FROM subscriptions AS s ORDER BY s.name",
        params![lease_name(""), db.now()],
    );
    let rows = db.rows(query).await?;
    rows.into_iter().map(SubscriptionStatus::try_from).collect()
}
