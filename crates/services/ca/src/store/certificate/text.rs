//! Adding common names to the index of their trigrams, on SQLite.

use lamassu_db::{Db, DbError, Dialect, WriteSet, params, sql};

/// Certificates of one write set: a few milliseconds of the writer's time.
const BATCH: i64 = 1_000;

/// Adds the next certificates whose names are not in the index to it; `None` when all are. On
/// PostgreSQL the index keeps itself.
pub(crate) async fn add_names(db: &Db) -> Result<Option<WriteSet>, DbError> {
    if db.dialect() == Dialect::Postgres {
        return Ok(None);
    }
    let missing = sql(
        "SELECT 1 FROM certificate WHERE rowid > (SELECT n FROM certificate_text_end) LIMIT 1",
        params![],
    );
    if db.row_opt(missing).await?.is_none() {
        return Ok(None);
    }
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO certificate_text (rowid, common_name) \
         SELECT rowid, subject_common_name_folded FROM certificate \
         WHERE rowid > (SELECT n FROM certificate_text_end) ORDER BY rowid LIMIT $1",
        params![BATCH],
    ));
    set.execute(sql(
        "UPDATE certificate_text_end SET n = (SELECT MAX(number) FROM \
         (SELECT c.rowid AS number FROM certificate AS c \
         WHERE c.rowid > (SELECT n FROM certificate_text_end) ORDER BY c.rowid LIMIT $1)) \
         WHERE EXISTS (SELECT 1 FROM certificate AS c WHERE c.rowid > certificate_text_end.n)",
        params![BATCH],
    ));
    Ok(Some(set))
}
