//! `/internal/v1`: EST as a gateway in another process hands it on, and the sweep.

use axum::extract::State;
use lamassu_core::dms::{EstToken, Outcome};
use lamassu_core::ids::DmsId;
use lamassu_core::internal::Base64;
use lamassu_core::internal::dms::{
    CsrAttributes, EstAnswer, INVALID_TOKEN, Sweep, Swept, WireEstRequest,
};
use lamassu_core::pem::CertificateDer;
use lamassu_core::permission::Permission;
use lamassu_http::{AskedBy, GoJson, Json200, Members, Query, QueryPairs, Reply, RoutesBuilder};

use schemars::JsonSchema;

use super::management::Management;

const INTERNAL: Permission = Permission::new("internal", "dms");

pub(super) fn routes(builder: RoutesBuilder<Management>) -> RoutesBuilder<Management> {
    builder
        .get(
            "/internal/v1/est/cacerts",
            INTERNAL,
            "CA certificates of a DMS",
            ca_certs,
        )
        .get(
            "/internal/v1/est/csrattrs",
            INTERNAL,
            "CSR attributes of a DMS",
            csr_attrs,
        )
        .post("/internal/v1/est/simpleenroll", INTERNAL, "Enroll", enroll)
        .post(
            "/internal/v1/est/serverkeygen",
            INTERNAL,
            "Make a key and enroll",
            server_keygen,
        )
        .post(
            "/internal/v1/est/simplereenroll",
            INTERNAL,
            "Renew",
            reenroll,
        )
        .post(
            "/internal/v1/sweeps",
            INTERNAL,
            "Settle what crashes left of enrollments",
            sweep,
        )
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read as text")]
struct Asked {
    /// The EST label; none for the default DMS.
    label: Option<String>,
    /// `invalid` if a bearer token came along that is not valid.
    token: Option<String>,
}

fn label(query: &QueryPairs) -> Option<DmsId> {
    query.first("label").map(DmsId::from)
}

/// A valid token says nothing more here.
fn token(query: &QueryPairs) -> Option<EstToken> {
    let is_invalid = query.first("token") == Some(INVALID_TOKEN);
    is_invalid.then_some(EstToken { holder: None })
}

async fn ca_certs(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    query: Query<Members<Asked>>,
) -> Reply<Json200<Vec<CertificateDer>>> {
    let service = &management.service;
    let (label, token) = (label(&query), token(&query));
    let certificates = service.ca_certs(&caller, label.as_ref(), token.as_ref());
    let certificates = certificates.await?;
    Ok(Json200(certificates))
}

async fn csr_attrs(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    query: Query<Members<Asked>>,
) -> Reply<Json200<CsrAttributes>> {
    let service = &management.service;
    let (label, token) = (label(&query), token(&query));
    let der = service.csr_attrs(&caller, label.as_ref(), token.as_ref());
    let der = der.await?;
    Ok(Json200(CsrAttributes { der: Base64(der) }))
}

async fn enroll(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<WireEstRequest>,
) -> Reply<Json200<EstAnswer>> {
    let outcome = management.service.enroll(&caller, request.into()).await?;
    Ok(Json200(outcome.into()))
}

async fn server_keygen(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<WireEstRequest>,
) -> Reply<Json200<EstAnswer>> {
    let service = &management.service;
    let outcome = service.server_keygen(&caller, request.into()).await?;
    Ok(Json200(outcome.into()))
}

async fn reenroll(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<WireEstRequest>,
) -> Reply<Json200<EstAnswer>> {
    let certificate = management.service.reenroll(&caller, request.into()).await?;
    Ok(Json200(Outcome::Issued(certificate).into()))
}

async fn sweep(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    GoJson(Sweep { scope }): GoJson<Sweep>,
) -> Reply<Json200<Swept>> {
    let handled = management.service.sweep_enrollments(&caller, scope).await?;
    Ok(Json200(Swept { handled }))
}
