//! The tables of the service: statements and rows, nothing else.

mod counts;
mod leftover;
mod lookup;
#[cfg(test)]
mod plans;
mod row;
#[cfg(test)]
mod upgrades;
mod usage;
mod write;

use std::sync::Arc;

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::{EngineId, KeyId};
use lamassu_core::kms::{KeyStatus, KeyType};
use lamassu_core::page::Page;
use lamassu_core::query::{Field, Filter, Hex, ListRequest};
use lamassu_db::list::{self, ListError, ListTable, Restriction};
use lamassu_db::{
    CommitError, Db, DbError, Migration, Row, Schema, Value, in_list, params, readable, sql,
    sql_of_few,
};

use uuid::Uuid;

pub(crate) use self::counts::KeyCount;
pub(crate) use self::leftover::{
    Leftover, LeftoverState, claim_leftover, insert_leftover, remove_leftover,
};
use self::lookup::Lookups;
pub(crate) use self::row::{Half, StoredKey, Unsettled, UnsettledState, pkcs11_uri};
pub(crate) use self::usage::{FRESH_BATCH, UsageRow, add_usage, insert_batch};
pub(crate) use self::write::{
    ALIAS, KEYS_CHANGED, NewKey, PENDING, REVISION, delete_pending, delete_settled, insert_pending,
    mark_deleting, mark_lost, mark_ready, relocate, remove_ready, unmark_deleting, update_key,
};
use crate::key_address::KeyAddress;

/// The tables of this service.
pub const SCHEMA: Schema = Schema {
    name: "kms",
    migrations: &[
        Migration::portable(1, "keys", include_str!("../migrations/V0001__keys.sql")),
        Migration::portable(
            2,
            "states_moves_usage",
            include_str!("../migrations/V0002__states_moves_usage.sql"),
        ),
        Migration {
            version: 3,
            name: "key_text",
            sqlite: include_str!("../migrations/V0003__key_text.sqlite.sql"),
            postgres: include_str!("../migrations/V0003__key_text.postgres.sql"),
        },
        Migration {
            version: 4,
            name: "key_counts",
            sqlite: include_str!("../migrations/V0004__key_counts.sqlite.sql"),
            postgres: include_str!("../migrations/V0004__key_counts.postgres.sql"),
        },
        Migration::portable(
            5,
            "usage_batches",
            include_str!("../migrations/V0005__usage_batches.sql"),
        ),
        Migration::portable(
            6,
            "made_as",
            include_str!("../migrations/V0006__made_as.sql"),
        ),
        Migration::portable(
            7,
            "names_in_order",
            include_str!("../migrations/V0007__names_in_order.sql"),
        ),
    ],
};

/// What keys are found by that contain a text: a table on SQLite, an index on PostgreSQL.
pub(crate) const SEARCH_INDEX: &str = "kms_key_text";

/// What keys can be filtered and sorted by. Key ids are lower-case hex: their own folded text.
pub static KEY_FIELDS: &[Field] = &[
    Field::string("key_id", "key_id")
        .folded("key_id")
        .searched_in(SEARCH_INDEX)
        .hex(Hex::Octets),
    Field::string("engine_id", "engine_id"),
    Field::string("algorithm", "algorithm").choices(KeyType::NAMES),
    Field::string("public_key", "public_key"),
    Field::string("name", "name")
        .folded("name_folded")
        .searched_in(SEARCH_INDEX),
    Field::boolean("has_private_key", "has_private_key"),
    Field::number("size", "size"),
    Field::date("creation_ts", "created_at"),
    Field::string_array("tags", "tags").elements_searched_in("tags_folded", SEARCH_INDEX),
    Field::string_array("aliases", "aliases"),
    Field::string("status", "status").choices(KeyStatus::WORDS),
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
        "status",
    ],
    key: "handle",
    created: "created_at",
    fields: KEY_FIELDS,
};

macro_rules! select_key {
    ($condition:literal) => {
        concat!(
            "SELECT handle, revision, key_id, name, aliases, engine_id, has_private_key, \
             algorithm, size, public_key, created_at, tags, metadata, status \
             FROM kms_key WHERE state = 'ready' AND ",
            $condition
        )
    };
}
use select_key;

/// Reads of keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyStore {
    db: Db,
    lookups: Arc<Lookups>,
}

