//! Replies that caches may keep (RFC 9111, RFC 5019 §6): headers and conditional requests.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lamassu_crypto::HashAlgorithm;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Caches ask again at least this often, so that a revocation is seen soon.
const MAX_AGE_SECONDS: i64 = 300;

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// When what is replied was true, until when it is, and the time now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) this_update: OffsetDateTime,
    pub(super) next_update: OffsetDateTime,
    pub(super) now: OffsetDateTime,
}

/// The tag of a short body. Of a long one it is known beforehand.
pub(super) fn tag_of(body: &[u8]) -> String {
    hex::encode(HashAlgorithm::Sha256.digest(body))
}

/// The reply with its caching headers; 304 without body when the client has this one already.
pub(super) fn cacheable(
    request: &HeaderMap,
    content_type: HeaderValue,
    body: Bytes,
    tag: &str,
    lifetime: &Lifetime,
) -> Response {
    let etag = format!("\"{tag}\"");
    let headers = caching_headers(&etag, lifetime);
    if is_unmodified(request, &etag, lifetime.this_update) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(CONTENT_TYPE, content_type)], body).into_response()
}

fn caching_headers(etag: &str, lifetime: &Lifetime) -> HeaderMap {
    let left = (lifetime.next_update - lifetime.now).whole_seconds();
    let max_age = left.clamp(0, MAX_AGE_SECONDS);
    let cache_control = format!("max-age={max_age}, public, no-transform, must-revalidate");
    let values: [(HeaderName, Option<String>); 4] = [
        (ETAG, Some(etag.to_owned())),
        (LAST_MODIFIED, http_date(lifetime.this_update)),
        (EXPIRES, http_date(lifetime.next_update)),
        (CACHE_CONTROL, Some(cache_control)),
    ];
    values
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value?).ok()?)))
        .collect()
}

/// RFC 9110 §13.2.2: the tag decides where there is one, else the date.
fn is_unmodified(request: &HeaderMap, etag: &str, last_modified: OffsetDateTime) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag);
    }
    request
        .get(IF_MODIFIED_SINCE)
        .and_then(|value| parse_http_date(value.to_str().ok()?))
        .is_some_and(|since| last_modified <= since)
}

fn http_date(time: OffsetDateTime) -> Option<String> {
    time.to_offset(UtcOffset::UTC).format(IMF_FIXDATE).ok()
}

fn parse_http_date(text: &str) -> Option<OffsetDateTime> {
    let time = PrimitiveDateTime::parse(text.trim(), IMF_FIXDATE).ok()?;
    Some(time.assume_utc())
}

#[cfg(test)]
mod tests {
    use super::{http_date, parse_http_date};
    use time::macros::datetime;

    #[test]
    fn dates_have_the_form_of_http() {
        let time = datetime!(1994-11-06 08:49:37 UTC);
        assert_eq!(
            http_date(time).as_deref(),
            Some("Sun, 06 Nov 1994 08:49:37 GMT")
        );
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(time));
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
