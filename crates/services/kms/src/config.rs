//! The configuration block `crypto_engines`: which engines there are, and which is the default.
//!
//! ```yaml
//! crypto_engines:
//!   default_id: filesystem-1
//!   engines:
//!     - id: filesystem-1
//!       type: filesystem
//!       storage_directory: /var/lib/lamassu/keys
//!       passphrase_file: /run/secrets/lamassu-keys
//!       metadata: {site: lab}
//! ```
//!
//! The bare list is read too; its first engine is the default. An engine's own options are read
//! by that engine's crate ([`EngineConfig::options`]), so this crate knows none of them.

use std::fmt;

use lamassu_core::ids::EngineId;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

/// The block `crypto_engines`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoEnginesConfig {
    /// Id of the engine for keys of requests that name none. Default: the first engine.
    pub default_id: EngineId,
    /// The engines, in the order in which they are shown.
    pub engines: Vec<EngineConfig>,
}

impl CryptoEnginesConfig {
    /// One engine, `filesystem-1`, that keeps its keys in this directory: what runs when nothing
    /// is configured.
    #[must_use]
    pub fn filesystem_at(storage_directory: &str) -> Self {
        let id = EngineId::from("filesystem-1");
        let mut options = Map::new();
        options.insert("id".to_owned(), json!(id));
        options.insert("storage_directory".to_owned(), json!(storage_directory));
        let engine = EngineConfig {
            id: id.clone(),
            engine_type: EngineKind::Filesystem.as_str().to_owned(),
            options,
        };
        Self {
            default_id: id,
            engines: vec![engine],
        }
    }

    /// Checks what can be checked without opening anything. Engines of unknown type are no error
    /// here: they are reported and skipped at start, unless one is the default.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (index, engine) in self.engines.iter().enumerate() {
            // Ids stand unescaped in the URIs of keys.
            if engine.id.is_empty() || engine.id.as_str().contains(';') {
                return Err(ConfigError::EngineId(engine.id.clone()));
            }
            let mut others = self.engines.iter().skip(index + 1);
            if others.any(|other| other.id == engine.id) {
                return Err(ConfigError::DuplicateId(engine.id.clone()));
            }
        }
        let default = self
            .engines
            .iter()
            .find(|engine| engine.id == self.default_id);
        match default {
            Some(engine) => engine.kind().map(drop).map_err(ConfigError::DefaultType),
            None => Err(ConfigError::NoDefault(self.default_id.clone())),
        }
    }

    fn new(default_id: Option<EngineId>, engines: Vec<EngineConfig>) -> Self {
        let first = engines.first().map(|engine| engine.id.clone());
        let default_id = default_id.filter(|id| !id.is_empty());
        Self {
            default_id: default_id.or(first).unwrap_or_default(),
            engines,
        }
    }
}

impl<'de> Deserialize<'de> for CryptoEnginesConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BlockVisitor)
    }
}

/// The block as an object. Members that steer what does not exist here (`log_level`,
/// `migrate_keys_format`) are accepted and ignored.
#[derive(Deserialize)]
struct Block {
    #[serde(default)]
    default_id: Option<EngineId>,
    #[serde(default)]
    engines: Vec<EngineConfig>,
}

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = CryptoEnginesConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `default_id` and `engines`, or a list of engines")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let block = Block::deserialize(MapAccessDeserializer::new(map))?;
        Ok(CryptoEnginesConfig::new(block.default_id, block.engines))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        let engines = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(CryptoEnginesConfig::new(None, engines))
    }
}

/// One engine. Its options may hold secrets and are never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct EngineConfig {
    /// Unique; part of every key's URI, so without `;`.
    pub id: EngineId,
    /// Which kind of engine: `filesystem`, `software` or `pkcs11`.
    pub engine_type: String,
    options: Map<String, Value>,
}

impl EngineConfig {
    /// The kind of engine.
    ///
    /// # Errors
    ///
    /// [`UnknownEngineType`].
    pub fn kind(&self) -> Result<EngineKind, UnknownEngineType> {
        let known = [
            EngineKind::Filesystem,
            EngineKind::Software,
            EngineKind::Pkcs11,
        ];
        known
            .into_iter()
            .find(|kind| kind.as_str() == self.engine_type)
            .ok_or_else(|| UnknownEngineType(self.engine_type.clone()))
    }

    /// The engine's options as the engine's own type, `id` and `metadata` included.
    ///
    /// # Errors
    ///
    /// When a member is missing or has another type.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object(self.options.clone()))
    }
}

impl TryFrom<Map<String, Value>> for EngineConfig {
    type Error = ConfigError;

    fn try_from(mut options: Map<String, Value>) -> Result<Self, ConfigError> {
        let text = |member: Option<Value>| match member {
            Some(Value::String(text)) => text,
            Some(_) | None => String::new(),
        };
        let engine_type = text(options.remove("type"));
        let id = EngineId::from(text(options.get("id").cloned()));
        if id.is_empty() || engine_type.is_empty() {
            return Err(ConfigError::Incomplete);
        }
        Ok(Self {
            id,
            engine_type,
            options,
        })
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("id", &self.id)
            .field("engine_type", &self.engine_type)
            .finish_non_exhaustive()
    }
}

/// Kinds of engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Keys in files of a directory.
    Filesystem,
    /// Keys in memory, gone with the process.
    Software,
    /// Keys in a token.
    Pkcs11,
}

impl EngineKind {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Software => "software",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

/// The configuration names a kind of engine that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no crypto engine of type {0}")]
pub struct UnknownEngineType(pub String);

/// Why the block cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An engine without `id` or `type`.
    #[error("each crypto engine needs an id and a type, both texts")]
    Incomplete,
    /// An id that cannot stand in a URI.
    #[error("crypto engine id {0:?} is empty or contains ';'")]
    EngineId(EngineId),
    /// Two engines share an id.
    #[error("two crypto engines have the id {0}")]
    DuplicateId(EngineId),
    /// The default engine is not in the list.
    #[error("the default crypto engine {0:?} is not configured")]
    NoDefault(EngineId),
    /// The default engine has an unknown type.
    #[error(transparent)]
    DefaultType(UnknownEngineType),
}
