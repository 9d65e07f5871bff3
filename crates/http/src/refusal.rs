//! The reply to a refused credential or a missing permission.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use lamassu_core::error::ErrorKind;

use crate::reply::{ErrorBody, json_response};

/// A refusal as the client sees it: everything about the reply but the request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRefusal {
    /// What kind of failure it is; decides the status.
    pub kind: ErrorKind,
    /// Machine-readable word, for example `token_expired`.
    pub code: &'static str,
    /// Text for people.
    pub text: String,
    /// Value of `WWW-Authenticate` (RFC 6750 section 3), if there is a challenge.
    pub challenge: Option<String>,
    /// Value of `Retry-After`, in whole seconds on the wire.
    pub retry_after: Option<Duration>,
}

impl AuthRefusal {
    /// The complete reply to the request with this id.
    pub fn reply(&self, request_id: &str) -> Response {
        let body = ErrorBody {
            err: &self.text,
            code: Some(self.code),
            details: &[],
            request_id: Some(request_id),
        };
        let mut response = json_response(self.kind.status(), &body).into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = &self.challenge
            && let Ok(value) = HeaderValue::from_str(challenge)
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}
