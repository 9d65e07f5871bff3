//! Key management: what keys look like, what the service promises, why it refuses.
//!
//! The service owns asymmetric key pairs that live in crypto engines. Nobody else talks to an
//! engine. Everything here is on the wire under `/api/kms/v1`, but for what only other services
//! need ([`KmsService::signer`], [`KmsService::bind_certificate`], [`KmsService::discard`]).

pub mod algorithm;
mod error;
mod key_type;
mod private_key;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::crypto_engine::Signer;
use crate::ids::{CaRequestId, EngineId, KeyId, KeyRef, OperationId, SerialNumber};
use crate::page::Page;
use crate::patch::PatchOperation;
use crate::pem::PublicKeyDer;
use crate::query::ListRequest;
use crate::timestamp::Timestamp;

pub use error::KmsError;
pub use key_type::KeyType;
pub use private_key::PrivateKeyBytes;

/// The metadata member that names what a key is used for (spelling is wire format).
pub const BOUND_RESOURCES: &str = "lamassu.io/kms/binded-resources";

/// The type of resource that a request for a CA is; the other one is `certificate`.
const CA_REQUEST: &str = "ca_request";

/// What the metadata of a key that is made for a request for a CA say of it. Its first certificate takes this away.
pub fn made_for_request(id: &CaRequestId) -> Map<String, Value> {
    let request = json!({ "resource_type": CA_REQUEST, "resource_id": id });
    Map::from_iter([(BOUND_RESOURCES.to_owned(), Value::Array(vec![request]))])
}

/// Whether what a key is used for is a request for a CA.
pub fn is_request(resource: &Value) -> bool {
    resource.get("resource_type").and_then(Value::as_str) == Some(CA_REQUEST)
}

/// How long a caller waits for a key at most: the slowest takes a minute of a core, and others may
/// wait in front of it. Well below the ten minutes after which a key in the making counts as one that
/// a crash left.
pub const GENERATION_DEADLINE: Duration = Duration::from_mins(5);

/// Longest name or alias of a key: PostgreSQL takes no much longer one into an index.
pub const MAX_NAME_OCTETS: usize = 1_000;

/// What the key of something is called that was made for it, as far as a name may go.
pub fn key_name(purpose: &str, owner: &str) -> String {
    let mut name = format!("{purpose}{owner}");
    name.truncate(name.floor_char_boundary(MAX_NAME_OCTETS));
    name
}

/// A key pair as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// `pkcs11:token-id=<engine>;id=<key>;type=private`, computed.
    #[schemars(example = &"pkcs11:token-id=filesystem-1;id=5d8c4a1f0e7b6c39d2a8f1b4e0c7a6935b1d8e2f4c7a0b9d6e3f1a8c5b2d7e40;type=private")]
    pub pkcs11_uri: String,
    /// Lower-case hex SHA-256 of the SubjectPublicKeyInfo.
    pub key_id: KeyId,
    /// Free text, not unique.
    #[schemars(example = &"sensor signing key")]
    pub name: String,
    /// Other names; unique over all keys.
    #[schemars(example = ["sensor-key"])]
    pub aliases: Vec<String>,
    /// The engine that holds it.
    pub engine_id: EngineId,
    /// Whether the engine can sign with it.
    pub has_private_key: bool,
    /// `RSA`, `ECDSA`, `Ed25519` or `ML-DSA`.
    #[schemars(example = &"ECDSA")]
    pub algorithm: String,
    /// RSA modulus or curve size in bits; 256 for Ed25519; 44, 65, 87 for ML-DSA.
    #[schemars(example = 256)]
    pub size: u32,
    /// The public half.
    pub public_key: PublicKeyDer,
    /// When it was made.
    pub creation_ts: Timestamp,
    /// Free texts, order and duplicates kept.
    #[schemars(example = ["factory"])]
    pub tags: Vec<String>,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// Whether it signs. Not in the reference, whose clients pass it over.
    #[serde(default)]
    pub status: KeyStatus,
    /// What was done with it and when last, by operation; only where one key is read. Operations
    /// that never happened are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<BTreeMap<String, OperationUsage>>,
}

