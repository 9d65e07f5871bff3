//! Statements of write sets.

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::{EngineId, KeyId};
use lamassu_core::kms::Key;
use lamassu_core::query::fold;
use lamassu_db::{Check, Statement, Value, WriteSet, params, sql};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

use super::row::StoredKey;
use super::usage::delete_usage;

/// The key is as it was read.
pub(crate) const REVISION: Check = Check::new("key revision");

/// The key is still in the making, or its handle is free.
pub(crate) const PENDING: Check = Check::new("pending key");

/// No key has the alias.
pub(crate) const ALIAS: Check = Check::new("key alias");

/// Raised when what a key may be used for, where it is or how it is called has changed: processes
/// forget what they have read.
pub(crate) const KEYS_CHANGED: &str = "kms-keys";

/// Between two tags in the column that they are searched in.
const BETWEEN_TAGS: &str = "\u{1f}";

/// A key before its engine makes it.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) handle: KeyHandle,
    /// Known of keys that come from outside; two of them cannot be in the making.
    pub(crate) key_id: Option<KeyId>,
    pub(crate) engine_id: EngineId,
    /// Key type of the wire.
    pub(crate) algorithm: &'static str,
    pub(crate) size: u32,
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Map<String, JsonValue>,
    pub(crate) created_at: OffsetDateTime,
}

/// Expects that the handle and, where it is known, the key id are free ([`PENDING`]).
pub(crate) fn insert_pending(set: &mut WriteSet, new: &NewKey) {
    set.expect_one(
        sql(
            "INSERT INTO kms_key (handle, revision, state, state_changed_at, name, name_folded, \
             aliases, engine_id, has_private_key, algorithm, size, created_at, tags, metadata, key_id, \
             tags_folded) \
             VALUES ($1, 1, 'pending', $2, $3, $4, $5, $6, $7, $8, $9, $2, $10, $11, $12, $13) \
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
                new.key_id.as_ref().map(KeyId::as_str),
                fold(&new.tags.join(BETWEEN_TAGS)),
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
    set.wake(KEYS_CHANGED);
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
    set.execute(delete_usage(handle.as_str()));
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
    set.execute(delete_usage(handle.as_str()));
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

/// Writes what clients can change of a key. Expects the revision ([`REVISION`]) and that nobody has
/// the aliases that it did not have before ([`ALIAS`]).
pub(crate) fn update_key(set: &mut WriteSet, stored: &StoredKey, updated: &Key) {
    let handle = stored.handle.as_str();
    set.expect_one(
        sql(
            "UPDATE kms_key SET name = $1, name_folded = $2, aliases = $3, tags = $4, \
             metadata = $5, status = $6, tags_folded = $7, revision = revision + 1 \
             WHERE handle = $8 AND revision = $9 AND state = 'ready'",
            params![
                &updated.name,
                fold(&updated.name),
                texts(&updated.aliases),
                texts(&updated.tags),
                object(&updated.metadata),
                updated.status.as_str(),
                fold(&updated.tags.join(BETWEEN_TAGS)),
                handle,
                stored.revision,
            ],
        ),
        REVISION,
    );
    if updated.status != stored.key.status || updated.aliases != stored.key.aliases {
        set.wake(KEYS_CHANGED);
    }
    let without = |aliases: &[String], others: &[String]| -> Vec<String> {
        let missing = aliases.iter().filter(|alias| !others.contains(alias));
        missing.cloned().collect()
    };
    for removed in without(&stored.key.aliases, &updated.aliases) {
        set.execute(sql(
            "DELETE FROM kms_key_alias WHERE alias = $1 AND handle = $2",
            params![removed, handle],
        ));
    }
    for added in without(&updated.aliases, &stored.key.aliases) {
        insert_alias(set, &added, &stored.handle);
    }
}

fn insert_alias(set: &mut WriteSet, alias: &str, handle: &KeyHandle) {
    set.expect_one(
        sql(
            "INSERT INTO kms_key_alias (alias, handle) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            params![alias, handle.as_str()],
        ),
        ALIAS,
    );
}

/// Lets a key be the one under this handle of another engine. Expects the revision ([`REVISION`]).
pub(crate) fn relocate(
    set: &mut WriteSet,
    stored: &StoredKey,
    engine: &EngineId,
    handle: &KeyHandle,
) {
    // Aliases refer to the handle: they are away while it changes.
    set.execute(delete_aliases(&stored.handle));
    set.expect_one(
        sql(
            "UPDATE kms_key SET handle = $1, made_as = COALESCE(made_as, handle), engine_id = $2, \
             revision = revision + 1 WHERE handle = $3 AND revision = $4 AND state = 'ready'",
            params![
                handle.as_str(),
                engine.as_str(),
                stored.handle.as_str(),
                stored.revision,
            ],
        ),
        REVISION,
    );
    for alias in &stored.key.aliases {
        insert_alias(set, alias, handle);
    }
    set.wake(KEYS_CHANGED);
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
