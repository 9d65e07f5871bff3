//! Certificates.

use axum::extract::State;
use lamassu_core::ca::{CaError, Certificate, CertificateRef};
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchBody;
use lamassu_core::query::QueryError;
use lamassu_core::timestamp::Timestamp;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Listed, Members, NoContent, PathParams, Query, QueryPairs,
    Reply,
};

use schemars::JsonSchema;

use super::Ca;
use super::body::{CreateCertificateBody, ImportCertificateBody, SignBody, StatusBody};
use crate::fields::Certificates;

/// What is no hexadecimal number names no certificate.
pub(super) fn serial_number(text: &str) -> Result<SerialNumber, CaError> {
    SerialNumber::parse(text).ok_or(CaError::CertificateNotFound)
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read as text")]
pub(super) struct IssuedBy {
    /// The CA that issued the certificate; needed where several used its serial number.
    ca_id: Option<String>,
    /// The SHA-256 of the certificate, hexadecimal: tells apart certificates whose issuers are not known.
    fingerprint: Option<String>,
}

/// The certificate that path and query name.
pub(super) fn named(serial: &str, query: &QueryPairs) -> Result<CertificateRef, CaError> {
    Ok(CertificateRef {
        serial_number: serial_number(serial)?,
        ca: query
            .first("ca_id")
            .filter(|id| !id.is_empty())
            .map(CaId::from),
        fingerprint: query
            .first("fingerprint")
            .filter(|text| !text.is_empty())
            .map(|text| text.replace([':', '-'], "").to_ascii_lowercase()),
    })
}

pub(super) async fn list(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Certificates>>,
) -> Reply<Json200<Page<Certificate>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(ca.service.certificates(&caller, &request).await?))
}

pub(super) async fn list_by_ca(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Listed<Certificates>>,
) -> Reply<Json200<Page<Certificate>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(
        ca.service
            .certificates_by_ca(&caller, &id.into(), &request)
            .await?,
    ))
}

pub(super) async fn list_by_status(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(status): PathParams<String>,
    query: Query<Listed<Certificates>>,
) -> Reply<Json200<Page<Certificate>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(
        ca.service
            .certificates_by_status(&caller, None, &status, &request)
            .await?,
    ))
}

pub(super) async fn list_by_ca_and_status(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams((id, status)): PathParams<(String, String)>,
    query: Query<Listed<Certificates>>,
) -> Reply<Json200<Page<Certificate>>> {
    let request = query.request(ca.limits)?;
    let id = id.into();
    Ok(Json200(
        ca.service
            .certificates_by_status(&caller, Some(&id), &status, &request)
            .await?,
    ))
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(super) struct Expiration {
    /// `notAfter` is later than this, RFC 3339.
    expires_after: Option<Timestamp>,
    /// `notAfter` is earlier than this, RFC 3339. Without it there are none.
    expires_before: Option<Timestamp>,
}

/// A missing bound is the zero time, so without `expires_before` there are no rows.
pub(super) async fn list_by_expiration(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<(Listed<Certificates>, Members<Expiration>)>,
) -> Reply<Json200<Page<Certificate>>> {
    let after = bound(&query, "expires_after")?;
    let before = bound(&query, "expires_before")?;
    let request = query.request(ca.limits)?;
    Ok(Json200(
        ca.service
            .certificates_by_expiration(&caller, after, before, &request)
            .await?,
    ))
}

fn bound(query: &QueryPairs, name: &str) -> Result<Timestamp, QueryError> {
    match query.first(name) {
        None | Some("") => Ok(Timestamp::ZERO),
        Some(text) => text.parse().map_err(|_| QueryError::InvalidValue {
            field: name.to_owned(),
            reason: "not an RFC 3339 time".to_owned(),
        }),
    }
}

pub(super) async fn get(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<Members<IssuedBy>>,
) -> Reply<Json200<Certificate>> {
    let certificate = named(&serial, &query)?;
    Ok(Json200(
        ca.service.certificate_named(&caller, &certificate).await?,
    ))
}

pub(super) async fn get_of_ca(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams((id, serial)): PathParams<(String, String)>,
) -> Reply<Json200<Certificate>> {
    let serial = serial_number(&serial)?;
    Ok(Json200(
        ca.service
            .certificate_of_ca(&caller, &id.into(), &serial)
            .await?,
    ))
}

pub(super) async fn sign(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<SignBody>,
) -> Reply<Json201<Certificate>> {
    Ok(Json201(
        ca.service
            .sign_csr(&caller, &id.into(), body.into())
            .await?,
    ))
}

pub(super) async fn set_status(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<Members<IssuedBy>>,
    GoJson(body): GoJson<StatusBody>,
) -> Reply<Json200<Certificate>> {
    let status = body.status()?;
    let certificate = named(&serial, &query)?;
    let reason = body.revocation_reason;
    Ok(Json200(
        ca.service
            .set_certificate_status(&caller, &certificate, status, reason)
            .await?,
    ))
}

pub(super) async fn create(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateCertificateBody>,
) -> Reply<Json201<Certificate>> {
    let request = body.try_into()?;
    Ok(Json201(
        ca.service.create_certificate(&caller, request).await?,
    ))
}

pub(super) async fn import(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<ImportCertificateBody>,
) -> Reply<Json201<Certificate>> {
    let request = body.try_into()?;
    Ok(Json201(
        ca.service.import_certificate(&caller, request).await?,
    ))
}

pub(super) async fn patch_metadata(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<Members<IssuedBy>>,
    GoJson(body): GoJson<PatchBody>,
) -> Reply<Json200<Certificate>> {
    let patches = body.patches.ok_or(CaError::Validation)?;
    let certificate = named(&serial, &query)?;
    Ok(Json200(
        ca.service
            .patch_certificate_metadata(&caller, &certificate, patches)
            .await?,
    ))
}

pub(super) async fn delete(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<Members<IssuedBy>>,
) -> Reply<NoContent> {
    let certificate = named(&serial, &query)?;
    ca.service.delete_certificate(&caller, &certificate).await?;
    Ok(NoContent)
}
