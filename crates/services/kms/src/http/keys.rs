//! `/v1/keys`, `/v1/engines` and `/v1/stats`.

use axum::extract::State;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::{CreateKey, EngineDescription, ImportKey, Key, KeyStats, PrivateKeyBytes};
use lamassu_core::page::Page;
use lamassu_core::query::Field;
use lamassu_http::{
    AskedBy, Counted, GoJson, Json200, Json201, Listed, Listing, PathParams, Query, Reply,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kms;
use super::body::KeySize;
use crate::store::KEY_FIELDS;

/// Keys, as lists know them.
pub(super) struct Keys;

impl Listing for Keys {
    const FIELDS: &'static [Field] = KEY_FIELDS;
}

pub(super) async fn engines(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
) -> Reply<Json200<Vec<EngineDescription>>> {
    Ok(Json200(kms.service.engines(&caller).await?))
}

pub(super) async fn list(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Keys>>,
) -> Reply<Json200<Page<Key>>> {
    let request = query.request(kms.limits)?;
    Ok(Json200(kms.service.keys(&caller, &request).await?))
}

pub(super) async fn stats(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    query: Query<Counted<Keys>>,
) -> Reply<Json200<KeyStats>> {
    let request = query.request(kms.limits)?;
    Ok(Json200(kms.service.stats(&caller, &request).await?))
}

/// The body of a creation. Without `name` the key is called by its id.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreateKey")]
pub(super) struct CreateKeyBody {
    /// `RSA`, `ECDSA`, `Ed25519` or `ML-DSA`.
    #[schemars(example = &"ECDSA")]
    algorithm: String,
    /// RSA modulus or curve size in bits; 256 for Ed25519; 44, 65, 87 for ML-DSA.
    size: KeySize,
    /// The engine that shall hold it; the default engine when empty.
    engine_id: EngineId,
    /// Free text, not unique; the id when empty.
    #[schemars(example = &"sensor signing key")]
    name: String,
    /// Free texts, order and duplicates kept.
    #[schemars(example = ["factory"])]
    tags: Vec<String>,
    /// Free object.
    metadata: Map<String, Value>,
}

impl From<CreateKeyBody> for CreateKey {
    fn from(body: CreateKeyBody) -> Self {
        Self {
            algorithm: body.algorithm,
            size: body.size.bits(),
            engine_id: body.engine_id,
            name: body.name,
            tags: body.tags,
            metadata: body.metadata,
            operation: None,
        }
    }
}

pub(super) async fn create(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateKeyBody>,
) -> Reply<Json201<Key>> {
    Ok(Json201(kms.service.create_key(&caller, body.into()).await?))
}

/// The body of an import.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ImportKey")]
pub(super) struct ImportKeyBody {
    /// The key: PKCS#8, PKCS#1 or SEC 1, clear, PEM or DER, base64.
    private_key: PrivateKeyBytes,
    /// The engine that shall hold it; the default engine when empty.
    engine_id: EngineId,
    /// Free text, not unique; may be empty.
    #[schemars(example = &"sensor signing key")]
    name: String,
    /// Free texts, order and duplicates kept.
    #[schemars(example = ["factory"])]
    tags: Vec<String>,
    /// Free object.
    metadata: Map<String, Value>,
}

impl From<ImportKeyBody> for ImportKey {
    fn from(body: ImportKeyBody) -> Self {
        Self {
            private_key: body.private_key,
            engine_id: body.engine_id,
            name: body.name,
            tags: body.tags,
            metadata: body.metadata,
            operation: None,
        }
    }
}

pub(super) async fn import(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<ImportKeyBody>,
) -> Reply<Json201<Key>> {
    Ok(Json201(kms.service.import_key(&caller, body.into()).await?))
}

pub(super) async fn read(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Key>> {
    Ok(Json200(kms.service.key(&caller, &KeyRef::from(id)).await?))
}

/// What a deletion answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyDeleted")]
pub(super) struct Deleted {
    /// Always `deleted`.
    #[schemars(example = &"deleted")]
    status: &'static str,
}

pub(super) async fn delete(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Deleted>> {
    kms.service.delete_key(&caller, &KeyRef::from(id)).await?;
    Ok(Json200(Deleted { status: "deleted" }))
}
