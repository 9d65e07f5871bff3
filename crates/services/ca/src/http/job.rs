//! Long work: how it is begun, and how far it is.

use axum::extract::State;
use lamassu_core::ca::Job;
use lamassu_core::page::Page;
use lamassu_http::{AskedBy, GoJson, Json200, Json202, Listed, PathParams, Query, Reply};

use super::Ca;
use super::body::RevocationsBody;
use crate::fields::Jobs;

pub(super) async fn revoke(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<RevocationsBody>,
) -> Reply<Json202<Job>> {
    let request = body.try_into()?;
    let begun = ca.service.revoke_certificates(&caller, request).await?;
    Ok(Json202(begun))
}

pub(super) async fn list(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Jobs>>,
) -> Reply<Json200<Page<Job>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(ca.service.jobs(&caller, &request).await?))
}

pub(super) async fn get(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Job>> {
    Ok(Json200(ca.service.job(&caller, &id.into()).await?))
}
