//! `/internal/v1`: what other services of the installation need.

use axum::extract::State;
use lamassu_core::ca::{
    CaError, Certificate, CertificateAuthority, OpenEnrollment, RetiredCa, RevokedEntry,
};
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::internal::Base64;
use lamassu_core::internal::ca::{
    AttachCertificate, FoundCertificate, FoundStatus, IssueOcspResponder, SignForEnrollment,
    WirePossession,
};
use lamassu_core::pem::CsrDer;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryError;
use lamassu_core::timestamp::Timestamp;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Members, NoContent, PathParams, Query, QueryPairs, Reply,
    RoutesBuilder,
};
use lamassu_x509::{CertificationRequest, VerifiedCsr, VerifyCsrError};

use schemars::JsonSchema;

use super::Ca;
use super::certificate::{IssuedBy, named, serial_number};

const INTERNAL: Permission = Permission::new("internal", "ca");

/// Most items of one answer, whatever is asked for.
const MAX_LIMIT: u32 = 10_000;

pub(super) fn routes(builder: RoutesBuilder<Ca>) -> RoutesBuilder<Ca> {
    builder
        .get("/internal/v1/cas", INTERNAL, "List CAs by id", authorities)
        .get(
            "/internal/v1/cas/{id}/certificates/{sn}/status",
            INTERNAL,
            "Status of a certificate that a CA issued",
            status,
        )
        .get(
            "/internal/v1/cas/{id}/revoked",
            INTERNAL,
            "List the revoked certificates of a CA",
            revoked,
        )
        .get(
            "/internal/v1/retired-cas",
            INTERNAL,
            "List deleted CAs whose key waits for the last CRL",
            retired,
        )
        .delete(
            "/internal/v1/retired-cas/{job}",
            INTERNAL,
            "Say that the last CRL of a deleted CA is made, or never will be",
            settle_retired,
        )
        .post(
            "/internal/v1/cas/{id}/enrollments",
            INTERNAL,
            "Issue a certificate with an open intent",
            sign_for_enrollment,
        )
        .post(
            "/internal/v1/cas/{id}/ocsp-responders",
            INTERNAL,
            "Issue a certificate for signing OCSP answers",
            issue_ocsp_responder,
        )
        .get(
            "/internal/v1/enrollments",
            INTERNAL,
            "List open intents",
            open_enrollments,
        )
        .get(
            "/internal/v1/reenrollments/{sn}",
            INTERNAL,
            "Find what a repeated re-enrollment asks for again",
            repeated_reenrollment,
        )
        .post(
            "/internal/v1/enrollments/{sn}/complete",
            INTERNAL,
            "Close the intent of a bound certificate",
            complete,
        )
        .post(
            "/internal/v1/enrollments/{sn}/abandon",
            INTERNAL,
            "Revoke a certificate that no device received",
            abandon,
        )
        .put(
            "/internal/v1/certificates/{sn}/attachment",
            INTERNAL,
            "Attach a certificate to a device",
            attach,
        )
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
struct Batch {
    /// Those behind this one in the order of the answer.
    after: Option<String>,
    /// At most so many.
    limit: u32,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
struct Older {
    /// Opened before this time.
    before: Timestamp,
    /// When the last one seen was opened: those behind it.
    opened_after: Option<Timestamp>,
    /// The serial number of that one.
    serial_after: Option<String>,
    /// At most so many.
    limit: u32,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
struct Repeated {
    /// Not older than this.
    since: Timestamp,
    /// SHA-256 of the request, hex.
    csr_digest: String,
}

async fn authorities(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Members<Batch>>,
) -> Reply<Json200<Vec<CertificateAuthority>>> {
    let after = query.first("after").map(CaId::from);
    let found = ca
        .service
        .authorities(&caller, after.as_ref(), limit(&query)?)
        .await?;
    Ok(Json200(found))
}

async fn status(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams((id, serial)): PathParams<(String, String)>,
) -> Reply<Json200<FoundStatus>> {
    let serial = serial_number(&serial)?;
    let found = ca
        .service
        .certificate_status(&caller, &id.into(), &serial)
        .await?;
    Ok(Json200(FoundStatus { found }))
}

async fn retired(State(ca): State<Ca>, AskedBy(caller): AskedBy) -> Reply<Json200<Vec<RetiredCa>>> {
    Ok(Json200(ca.service.retired_cas(&caller).await?))
}

async fn settle_retired(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(job): PathParams<String>,
) -> Reply<NoContent> {
    ca.service.settle_retired_ca(&caller, &job.into()).await?;
    Ok(NoContent)
}

async fn revoked(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Members<Batch>>,
) -> Reply<Json200<Vec<RevokedEntry>>> {
    let after = query.first("after").map(serial_number).transpose()?;
    let found = ca
        .service
        .revoked_certificates(&caller, &id.into(), after.as_ref(), limit(&query)?)
        .await?;
    Ok(Json200(found))
}

async fn sign_for_enrollment(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<SignForEnrollment>,
) -> Reply<Json201<Certificate>> {
    let csr = verified(body.csr, body.possession)?;
    let profile = SignForEnrollment::profile_choice(body.profile, body.profile_id);
    let issued = ca
        .service
        .sign_for_enrollment(&caller, &id.into(), csr, profile, body.enrollment)
        .await?;
    Ok(Json201(issued))
}

async fn issue_ocsp_responder(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<IssueOcspResponder>,
) -> Reply<Json201<Certificate>> {
    let Base64(csr) = body.csr;
    let issued = ca
        .service
        .issue_ocsp_responder(&caller, &id.into(), CsrDer::from_der(csr), body.validity)
        .await?;
    Ok(Json201(issued))
}

/// Possession is proven to this service itself, or waived by a peer that only the role `service`
/// can be.
fn verified(Base64(der): Base64, possession: WirePossession) -> Result<VerifiedCsr, CaError> {
    let csr = CertificationRequest::from_der(der)
        .map_err(|error| CaError::MalformedCsr(error.to_string()))?;
    let verified = match possession {
        WirePossession::Proven => csr.verify(),
        WirePossession::Waived => csr.waive_possession_by_policy(),
    };
    verified.map_err(|error| match error {
        VerifyCsrError::Key(_) => CaError::MalformedCsr(error.to_string()),
        VerifyCsrError::Signature(_) => CaError::CsrSignature,
    })
}

async fn open_enrollments(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Members<Older>>,
) -> Reply<Json200<Vec<OpenEnrollment>>> {
    let before = instant(&query, "before")?;
    let after = match query.first("serial_after") {
        Some(serial) => Some((instant(&query, "opened_after")?.0, serial_number(serial)?)),
        None => None,
    };
    let found = ca
        .service
        .open_enrollments(&caller, before.0, after, limit(&query)?)
        .await?;
    Ok(Json200(found))
}

async fn repeated_reenrollment(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<Members<Repeated>>,
) -> Reply<Json200<FoundCertificate>> {
    let superseded = serial_number(&serial)?;
    let since = instant(&query, "since")?;
    let mut digest = [0; 32];
    hex::decode_to_slice(query.first("csr_digest").unwrap_or_default(), &mut digest)
        .map_err(|error| invalid("csr_digest", error.to_string()))?;
    let found = ca
        .service
        .repeated_reenrollment(&caller, &superseded, &digest, since.0)
        .await?;
    let found = found.map(Box::new);
    Ok(Json200(FoundCertificate { found }))
}

async fn complete(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<SerialNumber>,
) -> Reply<NoContent> {
    ca.service.complete_enrollment(&caller, &serial).await?;
    Ok(NoContent)
}

async fn abandon(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<SerialNumber>,
) -> Reply<NoContent> {
    ca.service.abandon_enrollment(&caller, &serial).await?;
    Ok(NoContent)
}

async fn attach(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<Members<IssuedBy>>,
    GoJson(body): GoJson<AttachCertificate>,
) -> Reply<Json200<Certificate>> {
    let certificate = named(&serial, &query)?;
    let attached = ca
        .service
        .attach_certificate(&caller, &certificate, body.attachment, body.windows)
        .await?;
    Ok(Json200(attached))
}

/// How many items are asked for; required.
fn limit(query: &QueryPairs) -> Result<u32, QueryError> {
    let asked = query.first("limit").unwrap_or_default();
    let limit: u32 = asked
        .parse()
        .map_err(|_| invalid("limit", "not a number".to_owned()))?;
    Ok(limit.min(MAX_LIMIT))
}

/// A time in the query; required.
fn instant(query: &QueryPairs, name: &str) -> Result<Timestamp, QueryError> {
    let text = query.first(name).unwrap_or_default();
    text.parse()
        .map_err(|_| invalid(name, "not an RFC 3339 time".to_owned()))
}

fn invalid(field: &str, reason: String) -> QueryError {
    QueryError::InvalidValue {
        field: field.to_owned(),
        reason,
    }
}