/// Whether a key signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyStatus {
    /// It signs.
    #[default]
    Active,
    /// It does not sign, neither for clients nor for the platform. Everything else goes on: it is
    /// shown, changed, verified with, moved and deleted.
    Disabled,
}

impl KeyStatus {
    /// All words.
    pub const WORDS: &'static [&'static str] = &[Self::Active.as_str(), Self::Disabled.as_str()];

    /// The wire's word; matched with case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Disabled => "DISABLED",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Disabled]
            .into_iter()
            .find(|known| known.as_str() == name)
    }
}

/// How often something was done with a key. Counted in memory and stored every few seconds: a crash
/// loses the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationUsage {
    /// How often, since the key exists.
    #[schemars(example = 17)]
    pub count: i64,
    /// When last.
    pub last_used_ts: Timestamp,
}

/// A crypto engine as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineDescription {
    /// Type text, for example `GOLANG` for keys in files.
    #[serde(rename = "type")]
    #[schemars(example = &"GOLANG")]
    pub engine_type: String,
    /// 0 to 2.
    #[schemars(example = 0)]
    pub security_level: u8,
    /// Who makes it.
    #[schemars(example = &"Lamassu")]
    pub provider: String,
    /// What it is called.
    #[schemars(example = &"Filesystem")]
    pub name: String,
    /// As configured.
    pub metadata: Option<Map<String, Value>>,
    /// What it can hold.
    pub supported_key_types: Vec<SupportedKeyType>,
    /// As configured.
    pub id: EngineId,
    /// Whether keys go here when no engine is named.
    pub default: bool,
    /// Whether it works. Not in the reference, whose clients pass it over.
    #[serde(default)]
    pub health: EngineHealth,
}

/// Whether an engine works; a few seconds old at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineHealth {
    /// In one word.
    pub status: EngineStatus,
    /// Why not, in words that may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"the token is not there")]
    pub error: Option<String>,
}

/// Whether an engine works, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineStatus {
    /// It answers.
    #[default]
    Ok,
    /// It was opened, and does not answer or fails.
    Failing,
    /// It could not be opened when the process began. It takes no keys, and its keys do not sign.
    Unopened,
}

/// A key type and the sizes of it that an engine takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SupportedKeyType {
    /// `RSA`, `ECDSA`, `Ed25519` or `ML-DSA`.
    #[serde(rename = "type")]
    #[schemars(example = &"ECDSA")]
    pub key_type: String,
    /// Bits.
    #[schemars(example = [256, 384])]
    pub sizes: Vec<u32>,
}

/// How many keys there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyStats {
    /// All of them.
    #[schemars(example = 12)]
    pub total_keys: i64,
    /// Per engine; every configured engine is there.
    #[schemars(example = json!({"filesystem-1": 12}))]
    pub keys_distribution_per_engine: BTreeMap<String, i64>,
    /// Per key type; every key type is there.
    #[schemars(example = json!({"ECDSA": 11, "RSA": 1}))]
    pub keys_distribution_per_algorithm: BTreeMap<String, i64>,
}

/// What a new key shall be.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateKey {
    /// Key type text, as sent.
    pub algorithm: String,
    /// Bits.
    pub size: u32,
    /// The default engine when empty.
    pub engine_id: EngineId,
    /// Free text.
    pub name: String,
    /// Free texts.
    pub tags: Vec<String>,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// The unfinished change that needs the key; [`KmsService::discard`] undoes it. `None` for a
    /// key that a client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
}

/// A private key that comes from outside, and what it shall be called.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImportKey {
    /// The key, PEM or DER.
    pub private_key: PrivateKeyBytes,
    /// The default engine when empty.
    pub engine_id: EngineId,
    /// Free text; may be empty.
    pub name: String,
    /// Free texts.
    pub tags: Vec<String>,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// The unfinished change that needs the key, as in [`CreateKey::operation`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
}

/// What to sign or verify.
#[derive(Clone)]
pub struct SignMessage {
    /// Algorithm name of the wire, for example `ECDSA_SHA_256`.
    pub algorithm: String,
    /// The message or its digest.
    pub message: Bytes,
    /// Which of the two it is: `raw`, or `hash`/`digest`, in any case.
    pub message_type: String,
}

