//! What was done with keys, a row per operation and day.

use lamassu_core::ids::KeyId;
use lamassu_db::{DbError, Row, Statement, WriteSet, params, sql};
use time::OffsetDateTime;

use crate::usage::Tally;

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
