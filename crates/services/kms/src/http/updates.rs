//! What is changed below `/v1/keys/{id}`.

use axum::extract::State;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::{Key, KeyStatus, KmsError};
use lamassu_core::patch::PatchBody;
use lamassu_http::{AskedBy, GoJson, Json200, PathParams, Reply};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Kms;

/// The body of a renaming.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "KeyName")]
pub(super) struct NameBody {
    /// Free text, not unique, not empty.
    #[schemars(example = &"sensor signing key")]
    name: String,
}

pub(super) async fn set_name(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<NameBody>,
) -> Reply<Json200<Key>> {
    let key = KeyRef::from(id);
    Ok(Json200(
        kms.service.set_name(&caller, &key, body.name).await?,
    ))
}

/// The body of new tags. None is no list; the reference's SDK sends `null` for an unset one.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "KeyTags")]
pub(super) struct TagsBody {
    /// Free texts, order and duplicates kept. Required.
    #[schemars(example = ["factory"])]
    tags: Option<Vec<String>>,
}

pub(super) async fn set_tags(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<TagsBody>,
) -> Reply<Json200<Key>> {
    let tags = body.tags.ok_or(KmsError::Validation)?;
    let key = KeyRef::from(id);
    Ok(Json200(kms.service.set_tags(&caller, &key, tags).await?))
}

/// PUT and PATCH alike.
pub(super) async fn patch_metadata(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<PatchBody>,
) -> Reply<Json200<Key>> {
    let operations = body.patches.ok_or(KmsError::Validation)?;
    let key = KeyRef::from(id);
    let patched = kms
        .service
        .patch_metadata(&caller, &key, operations)
        .await?;
    Ok(Json200(patched))
}

/// PUT and PATCH alike, below `alias` and below `aliases`, where the reference's SDK sends it.
pub(super) async fn patch_aliases(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<PatchBody>,
) -> Reply<Json200<Key>> {
    let operations = body.patches.ok_or(KmsError::Validation)?;
    let key = KeyRef::from(id);
    let patched = kms.service.patch_aliases(&caller, &key, operations).await?;
    Ok(Json200(patched))
}

/// The body of a new status.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "SetKeyStatus")]
pub(super) struct StatusBody {
    /// Whether it shall sign.
    #[schemars(with = "KeyStatus")]
    status: String,
}

pub(super) async fn set_status(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<StatusBody>,
) -> Reply<Json200<Key>> {
    let status = KeyStatus::from_name(&body.status).ok_or(KmsError::Validation)?;
    let key = KeyRef::from(id);
    Ok(Json200(
        kms.service.set_status(&caller, &key, status).await?,
    ))
}

/// The body of a move.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "MoveKey")]
pub(super) struct MoveBody {
    /// The engine that shall hold it.
    engine_id: EngineId,
}

pub(super) async fn move_key(
    State(kms): State<Kms>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<MoveBody>,
) -> Reply<Json200<Key>> {
    let key = KeyRef::from(id);
    let moved = kms.service.move_key(&caller, &key, &body.engine_id).await?;
    Ok(Json200(moved))
}
