//! Adding common names and serial numbers to the indexes of their trigrams, on SQLite.

use lamassu_db::{Db, DbError, Dialect, WriteSet, params, sql};

/// Certificates of one write set: a few milliseconds of the writer's time.
const BATCH: i64 = 1_000;

/// The indexes, each with its column and the one of certificates that it is of.
const INDEXES: [[&str; 3]; 2] = [
    [
        "certificate_text",
        "common_name",
        "subject_common_name_folded",
    ],
    ["certificate_serial_text", "serial_number", "serial_number"],
];

/// Adds the next certificates that are not in one of the indexes to it; `None` when all are. On
/// PostgreSQL the indexes keep themselves.
pub(crate) async fn add_texts(db: &Db) -> Result<Option<WriteSet>, DbError> {
    if db.dialect() == Dialect::Postgres {
        return Ok(None);
    }
    for [index, text, column] in INDEXES {
        let missing = sql(
            format!("SELECT 1 FROM certificate WHERE rowid > (SELECT n FROM {index}_end) LIMIT 1"),
            params![],
        );
        if db.row_opt(missing).await?.is_some() {
            return Ok(Some(next_batch(index, text, column)));
        }
    }
    Ok(None)
}

fn next_batch(index: &str, text: &str, column: &str) -> WriteSet {
    let mut set = WriteSet::new();
    set.execute(sql(
        format!(
            "INSERT INTO {index} (rowid, {text}) SELECT rowid, {column} FROM certificate \
             WHERE rowid > (SELECT n FROM {index}_end) ORDER BY rowid LIMIT $1"
        ),
        params![BATCH],
    ));
    set.execute(sql(
        format!(
            "UPDATE {index}_end SET n = (SELECT MAX(number) FROM \
             (SELECT c.rowid AS number FROM certificate AS c \
             WHERE c.rowid > (SELECT n FROM {index}_end) ORDER BY c.rowid LIMIT $1)) \
             WHERE EXISTS (SELECT 1 FROM certificate AS c WHERE c.rowid > {index}_end.n)"
        ),
        params![BATCH],
    ));
    set
}
