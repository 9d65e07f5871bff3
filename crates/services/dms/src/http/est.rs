//! EST (RFC 7030). Nothing is authenticated before these routes: EST does it by itself, by what
//! the DMS asks for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use lamassu_core::caller::{Caller, ClientCertificateChain};
use lamassu_core::dms::{DmsError, DmsService, EstOrigin, EstRequest, Outcome};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::DmsId;
use lamassu_http::{
    Access, AskedBy, BodyLimits, DeferrableMedia, Failure, Media, MediaBody, NotOffered, Operation,
    PathForm, Reads, Routes, RoutesBuilder, TlsExporter, Tokens, media_types, refuse_nul_in_path,
};

use super::est_body::certification_request;
use super::est_failure::EstFailure;
use super::est_multipart::key_and_certificate;
use super::est_origin::origin;
use super::est_reply::ReplyForm;
use crate::config::EstConfig;

/// A certification request is a few kilobytes, ML-DSA keys included.
const LIMITS: BodyLimits = BodyLimits {
    max_bytes: 64 * 1024,
    deadline: Duration::from_secs(30),
};

/// What enrolling refuses beyond what every route of EST does.
const ENROLLING: &[ErrorKind] = &[
    ErrorKind::Conflict,
    ErrorKind::UnsupportedMediaType,
    ErrorKind::RateLimited,
    // Of a webhook that is asked.
    ErrorKind::BadGateway,
    ErrorKind::GatewayTimeout,
];

/// What EST handlers share.
#[derive(Clone, Debug)]
struct Est {
    service: Arc<dyn DmsService>,
    config: Arc<EstConfig>,
}

/// The EST routes, to be mounted at the root, under `/api` and under `/api/dmsmanager`.
pub fn est_routes(service: Arc<dyn DmsService>, config: EstConfig) -> Routes {
    let est = Est {
        service,
        config: Arc::new(config),
    };
    let builder = Routes::builder("est", est)
        .path_form(PathForm::Raw)
        .body_limits(LIMITS)
        .tokens(Tokens::Verified)
        .get(
            "/.well-known/est/cacerts",
            Access::Public,
            "CA certificates of the default DMS",
            ca_certs,
        )
        .get(
            "/.well-known/est/{label}/cacerts",
            Access::Public,
            "CA certificates",
            ca_certs,
        )
        .get(
            "/.well-known/est/csrattrs",
            Access::Public,
            "CSR attributes of the default DMS",
            csr_attrs,
        )
        .get(
            "/.well-known/est/{label}/csrattrs",
            Access::Public,
            "CSR attributes",
            csr_attrs,
        )
        .post(
            "/.well-known/est/simpleenroll",
            Access::Public,
            "Enroll under the default DMS",
            simple_enroll,
        )
        .refuses(ENROLLING)
        .post(
            "/.well-known/est/{label}/simpleenroll",
            Access::Public,
            "Enroll",
            simple_enroll,
        )
        .refuses(ENROLLING)
        .post(
            "/.well-known/est/simplereenroll",
            Access::Public,
            "Renew under the default DMS",
            simple_reenroll,
        )
        .refuses(ENROLLING)
        .post(
            "/.well-known/est/{label}/simplereenroll",
            Access::Public,
            "Renew",
            simple_reenroll,
        )
        .refuses(ENROLLING)
        .post(
            "/.well-known/est/serverkeygen",
            Access::Public,
            "Enroll with a key made here, under the default DMS",
            server_keygen,
        )
        .refuses(ENROLLING)
        .post(
            "/.well-known/est/{label}/serverkeygen",
            Access::Public,
            "Enroll with a key made here",
            server_keygen,
        )
        .refuses(ENROLLING);
    not_offered_routes(builder).build()
}

/// Every other operation, so that its path is known to be one of EST.
fn not_offered_routes(builder: RoutesBuilder<Est>) -> RoutesBuilder<Est> {
    builder
        .get(
            "/.well-known/est/{operation}",
            Access::Public,
            "Operations that are not offered, without label",
            not_offered,
        )
        .post(
            "/.well-known/est/{operation}",
            Access::Public,
            "Operations that are not offered, without label",
            not_offered,
        )
        .refuses(&[ErrorKind::UnsupportedMediaType])
        .get(
            "/.well-known/est/{label}/{operation}",
            Access::Public,
            "Operations that are not offered",
            not_offered,
        )
        .post(
            "/.well-known/est/{label}/{operation}",
            Access::Public,
            "Operations that are not offered",
            not_offered,
        )
        .refuses(&[ErrorKind::UnsupportedMediaType])
}

media_types! {
    /// Certificates: PKCS#7 in base64, or PEM for those who accept that.
    Certificates = Text(
        "application/pkcs7-mime; smime-type=certs-only",
        "application/pem-certificate-chain",
        "application/x-pem-file"
    );
    /// What a request shall hold (RFC 7030 §4.5.2), base64.
    CsrAttributes = Text("application/csrattrs");
    /// A key, in PKCS#8 or encrypted, and its certificate; both in base64.
    KeyAndCertificate = Text("multipart/mixed");
    /// A certification request: base64, PEM or DER.
    Request = Text("application/pkcs10");
}

/// `fullcmc` and whatever else there may be: EST is public, so a credential would
/// not help.
async fn not_offered() -> NotOffered {
    NotOffered
}

