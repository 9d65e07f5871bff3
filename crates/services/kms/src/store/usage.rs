//! What was done with keys, a row per operation and day.

use lamassu_core::ids::KeyId;
use lamassu_db::{Check, DbError, Row, Statement, WriteSet, params, sql};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::usage::Tally;

/// The batch was not stored before.
pub(crate) const FRESH_BATCH: Check = Check::new("usage batch is fresh");

/// How long it is remembered that a batch was stored, where its process does not forget it.
const KEPT: Duration = Duration::DAY;

/// The uses of one day.
#[derive(Clone, Debug)]
pub(crate) struct UsageRow {
    pub(crate) key_id: KeyId,
    pub(crate) operation: String,
    /// The day's first instant.
    pub(crate) bucket: OffsetDateTime,
    pub(crate) tally: Tally,
}

impl TryFrom<Row> for UsageRow {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            key_id: KeyId::from(row.get::<String>("key_id")?),
            operation: row.get("operation")?,
            bucket: row.get("bucket")?,
            tally: Tally {
                n_uses: row.get("n_uses")?,
                last_used_at: row.get("last_used_at")?,
            },
        })
    }
}

pub(super) fn of_key(key: &KeyId) -> Statement {
    sql(
        "SELECT key_id, operation, bucket, n_uses, last_used_at FROM kms_key_usage \
         WHERE key_id = $1 ORDER BY operation, bucket",
        params![key.as_str()],
    )
}

pub(super) fn batch(id: Uuid) -> Statement {
    sql(
        "SELECT id FROM kms_key_usage_batch WHERE id = $1",
        params![id.to_string()],
    )
}

/// Stores nothing of the write set where this batch was stored before; the one before it is settled.
pub(crate) fn insert_batch(
    set: &mut WriteSet,
    id: Uuid,
    settled: Option<Uuid>,
    now: OffsetDateTime,
) {
    let insert = sql(
        "INSERT INTO kms_key_usage_batch (id, stored_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        params![id.to_string(), now],
    );
    set.expect_one(insert, FRESH_BATCH);
    set.execute(sql(
        "DELETE FROM kms_key_usage_batch WHERE id = $1 OR stored_at < $2",
        params![
            settled.map_or_else(String::new, |id| id.to_string()),
            now.saturating_sub(KEPT)
        ],
    ));
}

/// Adds to the row of the day; nothing where the key is gone.
pub(crate) fn add_usage(set: &mut WriteSet, row: &UsageRow) {
    set.execute(sql(
        "INSERT INTO kms_key_usage (key_id, operation, bucket, n_uses, last_used_at) \
         SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), \
         CAST($5 AS BIGINT) WHERE EXISTS (SELECT 1 FROM kms_key WHERE key_id = $1) \
         ON CONFLICT (key_id, operation, bucket) DO UPDATE \
         SET n_uses = kms_key_usage.n_uses + excluded.n_uses, last_used_at = CASE \
         WHEN excluded.last_used_at > kms_key_usage.last_used_at THEN excluded.last_used_at \
         ELSE kms_key_usage.last_used_at END",
        params![
            row.key_id.as_str(),
            &row.operation,
            row.bucket,
            row.tally.n_uses,
            row.tally.last_used_at,
        ],
    ));
}

/// Forgets the uses of the key that has this handle.
pub(super) fn delete_usage(handle: &str) -> Statement {
    sql(
        "DELETE FROM kms_key_usage \
         WHERE key_id = (SELECT key_id FROM kms_key WHERE handle = $1)",
        params![handle],
    )
}
