//! `/ocsp`: requests in the body, or in the path (RFC 6960 appendix A.1).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use lamassu_core::percent;
use lamassu_http::{AskedBy, CacheableMedia, Media, MediaBody, media_types};

use super::Va;
use super::caching::{Lifetime, cacheable, tag_of};

const OCSP_RESPONSE: HeaderValue = HeaderValue::from_static("application/ocsp-response");

/// Longest request in a path, decoded.
const MAX_PATH_REQUEST_BYTES: usize = 4 * 1024;

/// Base64 with or without padding; the URL-safe letters are translated before.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

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
    let request = request_in_path(uri.path()).unwrap_or_default();
    let answer = va.service.ocsp(&caller, request).await;
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

/// The request after `/ocsp/`, taken as sent: clients write standard base64 percent-encoded (as
/// the RFC has it) or not, or URL-safe base64, with padding or without, and some join URLs with
/// a slash too many.
fn request_in_path(path: &str) -> Option<Bytes> {
    let (_, text) = path.split_once("/ocsp/")?;
    let decoded = percent::decode(text)?;
    let standard: Vec<u8> = decoded
        .into_iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let slashes = standard.iter().take_while(|byte| **byte == b'/').count();
    // A request begins with 0x30, so its base64 begins with `M`.
    let base64 = standard.get(slashes..)?;
    let der = LENIENT.decode(base64).ok()?;
    (der.len() <= MAX_PATH_REQUEST_BYTES).then(|| der.into())
}

#[cfg(test)]
mod tests {
    use super::request_in_path;

    #[test]
    fn requests_are_read_in_every_form_that_clients_write() {
        let expected = [0x30, 0xfb, 0xff, 0x3e];
        let forms = [
            "/ocsp/MPv/Pg==",
            "/ocsp/MPv/Pg",
            "/ocsp/MPv_Pg==",
            "/ocsp/MPv_Pg",
            "/ocsp/MPv%2FPg%3D%3D",
            "/ocsp/MPv%2fPg==",
            "/ocsp//MPv/Pg==",
            "/ocsp/%2FMPv/Pg==",
            "/v1/ocsp/MPv/Pg==",
            "/api/va/ocsp/MPv/Pg==",
        ];
        for path in forms {
            assert_eq!(
                request_in_path(path).unwrap(),
                expected.as_slice(),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for path in ["/ocsp/%", "/ocsp/%4", "/ocsp/%zz", "/ocsp/M!", "/crl/MPv"] {
            assert_eq!(request_in_path(path), None, "{path}");
        }
        let long = format!("/ocsp/{}", "MAAA".repeat(1_400));
        assert_eq!(request_in_path(&long), None);
    }
}
