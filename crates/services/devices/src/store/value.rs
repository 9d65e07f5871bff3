//! Tables `device_value` and `device_value_path`: which devices have a tag, or a value at a declared path in
//! their metadata.

use std::collections::BTreeSet;

use lamassu_core::device::Device;
use lamassu_core::ids::DeviceId;
use lamassu_core::query::{ElementTable, json_scalar_text};
use lamassu_crypto::HashAlgorithm;
use lamassu_db::{Db, DbError, Json, Row, Statement, WriteSet, params, sql};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

use crate::values::{IndexedPath, TAGS};

/// Longest text that is a key as it is; of longer ones the digest is.
const MAX_KEY_BYTES: usize = 200;

/// Devices whose values are added in one write set.
pub(crate) const BATCH: u32 = 500;

/// What a device is found by: path and key.
pub(crate) type Found = BTreeSet<(String, String)>;

/// The key of a scalar; `None` for what is none.
pub(crate) fn key(value: &JsonValue) -> Option<String> {
    let text = json_scalar_text(value)?;
    if text.len() <= MAX_KEY_BYTES {
        return Some(text);
    }
    let digest = HashAlgorithm::Sha256.digest(text.as_bytes());
    Some(format!("#{}", hex::encode(digest)))
}

/// What a device with these tags and metadata is found by.
pub(crate) fn found_by(
    tags: &[String],
    metadata: &Map<String, JsonValue>,
    paths: &[IndexedPath],
) -> Found {
    let of_tags = tags.iter().filter_map(|tag| {
        let key = key(&JsonValue::String(tag.clone()))?;
        Some((TAGS.to_owned(), key))
    });
    let mut found: Found = of_tags.collect();
    for path in paths {
        let values = path.values(metadata);
        found.extend(values.filter_map(|value| Some((path.text().to_owned(), key(value)?))));
    }
    found
}

/// Adds what a new device is found by.
pub(crate) fn values_insert(set: &mut WriteSet, device: &Device, paths: &[IndexedPath]) {
    let found = found_by(&device.tags, &device.metadata, paths);
    for (path, key) in &found {
        set.execute(insert(&device.id, device.creation_timestamp.0, path, key));
    }
}

/// Writes what a changed device is found by.
pub(crate) fn values_update(
    set: &mut WriteSet,
    before: &Device,
    after: &Device,
    paths: &[IndexedPath],
) {
    let old = found_by(&before.tags, &before.metadata, paths);
    let new = found_by(&after.tags, &after.metadata, paths);
    let created_at = after.creation_timestamp.0;
    for (path, key) in old.difference(&new) {
        set.execute(sql(
            "DELETE FROM device_value \
             WHERE path = $1 AND value = $2 AND created_at = $3 AND device_id = $4",
            params![path, key, created_at, after.id.as_str()],
        ));
    }
    for (path, key) in new.difference(&old) {
        set.execute(insert(&after.id, created_at, path, key));
    }
}

fn insert(device: &DeviceId, created_at: OffsetDateTime, path: &str, key: &str) -> Statement {
    sql(
        "INSERT INTO device_value (path, value, created_at, device_id) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING",
        params![path, key, created_at, device.as_str()],
    )
}

/// Which devices have a value, for queries of devices.
pub(crate) const VALUES: ElementTable = ElementTable {
    table: "device_value",
    owner: "device_id",
};

