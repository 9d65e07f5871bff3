//! What an installation makes once for itself and all its processes share.

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::instant;
use crate::params;
use crate::statement::sql;
use crate::write_set::WriteSet;

/// The stored value of a setting, or the one that `make` gives, stored first.
///
/// When several processes start at once, all of them get the same value.
///
/// # Errors
///
/// [`CommitError`].
pub async fn setting_or_insert(
    db: &Db,
    name: &str,
    make: impl FnOnce() -> Bytes + Send,
) -> Result<Bytes, CommitError> {
    if let Some(value) = setting(db, name).await? {
        return Ok(value);
    }
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        params![name, make()],
    ));
    db.commit(set).await?;
    let stored = setting(db, name).await?;
    stored.ok_or_else(|| DbError::corrupt("settings.value", "lost after insert").into())
}

/// The stored value of a setting.
pub(crate) async fn setting(db: &Db, name: &str) -> Result<Option<Bytes>, DbError> {
    let query = sql("SELECT value FROM settings WHERE name = $1", params![name]);
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("value")).transpose()
}

/// Stores a value that processes report of themselves, and gives the one that was there. Nothing is
/// written where it is the same.
///
/// # Errors
///
/// [`CommitError`].
pub async fn report_setting(
    db: &Db,
    name: &str,
    value: Bytes,
) -> Result<Option<Bytes>, CommitError> {
    let before = setting(db, name).await?;
    if before.as_ref() != Some(&value) {
        db.commit(replacing(name, value)).await?;
    }
    Ok(before)
}

/// Stores a setting, whatever it was.
pub(crate) fn replacing(name: &str, value: Bytes) -> WriteSet {
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO settings (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, value],
    ));
    set
}

/// The id of this installation, made on first use: part of the local issuer's name and of what
/// marks its own events on a broker.
///
/// # Errors
///
/// [`CommitError`].
pub async fn installation_id(db: &Db) -> Result<Uuid, CommitError> {
    let make = || Bytes::copy_from_slice(Uuid::new_v4().as_bytes());
    let bytes = setting_or_insert(db, "installation_id", make).await?;
    let id = Uuid::from_slice(&bytes)
        .map_err(|_| DbError::corrupt("settings.value", "installation id is no UUID"))?;
    Ok(id)
}

/// Under which the time of the last restore is kept: microseconds since 1970, as decimal text, so
/// that an operator can write it after restoring a database by other means.
const RESTORED_AT: &str = "restored_at";

/// Notes that this database is an older state of an installation that went on after it: services
/// must not repeat numbers that were given since. A later restore replaces the time.
///
/// # Errors
///
/// [`CommitError`].
pub async fn mark_restored(db: &Db, at: OffsetDateTime) -> Result<(), CommitError> {
    let value = Bytes::from(instant::to_micros(at).to_string());
    db.commit(replacing(RESTORED_AT, value)).await.map(drop)
}

/// When this database was last put back from a backup; `None` if never.
///
/// # Errors
///
/// [`DbError`].
pub async fn restored_at(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let Some(value) = setting(db, RESTORED_AT).await? else {
        return Ok(None);
    };
    let micros = std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .and_then(instant::from_micros);
    let at = micros.ok_or_else(|| DbError::corrupt("settings.value", "no time of a restore"))?;
    Ok(Some(at))
}
