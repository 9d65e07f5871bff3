//! Taking the token out of the request (RFC 6750 section 2.1; the query string is no place for it).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::refusal::Refusal;

/// The token of the one `Authorization` header: scheme in any case, one or more spaces, one token.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Refusal::Missing);
    };
    if values.next().is_some() {
        return Err(Refusal::SeveralHeaders);
    }
    let value = value
        .to_str()
        .map_err(|_| Refusal::Malformed)?
        .trim_matches(' ');
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Scheme);
    }
    match token.trim_start_matches(' ') {
        "" => Err(Refusal::Missing),
        token if token.contains(' ') => Err(Refusal::Malformed),
        token => Ok(token),
    }
}
