//! Rows of `dms`.

use lamassu_core::dms::{Dms, DmsSettings};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DmsId;
use lamassu_core::query::{Field, fold};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Json, Row, Statement, params, sql};
use serde_json::{Map, Value};

use crate::seal::StoredSecrets;

/// No DMS has the id yet.
pub(crate) const NEW_ID: Check = Check::new("DMS id is free");
/// The DMS is as it was read.
pub(crate) const REVISION: Check = Check::new("DMS revision");

/// What lists can be filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::string("id", "id").folded("id_folded"),
    Field::string("name", "name").folded("name_folded"),
    Field::date("creation_date", "created_at").alias("creation_ts"),
    Field::json("metadata", "metadata"),
    Field::json("settings", "settings"),
];

/// How DMSs are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "dms",
    columns: &[
        "id",
        "name",
        "metadata",
        "settings",
        "created_at",
        "secrets",
        "revision",
    ],
    key: "id",
    created: "created_at",
    fields: FIELDS,
};

/// A DMS and the state of its row.
#[derive(Clone, Debug)]
pub(crate) struct StoredDms {
    pub(crate) dms: Dms,
    pub(crate) secrets: StoredSecrets,
    pub(crate) revision: i64,
}

impl TryFrom<Row> for StoredDms {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let Json(metadata) = row.get::<Json<Map<String, Value>>>("metadata")?;
        let Json(settings) = row.get::<Json<DmsSettings>>("settings")?;
        let created_at = Timestamp::from_micros(row.get("created_at")?)
            .ok_or_else(|| DbError::corrupt("created_at", "outside the years 1 to 9999"))?;
        let dms = Dms {
            id: DmsId::new(row.get::<String>("id")?),
            name: row.get("name")?,
            metadata,
            creation_ts: created_at,
            settings,
        };
        let Json(secrets) = row.get::<Json<StoredSecrets>>("secrets")?;
        Ok(Self {
            dms,
            secrets,
            revision: row.get("revision")?,
        })
    }
}

/// The DMS of this id. One indexed read.
pub(crate) async fn by_id(db: &Db, id: &DmsId) -> Result<Option<StoredDms>, DbError> {
    let query = sql(
        "SELECT id, name, metadata, settings, created_at, secrets, revision FROM dms WHERE id = $1",
        params![id.as_str()],
    );
    db.row_opt(query)
        .await?
        .map(StoredDms::try_from)
        .transpose()
}

/// The DMSs whose secrets an older version stored in clear, under the names of their members. A scan.
pub(crate) async fn with_clear_secrets(db: &Db) -> Result<Vec<DmsId>, DbError> {
    let query = sql(
        "SELECT id FROM dms WHERE CAST(secrets AS TEXT) LIKE '%\"api_key\"%'",
        params![],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| Ok(DmsId::new(row.get::<String>("id")?)))
        .collect()
}

/// Inserts a DMS unless its id is taken.
pub(crate) fn insert(dms: &Dms, secrets: &StoredSecrets) -> Result<Statement, StorageFailure> {
    Ok(sql(
        "INSERT INTO dms \
         (id, id_folded, name, name_folded, metadata, settings, created_at, secrets, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1) ON CONFLICT DO NOTHING",
        params![
            dms.id.as_str(),
            fold(dms.id.as_str()),
            dms.name.as_str(),
            fold(&dms.name),
            document(&dms.metadata)?,
            document(&dms.settings)?,
            dms.creation_ts.to_micros(),
            document(secrets)?,
        ],
    ))
}

/// Replaces name, metadata and settings of the DMS that is still at this revision.
pub(crate) fn update(
    dms: &Dms,
    secrets: &StoredSecrets,
    revision: i64,
) -> Result<Statement, StorageFailure> {
    Ok(sql(
        "UPDATE dms SET name = $1, name_folded = $2, metadata = $3, settings = $4, secrets = $5, \
         revision = revision + 1 WHERE id = $6 AND revision = $7",
        params![
            dms.name.as_str(),
            fold(&dms.name),
            document(&dms.metadata)?,
            document(&dms.settings)?,
            document(secrets)?,
            dms.id.as_str(),
            revision,
        ],
    ))
}

/// Deletes the DMS that is still at this revision.
pub(crate) fn delete(id: &DmsId, revision: i64) -> Statement {
    sql(
        "DELETE FROM dms WHERE id = $1 AND revision = $2",
        params![id.as_str(), revision],
    )
}

fn document<T: serde::Serialize>(value: &T) -> Result<lamassu_db::Value, StorageFailure> {
    Json(value)
        .to_value()
        .map_err(|error| StorageFailure::Internal(Box::new(error)))
}
