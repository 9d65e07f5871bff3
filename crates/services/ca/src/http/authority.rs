//! CAs.

use axum::extract::State;
use lamassu_core::ca::CertificateAuthority;
use lamassu_core::page::Page;
use lamassu_http::{AskedBy, GoJson, Json200, Json201, PathParams, QueryPairs, Reply};

use super::Ca;
use super::body::CreateCaBody;
use crate::fields::AUTHORITY_FIELDS;

pub(super) async fn list(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: QueryPairs,
) -> Reply<Json200<Page<CertificateAuthority>>> {
    let request = query.list_request(AUTHORITY_FIELDS, ca.limits)?;
    Ok(Json200(ca.service.cas(&caller, &request).await?))
}

pub(super) async fn list_by_common_name(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(common_name): PathParams<String>,
    query: QueryPairs,
) -> Reply<Json200<Page<CertificateAuthority>>> {
    let request = query.list_request(AUTHORITY_FIELDS, ca.limits)?;
    Ok(Json200(
        ca.service
            .cas_by_common_name(&caller, &common_name, &request)
            .await?,
    ))
}

pub(super) async fn create(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateCaBody>,
) -> Reply<Json201<CertificateAuthority>> {
    Ok(Json201(ca.service.create_ca(&caller, body.into()).await?))
}

pub(super) async fn get(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<CertificateAuthority>> {
    Ok(Json200(ca.service.ca(&caller, &id.into()).await?))
}
