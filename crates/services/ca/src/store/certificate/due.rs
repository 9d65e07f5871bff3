//! Certificates for which the time has come.

use lamassu_db::{Db, DbError, Readings, Statement, params, sql};
use time::{Duration, OffsetDateTime};

use super::{StoredCertificate, certificate_columns};

/// Certificates whose due time has come, the longest overdue first.
pub(crate) async fn due(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Readings<StoredCertificate>, DbError> {
    let rows = db.rows(due_at(now, limit)).await?;
    Ok(rows.iter().map(|row| row.read("id")).collect())
}

pub(super) fn due_at(now: OffsetDateTime, limit: u32) -> Statement {
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE next_due IS NOT NULL AND next_due < $1 \
         ORDER BY next_due LIMIT $2"
    );
    sql(TEXT, params![now, limit])
}

/// Certificates that the expiry job has expired although their end lies ahead: the clock was set
/// back.
pub(crate) async fn expired_early(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Readings<StoredCertificate>, DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE expired_by_job AND valid_to >= $1 ORDER BY valid_to LIMIT $2"
    );
    let rows = db.rows(sql(TEXT, params![now, limit])).await?;
    Ok(rows.iter().map(|row| row.read("id")).collect())
}

/// Active certificates that have entered a default window, and since when the next one was due.
pub(crate) async fn expiring(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Readings<(StoredCertificate, OffsetDateTime)>, DbError> {
    let rows = db.rows(expiring_at(now, limit)).await?;
    Ok(rows
        .iter()
        .map(|row| Ok((row.read("id")?, row.get("next_window")?)))
        .collect())
}

pub(super) fn expiring_at(now: OffsetDateTime, limit: u32) -> Statement {
    const TEXT: &str = concat!(
        "SELECT next_window, ",
        certificate_columns!(),
        " FROM certificate WHERE next_window IS NOT NULL AND next_window <= $1 \
         ORDER BY next_window LIMIT $2"
    );
    sql(TEXT, params![now, limit])
}

/// The first instant at which something is due: the one after the earliest end, or the earliest
/// beginning of a window.
pub(crate) async fn next_due(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let results = db.snapshot(earliest().into()).await?;
    let mut first: Option<OffsetDateTime> = None;
    for (rows, after) in results
        .iter()
        .zip([Duration::microseconds(1), Duration::ZERO])
    {
        if let Some(row) = rows.first() {
            let at = row.get::<OffsetDateTime>("at")?.saturating_add(after);
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    Ok(first)
}

/// The earliest end and the earliest beginning of a window.
pub(super) fn earliest() -> [Statement; 2] {
    [
        "SELECT next_due AS at FROM certificate WHERE next_due IS NOT NULL \
         ORDER BY next_due LIMIT 1",
        "SELECT next_window AS at FROM certificate WHERE next_window IS NOT NULL \
         ORDER BY next_window LIMIT 1",
    ]
    .map(|text| sql(text, params![]))
}
