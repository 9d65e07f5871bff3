//! Requests for CAs that somebody else certifies.

use axum::extract::State;
use lamassu_core::ca::CaRequest;
use lamassu_core::page::Page;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Listed, NoContent, PathParams, Query, Reply,
};

use super::Ca;
use super::body::CaRequestBody;
use crate::fields::Requests;

pub(super) async fn list(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Requests>>,
) -> Reply<Json200<Page<CaRequest>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(ca.service.ca_requests(&caller, &request).await?))
}

pub(super) async fn create(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CaRequestBody>,
) -> Reply<Json201<CaRequest>> {
    let created = ca.service.create_ca_request(&caller, body.into()).await?;
    Ok(Json201(created))
}

pub(super) async fn get(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<CaRequest>> {
    Ok(Json200(ca.service.ca_request(&caller, &id.into()).await?))
}

pub(super) async fn delete(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<NoContent> {
    ca.service.delete_ca_request(&caller, &id.into()).await?;
    Ok(NoContent)
}
