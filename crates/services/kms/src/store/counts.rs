//! How many keys there are, from the table that triggers keep.

use lamassu_db::{CommitError, Db, DbError, Dialect, Row, Statement, WriteSet, params, sql};

/// From how many rows on they are made few.
const MANY: i64 = 1_000;

/// How many keys of an algorithm an engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyCount {
    pub(crate) engine_id: String,
    pub(crate) algorithm: String,
    pub(crate) n: i64,
}

impl TryFrom<Row> for KeyCount {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            engine_id: row.get("engine_id")?,
            algorithm: row.get("algorithm")?,
            n: row.get("n")?,
        })
    }
}

pub(super) fn all() -> Statement {
    sql(
        "SELECT engine_id, algorithm, CAST(SUM(n) AS BIGINT) AS n FROM kms_key_count \
         GROUP BY engine_id, algorithm HAVING SUM(n) <> 0",
        params![],
    )
}

/// Makes one row of all those of an engine and an algorithm, if they have become many. What others add
/// meanwhile stays beside it. On SQLite there is never more than one.
pub(super) async fn merge(db: &Db) -> Result<(), CommitError> {
    if db.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let query = sql(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM kms_key_count LIMIT $1) AS counted",
        params![MANY],
    );
    let row = db.row_opt(query).await?;
    if row.map_or(Ok(0), |row| row.get::<i64>("n"))? < MANY {
        return Ok(());
    }
    let mut set = WriteSet::new();
    set.execute(sql(
        "WITH gone AS (DELETE FROM kms_key_count RETURNING engine_id, algorithm, n) \
         INSERT INTO kms_key_count (engine_id, algorithm, n) \
         SELECT engine_id, algorithm, SUM(n) FROM gone GROUP BY engine_id, algorithm",
        params![],
    ));
    db.commit(set).await.map(drop)
}