impl KeyStore {
    pub(crate) fn new(db: Db) -> Self {
        Self {
            lookups: Arc::new(Lookups::new(db.clone())),
            db,
        }
    }

    /// The key at an address. One query, by index, for all who ask at the same time.
    pub(crate) async fn key_by_address(
        &self,
        address: &KeyAddress,
    ) -> Result<Option<StoredKey>, DbError> {
        self.lookups.find(address).await
    }

    /// The key that was made under this handle, wherever it has been moved since.
    pub(crate) async fn key_made_as(
        &self,
        handle: &KeyHandle,
    ) -> Result<Option<StoredKey>, DbError> {
        let query = sql(
            select_key!("(handle = $1 OR made_as = $1)"),
            params![handle.as_str()],
        );
        let row = self.db.row_opt(query).await?;
        row.as_ref().map(StoredKey::try_from).transpose()
    }

    /// Keys of an engine that can be read, at most `limit` of them.
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
        Ok(readable_of(&rows))
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
        row.as_ref().map(Unsettled::try_from).transpose()
    }

    /// Whether somebody makes or destroys a key of this id.
    pub(crate) async fn is_unsettled(&self, id: &KeyId) -> Result<bool, DbError> {
        let query = sql(
            "SELECT handle FROM kms_key WHERE key_id = $1 AND state <> 'ready'",
            params![id.as_str()],
        );
        Ok(self.db.row_opt(query).await?.is_some())
    }

    /// What an engine may hold for no key and can be read, oldest first.
    pub(crate) async fn leftovers_of_engine(
        &self,
        engine: &EngineId,
        limit: u32,
    ) -> Result<Vec<Leftover>, DbError> {
        let query = leftover::of_engine(engine, limit);
        let rows = self.db.rows(query).await?;
        Ok(readable_of(&rows))
    }

    /// What was done with a key, a row per operation and day, and whether this batch of counts is among it.
    pub(crate) async fn usage_of(
        &self,
        key: &KeyId,
        batch: Option<Uuid>,
    ) -> Result<(Vec<UsageRow>, bool), DbError> {
        let queries = std::iter::once(usage::of_key(key)).chain(batch.map(usage::batch));
        let mut results = self.db.snapshot(queries.collect()).await?.into_iter();
        let rows = results.next().unwrap_or_default().into_iter();
        let rows = rows.map(UsageRow::try_from).collect::<Result<_, _>>()?;
        Ok((rows, results.next().is_some_and(|found| !found.is_empty())))
    }

    /// Keys of an engine that are in the making or on their way out and can be read, oldest first.
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
        Ok(readable_of(&rows))
    }

    pub(crate) async fn keys(&self, request: &ListRequest) -> Result<Page<Row>, ListError> {
        list::list(&self.db, &KEYS, "keys", request, &[ready()]).await
    }

    /// How many keys there are, per engine and algorithm, without counting them.
    pub(crate) async fn counts(&self) -> Result<Vec<KeyCount>, DbError> {
        let rows = self.db.rows(counts::all()).await?;
        rows.into_iter().map(KeyCount::try_from).collect()
    }

    /// Makes few rows of many that the counting has left.
    pub(crate) async fn merge_counts(&self) -> Result<(), CommitError> {
        counts::merge(&self.db).await
    }

    /// The ids of keys by their handles; of those that are not there, none.
    pub(crate) async fn key_ids(&self, handles: &[KeyHandle]) -> Result<Vec<KeyId>, DbError> {
        if handles.is_empty() {
            return Ok(Vec::new());
        }
        let mut values: Vec<Value> = handles
            .iter()
            .map(|handle| handle.as_str().into())
            .collect();
        let list = in_list(&mut values);
        let query = format!(
            "SELECT key_id FROM kms_key WHERE state = 'ready' AND handle IN ({list}) ORDER BY key_id"
        );
        let rows = self.db.rows(sql_of_few(query, values)).await?;
        rows.iter()
            .map(|row| row.get::<String>("key_id").map(KeyId::from))
            .collect()
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

/// The rows of this table or of its leftovers that can be read.
fn readable_of<T>(rows: &[Row]) -> Vec<T>
where
    T: for<'a> TryFrom<&'a Row, Error = DbError>,
{
    let read = rows.iter().map(|row| row.read("handle"));
    read.filter_map(readable).collect()
}

fn ready() -> Restriction {
    Restriction::Is("state", Value::from("ready"))
}
