//! Rows as values.

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::{EngineId, KeyId};
use lamassu_core::kms::{Key, KeyStatus};
use lamassu_core::pem::PublicKeyDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{DbError, Json, Row};
use time::OffsetDateTime;

/// A key that exists for everybody.
#[derive(Clone, Debug)]
pub(crate) struct StoredKey {
    /// Its name in the engine.
    pub(crate) handle: KeyHandle,
    /// Grows with every change.
    pub(crate) revision: i64,
    /// What clients see.
    pub(crate) key: Key,
}

impl TryFrom<&Row> for StoredKey {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let key_id = KeyId::from(row.get::<String>("key_id")?);
        let engine_id = EngineId::from(row.get::<String>("engine_id")?);
        let has_private_key = row.get("has_private_key")?;
        let half = if has_private_key {
            Half::Private
        } else {
            Half::Public
        };
        let public_key = PublicKeyDer::from_wire(&row.get::<String>("public_key")?)
            .map_err(|error| DbError::corrupt("public_key", error.to_string()))?;
        Ok(Self {
            handle: handle(row)?,
            revision: row.get("revision")?,
            key: Key {
                pkcs11_uri: pkcs11_uri(&engine_id, &key_id, half),
                key_id,
                name: row.get("name")?,
                aliases: row.get::<Json<_>>("aliases")?.0,
                engine_id,
                has_private_key,
                algorithm: row.get("algorithm")?,
                size: row.get("size")?,
                public_key,
                creation_ts: Timestamp::from(row.get::<OffsetDateTime>("created_at")?),
                tags: row.get::<Json<_>>("tags")?.0,
                metadata: row.get::<Json<_>>("metadata")?.0,
                status: KeyStatus::from_name(&row.get::<String>("status")?)
                    .ok_or_else(|| DbError::corrupt("status", "unknown status"))?,
                usage: None,
            },
        })
    }
}

/// What an engine has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// The private key, with which comes the public one.
    Private,
    /// The public key only.
    Public,
}

/// The URI of a key; nothing in it is percent-encoded.
pub(crate) fn pkcs11_uri(engine: &EngineId, key: &KeyId, half: Half) -> String {
    let half = match half {
        Half::Private => "private",
        Half::Public => "public",
    };
    format!("pkcs11:token-id={engine};id={key};type={half}")
}

/// On which side of its life an unsettled key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnsettledState {
    /// The engine is making it.
    Pending,
    /// The engine is to forget it.
    Deleting,
}

/// A key that exists for its engine only, or perhaps not even there.
#[derive(Clone, Debug)]
pub(crate) struct Unsettled {
    pub(crate) handle: KeyHandle,
    pub(crate) engine_id: EngineId,
    pub(crate) state: UnsettledState,
    /// Known of keys that were ready before.
    pub(crate) key_id: Option<KeyId>,
    /// Since when it is in this state.
    pub(crate) since: OffsetDateTime,
}

impl TryFrom<&Row> for Unsettled {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            handle: handle(row)?,
            engine_id: EngineId::from(row.get::<String>("engine_id")?),
            state: match row.get::<String>("state")?.as_str() {
                "pending" => UnsettledState::Pending,
                "deleting" => UnsettledState::Deleting,
                _ => return Err(DbError::corrupt("state", "unknown state")),
            },
            key_id: row.get::<Option<String>>("key_id")?.map(KeyId::from),
            since: row.get("state_changed_at")?,
        })
    }
}

pub(super) fn handle(row: &Row) -> Result<KeyHandle, DbError> {
    KeyHandle::try_new(&row.get::<String>("handle")?)
        .map_err(|error| DbError::corrupt("handle", error.to_string()))
}
