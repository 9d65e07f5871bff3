//! What an installation makes once for itself and all its processes share.

use bytes::Bytes;
use uuid::Uuid;

use crate::db::Db;
use crate::error::{CommitError, DbError};
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

async fn setting(db: &Db, name: &str) -> Result<Option<Bytes>, DbError> {
    let query = sql("SELECT value FROM settings WHERE name = $1", params![name]);
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("value")).transpose()
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