impl fmt::Debug for SignMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignMessage")
            .field("algorithm", &self.algorithm)
            .field("message_octets", &self.message.len())
            .field("message_type", &self.message_type)
            .finish()
    }
}

/// Key management.
#[async_trait]
pub trait KmsService: Send + Sync + fmt::Debug {
    /// The engines, in the order of the configuration.
    async fn engines(&self, caller: &Caller) -> Result<Vec<EngineDescription>, KmsError>;

    /// Makes a key pair.
    async fn create_key(&self, caller: &Caller, request: CreateKey) -> Result<Key, KmsError>;

    /// Takes a private key from outside: PKCS#8, PKCS#1 or SEC 1, clear, PEM or DER. A key that
    /// exists, in whatever engine, is refused.
    async fn import_key(&self, caller: &Caller, request: ImportKey) -> Result<Key, KmsError>;

    /// The key of this id, alias or `pkcs11:` URI, with its usage.
    async fn key(&self, caller: &Caller, key: &KeyRef) -> Result<Key, KmsError>;

    /// Lists keys.
    async fn keys(&self, caller: &Caller, request: &ListRequest) -> Result<Page<Key>, KmsError>;

    /// Counts keys, with the filters of a list.
    async fn stats(&self, caller: &Caller, request: &ListRequest) -> Result<KeyStats, KmsError>;

    /// Calls a key by another name, which must not be empty.
    async fn set_name(&self, caller: &Caller, key: &KeyRef, name: String) -> Result<Key, KmsError>;

    /// Replaces a key's tags.
    async fn set_tags(
        &self,
        caller: &Caller,
        key: &KeyRef,
        tags: Vec<String>,
    ) -> Result<Key, KmsError>;

    /// Patches a key's metadata, all operations or none.
    async fn patch_metadata(
        &self,
        caller: &Caller,
        key: &KeyRef,
        operations: Vec<PatchOperation>,
    ) -> Result<Key, KmsError>;

    /// Patches a key's aliases, all operations or none. An alias belongs to one key.
    async fn patch_aliases(
        &self,
        caller: &Caller,
        key: &KeyRef,
        operations: Vec<PatchOperation>,
    ) -> Result<Key, KmsError>;

    /// Lets a key sign or not.
    async fn set_status(
        &self,
        caller: &Caller,
        key: &KeyRef,
        status: KeyStatus,
    ) -> Result<Key, KmsError>;

    /// Moves a key into another engine: it keeps its id, its names and its bindings. Refused where
    /// the present engine does not give private keys away.
    async fn move_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        engine: &EngineId,
    ) -> Result<Key, KmsError>;

    /// Destroys a key pair: first for look-up, then in its engine.
    async fn delete_key(&self, caller: &Caller, key: &KeyRef) -> Result<(), KmsError>;

    /// Signs for a client; recorded as an event.
    async fn sign(
        &self,
        caller: &Caller,
        key: &KeyRef,
        message: SignMessage,
    ) -> Result<Vec<u8>, KmsError>;

    /// Verifies for a client, with the stored public key.
    async fn verify(
        &self,
        caller: &Caller,
        key: &KeyRef,
        message: SignMessage,
        signature: &[u8],
    ) -> Result<bool, KmsError>;

    /// A handle that signs with the key, for the platform's own certificates, CRLs and OCSP
    /// answers. Cheap: cached, no file is read. Signatures made with it are metrics, no events.
    async fn signer(&self, caller: &Caller, key: &KeyRef) -> Result<Arc<dyn Signer>, KmsError>;

    /// Notes in the key's metadata that a certificate uses it; a second time changes nothing.
    async fn bind_certificate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError>;

    /// Removes from the key's metadata that a certificate uses it; a second time changes nothing.
    async fn unbind_certificate(
        &self,
        caller: &Caller,
        key: &KeyRef,
        serial: &SerialNumber,
    ) -> Result<(), KmsError>;

    /// Destroys the key that an abandoned operation made, if it made one.
    async fn discard(&self, caller: &Caller, operation: &OperationId) -> Result<(), KmsError>;
}
