//! Cross-origin requests: where credentials are enforced every origin may call, elsewhere none.
//!
//! Tokens travel in `Authorization`, never in cookies, so a wildcard origin gives a foreign page
//! nothing that it does not hold already. The answers to refused credentials carry the headers
//! too, otherwise browsers hide them from the dashboard.
//!
//! Where nobody is authenticated, being able to reach the server is the only credential, and every
//! page in a browser inside the network has it. So there foreign pages read no answer, and what
//! may change something is refused: a simple POST is sent without asking first (Fetch standard).

use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
    ORIGIN,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::failure::{Failure, HttpError};

/// Names that clients of ours send; `*` would not cover `Authorization` (Fetch standard).
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Accept, X-Request-Id, Traceparent";

/// Set by browsers and never by pages (Fetch metadata). It still tells the truth behind a proxy
/// that replaces `Host`.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which pages may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorsPolicy {
    /// Those of every origin: they need a credential like anybody else.
    AnyOrigin,
    /// Only our own: no credential is asked for.
    OwnOrigin,
}

/// How a request relates to its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors {
    /// No `Origin`, or our own: no headers are needed.
    SameOrigin,
    /// A page of another origin asks, and may.
    CrossOrigin,
    /// A page of another origin asks and must not.
    Foreign,
}

impl Cors {
    /// Looks at `Origin`, `Host` and `Sec-Fetch-Site`.
    pub fn of(request: &Parts, policy: CorsPolicy) -> Self {
        if is_same_origin(request) {
            return Self::SameOrigin;
        }
        match policy {
            CorsPolicy::AnyOrigin => Self::CrossOrigin,
            CorsPolicy::OwnOrigin => Self::Foreign,
        }
    }

    /// The refusal of what a foreign page must not do; `None` for every other request.
    pub fn refuse(self, request: &Parts) -> Option<Response> {
        (self == Self::Foreign && !request.method.is_safe())
            .then(|| Failure::from(HttpError::ForeignOrigin).into_response())
    }

    /// The answer to the preflight of a page that may call, on any path; `None` for every other
    /// request.
    pub fn preflight(self, request: &Parts) -> Option<Response> {
        if self != Self::CrossOrigin || request.method != Method::OPTIONS {
            return None;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            allowed_headers(&request.headers),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("43200"));
        Some(response)
    }

    /// Adds what a browser needs to hand the reply to the page.
    pub fn decorate(self, response: &mut Response) {
        if self != Self::CrossOrigin {
            return;
        }
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("X-Request-Id, WWW-Authenticate, Location"),
        );
    }
}

fn is_same_origin(request: &Parts) -> bool {
    let Some(origin) = request.headers.get(ORIGIN).map(HeaderValue::as_bytes) else {
        return true;
    };
    let fetch_site = request.headers.get(SEC_FETCH_SITE);
    if fetch_site.is_some_and(|site| site == "same-origin") {
        return true;
    }
    // HTTP/2 has no Host header but an authority.
    let host = match request.headers.get(HOST) {
        Some(host) => host.as_bytes(),
        None => request
            .uri
            .authority()
            .map_or(&b""[..], |authority| authority.as_str().as_bytes()),
    };
    let origin_host = origin
        .strip_prefix(b"https://")
        .or_else(|| origin.strip_prefix(b"http://"));
    origin_host == Some(host)
}

fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let requested = request
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|names| names.to_str().ok())
        .filter(|names| !names.trim().is_empty());
    requested
        .and_then(|names| HeaderValue::from_str(&format!("{ALLOWED_HEADERS}, {names}")).ok())
        .unwrap_or(HeaderValue::from_static(ALLOWED_HEADERS))
}
