//! Certificates as files.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use lamassu_core::pem::CertificateDer;
use lamassu_core::query::QueryError;
use lamassu_http::{AskedBy, Media, Members, PathParams, Query, QueryPairs, Reply, media_types};
use lamassu_x509::pkcs7;

use schemars::JsonSchema;

use super::Ca;
use super::certificate::{IssuedBy, named};

media_types! {
    /// Certificates as a file.
    CertificateFile = Octets(
        "application/pem-certificate-chain",
        "application/pkix-cert",
        "application/pkcs7-mime; smime-type=certs-only"
    );
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read as text")]
pub(super) struct File {
    /// How the certificates are written; `pem` when not given.
    format: Option<Format>,
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read as text")]
pub(super) struct WithChain {
    /// Whether the certificates of the CAs above follow.
    chain: Option<bool>,
}

/// How certificates are written into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Format {
    /// One block after the other (RFC 7468).
    Pem,
    /// One certificate after the other.
    Der,
    /// All in one structure, DER (RFC 5652).
    Pkcs7,
}

impl Format {
    /// PEM unless the query names another one.
    fn of(query: &QueryPairs) -> Result<Self, QueryError> {
        match query.first("format") {
            None | Some("" | "pem") => Ok(Self::Pem),
            Some("der") => Ok(Self::Der),
            Some("pkcs7") => Ok(Self::Pkcs7),
            Some(_) => Err(QueryError::InvalidValue {
                field: "format".to_owned(),
                reason: "not one of pem, der, pkcs7".to_owned(),
            }),
        }
    }

    /// The body with its media type (RFC 8555 §9.1, RFC 2585 §4.1, RFC 5751 §3.2.2) and a name
    /// for the file.
    fn reply(self, certificates: &[CertificateDer]) -> Response {
        let ders = || {
            certificates
                .iter()
                .map(|certificate| certificate.der().as_ref())
        };
        let (media_type, file, body) = match self {
            Self::Pem => {
                let text: String = certificates.iter().map(CertificateDer::to_pem).collect();
                (
                    "application/pem-certificate-chain",
                    "certificate.pem",
                    Bytes::from(text),
                )
            }
            Self::Der => {
                let octets: Vec<u8> = ders().flatten().copied().collect();
                (
                    "application/pkix-cert",
                    "certificate.cer",
                    Bytes::from(octets),
                )
            }
            Self::Pkcs7 => {
                let octets = pkcs7::certs_only(ders());
                (
                    "application/pkcs7-mime; smime-type=certs-only",
                    "certificate.p7c",
                    Bytes::from(octets),
                )
            }
        };
        let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{file}\""));
        let headers = [(CONTENT_TYPE, HeaderValue::from_static(media_type))];
        let mut response = (headers, body).into_response();
        if let Ok(value) = disposition {
            response.headers_mut().insert(CONTENT_DISPOSITION, value);
        }
        response
    }
}

pub(super) async fn chain_of_ca(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Members<File>>,
) -> Reply<Media<CertificateFile>> {
    let format = Format::of(&query)?;
    let chain = ca.service.ca_chain(&caller, &id.into()).await?;
    Ok(format.reply(&chain).into())
}

/// What says which certificate, and how it is written.
type OfOne = (Members<File>, (Members<WithChain>, Members<IssuedBy>));

pub(super) async fn certificate(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(serial): PathParams<String>,
    query: Query<OfOne>,
) -> Reply<Media<CertificateFile>> {
    let certificate = named(&serial, &query)?;
    let format = Format::of(&query)?;
    let certificates = if matches!(query.first("chain"), Some("true" | "1")) {
        ca.service.certificate_chain(&caller, &certificate).await?
    } else {
        let found = ca.service.certificate_named(&caller, &certificate).await?;
        vec![found.certificate]
    };
    Ok(format.reply(&certificates).into())
}
