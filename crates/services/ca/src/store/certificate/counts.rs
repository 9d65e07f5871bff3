//! How many certificates there are, from the table that triggers keep.

use lamassu_core::ids::CaId;
use lamassu_db::{Db, DbError, Dialect, WriteSet, params, sql};

/// From how many rows on they are made few.
const MANY: i64 = 5_000;

/// How many certificates of each status there are, of one CA or of all.
pub(crate) async fn count_by_status(
    db: &Db,
    ca: Option<&CaId>,
) -> Result<Vec<(String, i64)>, DbError> {
    let query = match ca {
        None => sql(
            "SELECT status, CAST(SUM(n) AS BIGINT) AS n FROM certificate_count GROUP BY status",
            params![],
        ),
        Some(ca) => sql(
            "SELECT status, CAST(SUM(n) AS BIGINT) AS n FROM certificate_count \
             WHERE issuer_ca_id = $1 GROUP BY status",
            params![ca.as_str()],
        ),
    };
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| Ok((row.get("status")?, row.get("n")?)))
        .collect()
}

/// Makes one row of all those of a CA and a status, if they have become many. What others add
/// meanwhile stays beside it. On SQLite there is never more than one.
pub(crate) async fn merge_counts(db: &Db) -> Result<Option<WriteSet>, DbError> {
    if db.dialect() == Dialect::Sqlite {
        return Ok(None);
    }
    let query = sql(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM certificate_count LIMIT $1) AS counted",
        params![MANY],
    );
    let row = db.row_opt(query).await?;
    if row.map_or(Ok(0), |row| row.get::<i64>("n"))? < MANY {
        return Ok(None);
    }
    let mut set = WriteSet::new();
    set.execute(sql(
        "WITH gone AS (DELETE FROM certificate_count RETURNING issuer_ca_id, status, n) \
         INSERT INTO certificate_count (issuer_ca_id, status, n) \
         SELECT issuer_ca_id, status, SUM(n) FROM gone GROUP BY issuer_ca_id, status",
        params![],
    ));
    Ok(Some(set))
}
