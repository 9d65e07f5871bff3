//! Issuance profiles.

use axum::extract::State;
use lamassu_core::ca::IssuanceProfile;
use lamassu_core::page::Page;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Listed, NoContent, PathParams, Query, Reply,
};

use super::Ca;
use crate::fields::Profiles;

pub(super) async fn list(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Profiles>>,
) -> Reply<Json200<Page<IssuanceProfile>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(ca.service.profiles(&caller, &request).await?))
}

pub(super) async fn create(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(profile): GoJson<IssuanceProfile>,
) -> Reply<Json201<IssuanceProfile>> {
    Ok(Json201(ca.service.create_profile(&caller, profile).await?))
}

pub(super) async fn get(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<IssuanceProfile>> {
    Ok(Json200(ca.service.profile(&caller, &id.into()).await?))
}

/// The path names the profile, whatever the body says.
pub(super) async fn update(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(profile): GoJson<IssuanceProfile>,
) -> Reply<Json200<IssuanceProfile>> {
    let profile = IssuanceProfile {
        id: id.into(),
        ..profile
    };
    Ok(Json200(ca.service.update_profile(&caller, profile).await?))
}

pub(super) async fn delete(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<NoContent> {
    ca.service.delete_profile(&caller, &id.into()).await?;
    Ok(NoContent)
}
