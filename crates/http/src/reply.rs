//! Successful replies: JSON with the content type and the escaping that clients know.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use lamassu_core::error::ErrorDetail;
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::{Failure, HttpError};

/// Content type of every JSON reply.
const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// 200 with a JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Json200<T>(pub T);

/// 201 with a JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Json201<T>(pub T);

/// 202 with a JSON body: what was asked for goes on.
#[derive(Clone, Copy, Debug)]
pub struct Json202<T>(pub T);

/// 204 without body.
#[derive(Clone, Copy, Debug)]
pub struct NoContent;

/// The body of every refusal.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ErrorBody<'a> {
    /// What went wrong.
    #[schemars(example = "CA not found")]
    pub err: &'a str,
    /// The same as a stable word, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", example = &"invalid_filter")]
    pub code: Option<&'a str>,
    /// What is wrong in which part of the request, where that is known.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(with = "Option<Vec<ErrorDetail>>", example = [ErrorDetail::new("tags[3]", "empty")])]
    pub details: &'a [ErrorDetail],
    /// The request as the log of the server names it, where that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", example = "8d6d0a3b-6f5c-4a5e-9c8e-0a4b2f1d7c11")]
    pub request_id: Option<&'a str>,
}

/// Serialises `value`, with `<`, `>`, `&`, U+2028 and U+2029 escaped as Go's encoder does, so
/// that bytes compare equal with what existing clients have stored.
///
/// # Errors
/// When a value cannot be written as JSON (a map whose keys are no strings).
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, serde_json::Error> {
    Ok(escape_for_html(serde_json::to_vec(value)?).into())
}

/// The five characters occur in JSON only inside strings, so they are replaced in the finished text.
fn escape_for_html(json: Vec<u8>) -> Vec<u8> {
    if !json
        .iter()
        .any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xE2))
    {
        return json;
    }
    let mut escaped = Vec::with_capacity(json.len() + json.len() / 8);
    let mut rest = json.as_slice();
    while let Some((&first, tail)) = rest.split_first() {
        let (replacement, after): (&[u8], &[u8]) = match (first, tail) {
            (b'<', _) => (b"\\u003c", tail),
            (b'>', _) => (b"\\u003e", tail),
            (b'&', _) => (b"\\u0026", tail),
            (0xE2, [0x80, 0xA8, after @ ..]) => (b"\\u2028", after),
            (0xE2, [0x80, 0xA9, after @ ..]) => (b"\\u2029", after),
            _ => {
                escaped.push(first);
                rest = tail;
                continue;
            }
        };
        escaped.extend_from_slice(replacement);
        rest = after;
    }
    escaped
}

/// The one place where a JSON reply is made.
pub(crate) fn json_response<T: Serialize + ?Sized>(
    status: StatusCode,
    value: &T,
) -> Result<Response, Failure> {
    let body = to_json(value).map_err(HttpError::Unserialisable)?;
    let mut response = (status, body).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, APPLICATION_JSON);
    Ok(response)
}

impl<T: Serialize> IntoResponse for Json200<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::OK, &self.0).into_response()
    }
}

impl<T: Serialize> IntoResponse for Json201<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::CREATED, &self.0).into_response()
    }
}

impl<T: Serialize> IntoResponse for Json202<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::ACCEPTED, &self.0).into_response()
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}
