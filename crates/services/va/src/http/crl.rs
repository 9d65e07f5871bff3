//! `/crl/{ski}` and `/ca/{ski}`: what certificates point at.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use lamassu_core::va::{self, CrlShard, VaError, VaRole};
use lamassu_http::{
    AskedBy, CacheableMedia, Json200, Media, MediaBody, PathParams, Reply, media_types,
};

use super::Va;
use super::caching::{Lifetime, cacheable};

/// RFC 2585 §4.2.
const PKIX_CRL: HeaderValue = HeaderValue::from_static("application/pkix-crl");

/// RFC 2585 §4.1.
const PKIX_CERT: HeaderValue = HeaderValue::from_static("application/pkix-cert");

media_types! {
    /// A CRL, DER.
    Crl = Octets("application/pkix-crl");
    /// A certificate, DER.
    CaCertificate = Octets("application/pkix-cert");
}

pub(super) async fn get(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(name): PathParams<String>,
    headers: HeaderMap,
) -> Reply<CacheableMedia<Crl>> {
    let ski = name.strip_suffix(".crl").unwrap_or(&name);
    let crl = va.service.crl(&caller, ski).await?;
    Ok(reply(&va, &headers, crl))
}

pub(super) async fn get_delta(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(ski): PathParams<String>,
    headers: HeaderMap,
) -> Reply<CacheableMedia<Crl>> {
    let crl = va.service.delta_crl(&caller, &ski).await?;
    Ok(reply(&va, &headers, crl))
}

pub(super) async fn get_shard(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams((ski, shard)): PathParams<(String, String)>,
    headers: HeaderMap,
) -> Reply<CacheableMedia<Crl>> {
    let shard = CrlShard::parse(&shard).ok_or(VaError::CrlNotFound(None))?;
    let crl = va.service.shard_crl(&caller, &ski, shard).await?;
    Ok(reply(&va, &headers, crl))
}

/// The body is DER or PEM.
pub(super) async fn import(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(ski): PathParams<String>,
    crl: MediaBody<Crl>,
) -> Reply<Json200<VaRole>> {
    let role = va.service.import_crl(&caller, &ski, crl.0).await?;
    Ok(Json200(role))
}

fn reply(va: &Va, headers: &HeaderMap, crl: va::Crl) -> CacheableMedia<Crl> {
    let lifetime = Lifetime {
        this_update: crl.this_update.0,
        next_update: crl.next_update.0,
        now: va.clock.now(),
    };
    cacheable(headers, PKIX_CRL, crl.der, &crl.digest, &lifetime).into()
}

/// As GET, with the length of the body that GET would have.
pub(super) async fn head(
    va: State<Va>,
    caller: AskedBy,
    name: PathParams<String>,
    headers: HeaderMap,
) -> Reply<CacheableMedia<Crl>> {
    Ok(without_body(get(va, caller, name, headers).await?))
}

/// As GET, for delta CRLs.
pub(super) async fn head_delta(
    va: State<Va>,
    caller: AskedBy,
    ski: PathParams<String>,
    headers: HeaderMap,
) -> Reply<CacheableMedia<Crl>> {
    Ok(without_body(get_delta(va, caller, ski, headers).await?))
}

/// As GET, for shards.
pub(super) async fn head_shard(
    va: State<Va>,
    caller: AskedBy,
    name: PathParams<(String, String)>,
    headers: HeaderMap,
) -> Reply<CacheableMedia<Crl>> {
    Ok(without_body(get_shard(va, caller, name, headers).await?))
}

fn without_body(reply: CacheableMedia<Crl>) -> CacheableMedia<Crl> {
    let (mut parts, body) = reply.into_response().into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact()
        && length > 0
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty()).into()
}

pub(super) async fn ca_certificate(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(name): PathParams<String>,
) -> Reply<Media<CaCertificate>> {
    let ski = name.strip_suffix(".cer").unwrap_or(&name);
    let der = va.service.ca_certificate(&caller, ski).await?;
    Ok(([(CONTENT_TYPE, PKIX_CERT)], der).into_response().into())
}
