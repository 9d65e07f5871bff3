//! `/ocsp`: requests in the body, or in the path.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use lamassu_http::{AskedBy, CacheableMedia, Media, MediaBody, media_types};

use super::Va;
use super::caching::{Lifetime, cacheable, tag_of};
use super::ocsp_path::request_in_path;

const OCSP_RESPONSE: HeaderValue = HeaderValue::from_static("application/ocsp-response");

media_types! {
    /// An answer, DER; what cannot be answered is one, too.
    OcspResponse = Octets("application/ocsp-response");
    /// A request, DER.
    OcspRequest = Octets("application/ocsp-request");
}

pub(super) async fn get(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    uri: Uri,
    headers: HeaderMap,
) -> CacheableMedia<OcspResponse> {
    // What does not decode is answered like a request that does not parse.
    let request = request_in_path(uri.path()).map(Bytes::from);
    let answer = va.service.ocsp(&caller, request.unwrap_or_default()).await;
    match answer.cache {
        Some(lifetime) => {
            let lifetime = Lifetime {
                this_update: lifetime.this_update.0,
                next_update: lifetime.next_update.0,
                now: va.clock.now(),
            };
            let tag = tag_of(&answer.der);
            cacheable(&headers, OCSP_RESPONSE, answer.der, &tag, &lifetime).into()
        }
        None => uncacheable(answer.der).into(),
    }
}

pub(super) async fn post(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    request: MediaBody<OcspRequest>,
) -> Media<OcspResponse> {
    uncacheable(va.service.ocsp(&caller, request.0).await.der).into()
}

fn uncacheable(der: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, OCSP_RESPONSE),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, der).into_response()
}
