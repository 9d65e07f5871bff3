//! What the kinds of refusals mean. All have the same body.

use lamassu_core::error::ErrorKind;
use serde_json::{Map, Value, json};

const KINDS: [ErrorKind; 16] = [
    ErrorKind::Invalid,
    ErrorKind::Unauthenticated,
    ErrorKind::Forbidden,
    ErrorKind::NotFound,
    ErrorKind::MethodNotAllowed,
    ErrorKind::RequestTimeout,
    ErrorKind::Conflict,
    ErrorKind::PreconditionFailed,
    ErrorKind::TooLarge,
    ErrorKind::UnsupportedMediaType,
    ErrorKind::Unprocessable,
    ErrorKind::RateLimited,
    ErrorKind::Internal,
    ErrorKind::BadGateway,
    ErrorKind::Unavailable,
    ErrorKind::GatewayTimeout,
];

/// Name among the components, and meaning.
const fn words(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::Invalid => (
            "Invalid",
            "The request cannot be understood, or breaks a rule.",
        ),
        ErrorKind::Unauthenticated => ("Unauthenticated", "A credential is needed."),
        ErrorKind::Forbidden => ("Forbidden", "The caller is known and may not do this."),
        ErrorKind::NotFound => ("NotFound", "What the path names does not exist."),
        ErrorKind::MethodNotAllowed => (
            "MethodNotAllowed",
            "The path has no such method; `Allow` names those that it has.",
        ),
        ErrorKind::RequestTimeout => ("RequestTimeout", "The request took too long to arrive."),
        ErrorKind::Conflict => (
            "Conflict",
            "It clashes with what exists, or with what is configured.",
        ),
        ErrorKind::PreconditionFailed => (
            "PreconditionFailed",
            "It has another revision than `If-Match` says.",
        ),
        ErrorKind::TooLarge => ("TooLarge", "The body is too large."),
        ErrorKind::UnsupportedMediaType => (
            "UnsupportedMediaType",
            "The body is of a media type that is not read here.",
        ),
        ErrorKind::Unprocessable => (
            "Unprocessable",
            "The state of what the path names forbids it.",
        ),
        ErrorKind::RateLimited => ("RateLimited", "Too many requests of this client."),
        ErrorKind::Internal => ("Internal", "A defect, or a broken environment."),
        ErrorKind::BadGateway => ("BadGateway", "A system behind the server answers wrongly."),
        ErrorKind::Unavailable => (
            "Unavailable",
            "Overload, or something that the server depends on is down. Nothing was changed, \
             unless the text says that it may have been.",
        ),
        ErrorKind::GatewayTimeout => (
            "GatewayTimeout",
            "A system behind the server does not answer in time.",
        ),
    }
}

/// Status, and reference to the response among the components.
pub(super) fn reference(kind: ErrorKind) -> (String, Value) {
    let (name, _) = words(kind);
    let reference = json!({"$ref": format!("#/components/responses/{name}")});
    (kind.status().as_str().to_owned(), reference)
}

/// All refusals, with the error body of this schema.
pub(super) fn responses(error: &Value) -> Value {
    let entries = KINDS.into_iter().map(|kind| {
        let (name, description) = words(kind);
        let content = json!({"application/json": {"schema": error}});
        let mut response = Map::from_iter([
            ("description".to_owned(), json!(description)),
            ("content".to_owned(), content),
        ]);
        if let Some(headers) = headers(kind) {
            response.insert("headers".to_owned(), headers);
        }
        (name.to_owned(), Value::Object(response))
    });
    Value::Object(entries.collect())
}

fn headers(kind: ErrorKind) -> Option<Value> {
    if kind == ErrorKind::Unauthenticated {
        return Some(json!({"WWW-Authenticate": {
            "description": "Which credential.",
            "schema": {"type": "string"},
        }}));
    }
    kind.retry_after().map(|_| {
        json!({"Retry-After": {
            "description": "After how many seconds to try again.",
            "schema": {"type": "integer", "minimum": 1},
        }})
    })
}