/// The head of an EST request.
struct EstCall {
    caller: Caller,
    label: Option<DmsId>,
    form: ReplyForm,
    client_chain: Option<ClientCertificateChain>,
    origin: EstOrigin,
    exporter: Option<Bytes>,
    content_type: Option<HeaderValue>,
}

impl EstCall {
    fn into_request(self, body: MediaBody<Request>) -> Result<EstRequest, DmsError> {
        Ok(EstRequest {
            csr: certification_request(self.content_type.as_ref(), body.0)?,
            label: self.label,
            client_chain: self.client_chain,
            origin: self.origin,
            exporter: self.exporter,
        })
    }
}

impl Reads for EstCall {
    fn describe(operation: &mut Operation) {
        operation.refuses(&[
            ErrorKind::Invalid,
            ErrorKind::Unauthenticated,
            ErrorKind::Forbidden,
            ErrorKind::NotFound,
        ]);
    }
}

impl FromRequestParts<Est> for EstCall {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, est: &Est) -> Result<Self, Response> {
        let AskedBy(caller) = AskedBy::from_request_parts(parts, est)
            .await
            .map_err(IntoResponse::into_response)?;
        refuse_nul_in_path(parts)
            .await
            .map_err(|error| Failure::from(error).into_response())?;
        let label = path_label(parts, est)
            .await
            .map_err(|error| est.failure(error).into_response())?;
        Ok(Self {
            caller,
            label: label.or_else(|| est.config.default_label(server_name(parts))),
            form: ReplyForm::of(&parts.headers, est.config.line_length),
            client_chain: parts.extensions.get::<ClientCertificateChain>().cloned(),
            origin: origin(parts),
            exporter: parts
                .extensions
                .get::<TlsExporter>()
                .map(|TlsExporter(octets)| Bytes::copy_from_slice(octets)),
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
        })
    }
}

impl Est {
    fn failure(&self, error: DmsError) -> EstFailure {
        EstFailure::new(error, self.config.status_codes)
    }
}

/// The label in the path, percent-decoded (RFC 7030 §3.2.2).
async fn path_label(parts: &mut Parts, est: &Est) -> Result<Option<DmsId>, DmsError> {
    match RawPathParams::from_request_parts(parts, est).await {
        Ok(params) => Ok(params
            .iter()
            .find(|(name, _)| *name == "label")
            .map(|(_, label)| DmsId::new(label))),
        // No DMS has an id that is not UTF-8.
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => Err(DmsError::DmsNotFound),
        Err(_) => Ok(None),
    }
}

/// The name that the client addressed, without port; the brackets of IPv6 addresses stay.
fn server_name(parts: &Parts) -> Option<&str> {
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST)?.to_str().ok()?,
    };
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => Some(name),
        _ => Some(authority),
    }
}

async fn ca_certs(
    State(est): State<Est>,
    call: EstCall,
) -> Result<Media<Certificates>, EstFailure> {
    let certificates = est
        .service
        .ca_certs(
            &call.caller,
            call.label.as_ref(),
            call.origin.token.as_ref(),
        )
        .await;
    let certificates = certificates.map_err(|error| est.failure(error))?;
    Ok(call.form.certificates(&certificates).into())
}

async fn csr_attrs(
    State(est): State<Est>,
    call: EstCall,
) -> Result<Media<CsrAttributes>, EstFailure> {
    let der = est
        .service
        .csr_attrs(
            &call.caller,
            call.label.as_ref(),
            call.origin.token.as_ref(),
        )
        .await;
    let der = der.map_err(|error| est.failure(error))?;
    Ok(call.form.csr_attrs(&der).into())
}

async fn simple_enroll(
    State(est): State<Est>,
    call: EstCall,
    body: MediaBody<Request>,
) -> Result<DeferrableMedia<Certificates>, EstFailure> {
    let (caller, form) = (call.caller.clone(), call.form);
    let request = call
        .into_request(body)
        .map_err(|error| est.failure(error))?;
    let outcome = est.service.enroll(&caller, request).await;
    Ok(match outcome.map_err(|error| est.failure(error))? {
        Outcome::Issued(certificate) => form.certificates(&[certificate]).into(),
        Outcome::Pending(after) => DeferrableMedia::later(after),
    })
}

async fn server_keygen(
    State(est): State<Est>,
    call: EstCall,
    body: MediaBody<Request>,
) -> Result<DeferrableMedia<KeyAndCertificate>, EstFailure> {
    let caller = call.caller.clone();
    let request = call
        .into_request(body)
        .map_err(|error| est.failure(error))?;
    let outcome = est.service.server_keygen(&caller, request).await;
    Ok(match outcome.map_err(|error| est.failure(error))? {
        Outcome::Issued(generated) => key_and_certificate(&generated).into(),
        Outcome::Pending(after) => DeferrableMedia::later(after),
    })
}

async fn simple_reenroll(
    State(est): State<Est>,
    call: EstCall,
    body: MediaBody<Request>,
) -> Result<Media<Certificates>, EstFailure> {
    let (caller, form) = (call.caller.clone(), call.form);
    let request = call
        .into_request(body)
        .map_err(|error| est.failure(error))?;
    let certificate = est.service.reenroll(&caller, request).await;
    let certificate = certificate.map_err(|error| est.failure(error))?;
    Ok(form.certificates(&[certificate]).into())
}