/// Devices that may have this value, at most so many.
pub(crate) async fn devices_with(
    db: &Db,
    path: &str,
    key: &str,
    limit: usize,
) -> Result<Vec<String>, DbError> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let query = sql(
        "SELECT device_id FROM device_value WHERE path = $1 AND value = $2 LIMIT $3",
        params![path, key, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter().map(|row| row.get("device_id")).collect()
}

/// When the first and the last device were registered that may have this value.
pub(crate) async fn time_span(
    db: &Db,
    path: &str,
    key: &str,
) -> Result<Option<(OffsetDateTime, OffsetDateTime)>, DbError> {
    // One by one, each is an end of the index.
    let query = sql(
        "SELECT (SELECT MIN(created_at) FROM device_value WHERE path = $1 AND value = $2) AS first, \
         (SELECT MAX(created_at) FROM device_value WHERE path = $1 AND value = $2) AS last",
        params![path, key],
    );
    let Some(row) = db.row_opt(query).await? else {
        return Ok(None);
    };
    let (first, last): (Option<_>, Option<_>) = (row.get("first")?, row.get("last")?);
    Ok(first.zip(last))
}

/// The paths whose values are there of all devices.
pub(crate) async fn complete_paths(db: &Db) -> Result<BTreeSet<String>, DbError> {
    let query = sql(
        "SELECT path FROM device_value_path WHERE complete = 1",
        Vec::new(),
    );
    let rows = db.rows(query).await?;
    rows.iter().map(|row| row.get("path")).collect()
}

/// How far the values of a path are there; `None` where nobody has begun.
pub(crate) async fn path_progress(db: &Db, path: &str) -> Result<Option<(String, bool)>, DbError> {
    let query = sql(
        "SELECT done_to, complete FROM device_value_path WHERE path = $1",
        params![path],
    );
    let row = db.row_opt(query).await?;
    row.map(|row| Ok((row.get("done_to")?, row.get::<i64>("complete")? == 1)))
        .transpose()
}

/// Notes how far the values of a path are there.
pub(crate) fn path_put(path: &str, done_to: &str, complete: bool) -> Statement {
    sql(
        "INSERT INTO device_value_path (path, done_to, complete) VALUES ($1, $2, $3) \
         ON CONFLICT (path) DO UPDATE SET done_to = excluded.done_to, \
         complete = excluded.complete",
        params![path, done_to, i64::from(complete)],
    )
}

/// Removes paths that are no longer declared, with their values.
pub(crate) async fn forget_paths(db: &Db, declared: &[String]) -> Result<WriteSet, DbError> {
    let query = sql("SELECT path FROM device_value_path", Vec::new());
    let rows = db.rows(query).await?;
    let mut set = WriteSet::new();
    for row in &rows {
        let path: String = row.get("path")?;
        if !declared.contains(&path) {
            for text in [
                "DELETE FROM device_value_path WHERE path = $1",
                "DELETE FROM device_value WHERE path = $1",
            ] {
                set.execute(sql(text, params![&path]));
            }
        }
    }
    Ok(set)
}

/// The next devices behind this id, with what their values come from.
pub(crate) async fn devices_behind(db: &Db, done_to: &str) -> Result<Vec<Valued>, DbError> {
    let query = sql(
        "SELECT id, created_at, tags, metadata FROM device WHERE id > $1 ORDER BY id LIMIT $2",
        params![done_to, BATCH],
    );
    db.rows(query).await?.iter().map(Valued::try_from).collect()
}

/// A device, as far as its values come from it.
#[derive(Debug)]
pub(crate) struct Valued {
    pub(crate) id: DeviceId,
    created_at: OffsetDateTime,
    tags: Vec<String>,
    metadata: Map<String, JsonValue>,
}

impl Valued {
    /// Adds the values of one path.
    pub(crate) fn index(&self, set: &mut WriteSet, wanted: &str, paths: &[IndexedPath]) {
        for (path, key) in found_by(&self.tags, &self.metadata, paths) {
            if path == wanted {
                set.execute(insert(&self.id, self.created_at, &path, &key));
            }
        }
    }
}

impl TryFrom<&Row> for Valued {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: DeviceId::new(row.get::<String>("id")?),
            created_at: row.get("created_at")?,
            tags: row.get::<Json<Vec<String>>>("tags")?.0,
            metadata: row.get::<Json<Map<String, JsonValue>>>("metadata")?.0,
        })
    }
}

/// Adds the next ids and aliases to the index of their trigrams, on SQLite; nothing where all are there.
pub(crate) async fn add_texts(db: &Db) -> Result<WriteSet, DbError> {
    let mut set = WriteSet::new();
    let missing = sql(
        "SELECT 1 AS found FROM device WHERE rowid > (SELECT n FROM device_text_end) LIMIT 1",
        Vec::new(),
    );
    if db.row_opt(missing).await?.is_none() {
        return Ok(set);
    }
    set.execute(sql(
        "INSERT INTO device_text (rowid, id, alias) SELECT rowid, id_folded, alias_folded \
         FROM device WHERE rowid > (SELECT n FROM device_text_end) ORDER BY rowid LIMIT $1",
        params![BATCH],
    ));
    set.execute(sql(
        "UPDATE device_text_end SET n = (SELECT MAX(number) FROM \
         (SELECT d.rowid AS number FROM device AS d \
         WHERE d.rowid > (SELECT n FROM device_text_end) ORDER BY d.rowid LIMIT $1)) \
         WHERE EXISTS (SELECT 1 FROM device AS d WHERE d.rowid > device_text_end.n)",
        params![BATCH],
    ));
    Ok(set)
}
