//! Statements of write sets.

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::{EngineId, KeyId};
use lamassu_core::kms::Key;
use lamassu_core::query::fold;
use lamassu_db::{Check, Statement, Value, WriteSet, params, sql};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

/// The key is as it was read.
pub(crate) const REVISION: Check = Check::new("key revision");

/// The key is still in the making, or its handle is free.
pub(crate) const PENDING: Check = Check::new("pending key");

/// A key before its engine makes it.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) handle: KeyHandle,
    pub(crate) engine_id: EngineId,
    /// Key type of the wire.
    pub(crate) algorithm: &'static str,
    pub(crate) size: u32,
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Map<String, JsonValue>,
    pub(crate) created_at: OffsetDateTime,
}

/// Expects that the handle is free ([`PENDING`]).
pub(crate) fn insert_pending(set: &mut WriteSet, new: &NewKey) {
    set.expect_one(
        sql(
            "INSERT INTO kms_key (handle, revision, state, state_changed_at, name, name_folded, \
             aliases, engine_id, has_private_key, algorithm, size, created_at, tags, metadata) \
             VALUES ($1, 1, 'pending', $2, $3, $4, $5, $6, $7, $8, $9, $2, $10, $11) \
             ON CONFLICT DO NOTHING",
            params![
                new.handle.as_str(),
                new.created_at,
                &new.name,
                fold(&new.name),
                JsonValue::Array(Vec::new()),
                new.engine_id.as_str(),
                true,
                new.algorithm,
                new.size,
                texts(&new.tags),
                object(&new.metadata),
            ],
        ),
        PENDING,
    );
}

/// Expects that the key is still pending ([`PENDING`]).
pub(crate) fn mark_ready(set: &mut WriteSet, handle: &KeyHandle, key: &Key, now: OffsetDateTime) {
    set.expect_one(
        sql(
            "UPDATE kms_key SET state = 'ready', state_changed_at = $1, revision = revision + 1, \
             key_id = $2, public_key = $3, name = $4, name_folded = $5 \
             WHERE handle = $6 AND state = 'pending'",
            params![
                now,
                key.key_id.as_str(),
                key.public_key.to_wire(),
                &key.name,
                fold(&key.name),
                handle.as_str(),
            ],
        ),
        PENDING,
    );
}

/// Expects that the key is still pending ([`PENDING`]).
pub(crate) fn delete_pending(set: &mut WriteSet, handle: &KeyHandle) {
    set.expect_one(
        sql(
            "DELETE FROM kms_key WHERE handle = $1 AND state = 'pending'",
            params![handle.as_str()],
        ),
        PENDING,
    );
}

/// Expects the revision ([`REVISION`]).
pub(crate) fn mark_deleting(
    set: &mut WriteSet,
    handle: &KeyHandle,
    revision: i64,
    now: OffsetDateTime,
) {
    set.expect_one(
        sql(
            "UPDATE kms_key SET state = 'deleting', state_changed_at = $1, \
             revision = revision + 1 \
             WHERE handle = $2 AND revision = $3 AND state = 'ready'",
            params![now, handle.as_str(), revision],
        ),
        REVISION,
    );
}

/// Takes the mark back, because the engine cannot delete. Expects the mark ([`REVISION`]).
pub(crate) fn unmark_deleting(set: &mut WriteSet, handle: &KeyHandle, now: OffsetDateTime) {
    set.expect_one(
        sql(
            "UPDATE kms_key SET state = 'ready', state_changed_at = $1, revision = revision + 1 \
             WHERE handle = $2 AND state = 'deleting'",
            params![now, handle.as_str()],
        ),
        REVISION,
    );
}

/// Removes a key that its engine has forgotten. Expects the mark ([`REVISION`]).
pub(crate) fn delete_settled(set: &mut WriteSet, handle: &KeyHandle) {
    set.execute(delete_aliases(handle));
    set.expect_one(
        sql(
            "DELETE FROM kms_key WHERE handle = $1 AND state = 'deleting'",
            params![handle.as_str()],
        ),
        REVISION,
    );
}

/// Removes a key that ended with its engine. Expects the revision ([`REVISION`]).
pub(crate) fn remove_ready(set: &mut WriteSet, handle: &KeyHandle, revision: i64) {
    set.execute(delete_aliases(handle));
    set.expect_one(
        sql(
            "DELETE FROM kms_key WHERE handle = $1 AND revision = $2 AND state = 'ready'",
            params![handle.as_str(), revision],
        ),
        REVISION,
    );
}

/// Notes that a key ended with its engine. Expects the revision ([`REVISION`]).
pub(crate) fn mark_lost(set: &mut WriteSet, handle: &KeyHandle, revision: i64) {
    set.expect_one(
        sql(
            "UPDATE kms_key SET has_private_key = $1, revision = revision + 1 \
             WHERE handle = $2 AND revision = $3 AND state = 'ready'",
            params![false, handle.as_str(), revision],
        ),
        REVISION,
    );
}

/// Expects the revision ([`REVISION`]).
pub(crate) fn set_metadata(
    set: &mut WriteSet,
    key_id: &KeyId,
    revision: i64,
    metadata: &Map<String, JsonValue>,
) {
    set.expect_one(
        sql(
            "UPDATE kms_key SET metadata = $1, revision = revision + 1 \
             WHERE key_id = $2 AND revision = $3 AND state = 'ready'",
            params![object(metadata), key_id.as_str(), revision],
        ),
        REVISION,
    );
}

fn delete_aliases(handle: &KeyHandle) -> Statement {
    sql(
        "DELETE FROM kms_key_alias WHERE handle = $1",
        params![handle.as_str()],
    )
}

fn texts(texts: &[String]) -> Value {
    JsonValue::from(texts).into()
}

fn object(members: &Map<String, JsonValue>) -> Value {
    JsonValue::Object(members.clone()).into()
}
