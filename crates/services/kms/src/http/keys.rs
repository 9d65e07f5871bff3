//! `/v1/keys`, `/v1/engines` and `/v1/stats`.

use axum::extract::State;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::{CreateKey, EngineDescription, ImportKey, Key, KeyStats, PrivateKeyBytes};
use lamassu_core::page::Page;
use lamassu_http::{AskedBy, GoJson, Json200, Json201, PathParams, QueryPairs, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kms;
use super::body::KeySize;
use crate::store::KEY_FIELDS;

pub(super) async fn engines(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
) -> Reply<Json200<Vec<EngineDescription>>> {
    Ok(Json200(kms.service.engines(&caller).await?))
}

pub(super) async fn list(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    query: QueryPairs,
) -> Reply<Json200<Page<Key>>> {
    let request = query.list_request(KEY_FIELDS, kms.limits)?;
    Ok(Json200(kms.service.keys(&caller, &request).await?))
}

pub(super) async fn stats(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    query: QueryPairs,
) -> Reply<Json200<KeyStats>> {
    let request = query.list_request(KEY_FIELDS, kms.limits)?;
    Ok(Json200(kms.service.stats(&caller, &request).await?))
}

/// The body of a creation. Without `name` the key is called by its id.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CreateKeyBody {
    algorithm: String,
    size: KeySize,
    engine_id: EngineId,
    name: String,
    tags: Vec<String>,
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
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ImportKeyBody {
    private_key: PrivateKeyBytes,
    engine_id: EngineId,
    name: String,
    tags: Vec<String>,
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
#[derive(Serialize)]
pub(super) struct Deleted {
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
