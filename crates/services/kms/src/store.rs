//! The tables `kms_key` and `kms_key_alias`: statements and rows, nothing else.

mod row;
mod write;

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::EngineId;
use lamassu_core::page::Page;
use lamassu_core::query::{Field, Filter, ListRequest};
use lamassu_db::list::{self, ListError, ListTable, Restriction};
use lamassu_db::{Db, DbError, Migration, Row, Schema, Value, params, sql};

pub(crate) use self::row::{Half, StoredKey, Unsettled, UnsettledState, pkcs11_uri};
pub(crate) use self::write::{
    NewKey, PENDING, REVISION, delete_pending, delete_settled, insert_pending, mark_deleting,
    mark_lost, mark_ready, remove_ready, set_metadata, unmark_deleting,
};
use crate::key_address::KeyAddress;

/// The tables of this service.
pub const SCHEMA: Schema = Schema {
    name: "kms",
    migrations: &[Migration::portable(
        1,
        "keys",
        include_str!("../migrations/V0001__keys.sql"),
    )],
};

/// What keys can be filtered and sorted by. Key ids are lower-case hex: their own folded text.
pub static KEY_FIELDS: &[Field] = &[
    Field::string("key_id", "key_id").folded("key_id"),
    Field::string("engine_id", "engine_id"),
    Field::string("algorithm", "algorithm"),
    Field::string("public_key", "public_key"),
    Field::string("name", "name").folded("name_folded"),
    Field::boolean("has_private_key", "has_private_key"),
    Field::number("size", "size"),
    Field::date("creation_ts", "created_at"),
    Field::string_array("tags", "tags"),
    Field::string_array("aliases", "aliases"),
    Field::json("metadata", "metadata"),
];

const KEYS: ListTable = ListTable {
    table: "kms_key",
    columns: &[
        "handle",
        "revision",
        "key_id",
        "name",
        "aliases",
        "engine_id",
        "has_private_key",
        "algorithm",
        "size",
        "public_key",
        "created_at",
        "tags",
        "metadata",
    ],
    key: "handle",
    created: "created_at",
    fields: KEY_FIELDS,
};

macro_rules! select_key {
    ($condition:literal) => {
        concat!(
            "SELECT handle, revision, key_id, name, aliases, engine_id, has_private_key, \
             algorithm, size, public_key, created_at, tags, metadata \
             FROM kms_key WHERE state = 'ready' AND ",
            $condition
        )
    };
}

/// Reads of keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyStore {
    db: Db,
}

impl KeyStore {
    pub(crate) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// The key at an address. One query, by index.
    pub(crate) async fn key_by_address(
        &self,
        address: &KeyAddress,
    ) -> Result<Option<StoredKey>, DbError> {
        let query = match address {
            KeyAddress::Id(id) => sql(select_key!("key_id = $1"), params![id.as_str()]),
            KeyAddress::IdOrAlias(name) => sql(
                select_key!(
                    "(key_id = $1 OR handle = (SELECT a.handle FROM kms_key_alias a WHERE a.alias = $1)) \
                     ORDER BY CASE WHEN key_id = $1 THEN 0 ELSE 1 END LIMIT 1"
                ),
                params![name],
            ),
        };
        let row = self.db.row_opt(query).await?;
        row.map(StoredKey::try_from).transpose()
    }

    /// The key that an engine knows by this handle.
    pub(crate) async fn key_by_handle(
        &self,
        handle: &KeyHandle,
    ) -> Result<Option<StoredKey>, DbError> {
        let query = sql(select_key!("handle = $1"), params![handle.as_str()]);
        let row = self.db.row_opt(query).await?;
        row.map(StoredKey::try_from).transpose()
    }

    /// Keys of an engine, at most `limit` of them.
    pub(crate) async fn keys_of_engine(
        &self,
        engine: &EngineId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<StoredKey>, DbError> {
        let query = sql(
            select_key!("engine_id = $1 AND handle > $2 ORDER BY handle LIMIT $3"),
            params![engine.as_str(), after, limit],
        );
        let rows = self.db.rows(query).await?;
        rows.into_iter().map(StoredKey::try_from).collect()
    }

    /// The unsettled key with this handle.
    pub(crate) async fn unsettled_by_handle(
        &self,
        handle: &KeyHandle,
    ) -> Result<Option<Unsettled>, DbError> {
        let query = sql(
            "SELECT handle, engine_id, state, key_id, state_changed_at FROM kms_key \
             WHERE handle = $1 AND state <> 'ready'",
            params![handle.as_str()],
        );
        let row = self.db.row_opt(query).await?;
        row.map(Unsettled::try_from).transpose()
    }

    /// Keys of an engine that are in the making or on their way out, oldest first.
    pub(crate) async fn unsettled_of_engine(
        &self,
        engine: &EngineId,
        limit: u32,
    ) -> Result<Vec<Unsettled>, DbError> {
        let query = sql(
            "SELECT handle, engine_id, state, key_id, state_changed_at FROM kms_key \
             WHERE state <> 'ready' AND engine_id = $1 \
             ORDER BY state_changed_at, handle LIMIT $2",
            params![engine.as_str(), limit],
        );
        let rows = self.db.rows(query).await?;
        rows.into_iter().map(Unsettled::try_from).collect()
    }

    pub(crate) async fn keys(&self, request: &ListRequest) -> Result<Page<Row>, ListError> {
        list::list(&self.db, &KEYS, "keys", request, &[ready()]).await
    }

    /// How many keys fulfil the filters, per value of a column.
    pub(crate) async fn count_by(
        &self,
        column: &'static str,
        filters: &[Filter],
    ) -> Result<Vec<(Value, i64)>, ListError> {
        list::count_by(&self.db, &KEYS, column, filters, &[ready()]).await
    }
}

/// The names that an engine knows its keys by, behind `after`, in order, at most `limit`; those of
/// keys that clients can use. For backups, which read a database without a running service.
///
/// # Errors
///
/// [`DbError`].
pub async fn handles_of_engine(
    db: &Db,
    engine: &EngineId,
    after: &str,
    limit: u32,
) -> Result<Vec<KeyHandle>, DbError> {
    let query = sql(
        "SELECT handle FROM kms_key WHERE state = 'ready' AND engine_id = $1 AND handle > $2 \
         ORDER BY handle LIMIT $3",
        params![engine.as_str(), after, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| {
            let handle: String = row.get("handle")?;
            KeyHandle::try_new(&handle)
                .map_err(|_| DbError::corrupt("kms_key.handle", "no handle of a key"))
        })
        .collect()
}

fn ready() -> Restriction {
    Restriction::Is("state", Value::from("ready"))
}
