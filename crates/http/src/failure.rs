//! Turning an error into a reply, once for all services.
//!
//! A handler returns [`Reply`] and uses `?` on any error that is a [`ServiceError`]; it names no
//! status. The reply carries the error along, and the edge logs it with its sources and the
//! request id: whoever returns an error does not log it.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use lamassu_core::error::{ErrorDetail, ErrorKind, ServiceError, Severity};
use lamassu_core::json::JsonError;

use crate::reply::{ErrorBody, json_response};

/// What a handler returns.
pub type Reply<T> = Result<T, Failure>;

/// Any service's error on its way to the client.
#[derive(Clone, Debug)]
pub struct Failure(Arc<dyn ServiceError>);

impl<E: ServiceError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl Failure {
    /// The error behind it.
    pub fn error(&self) -> &dyn ServiceError {
        &*self.0
    }
}

/// Travels in the reply's extensions to the edge, which logs it.
#[derive(Clone, Debug)]
pub(crate) struct Reported(pub(crate) Failure);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            err: &self.0.to_string(),
            code: self.0.code(),
            details: self.0.details(),
            request_id: None,
        };
        // Two strings always serialise; should they not, the status alone still tells the truth.
        let status = self.0.kind().status();
        let mut response = json_response(status, &body).unwrap_or_else(|_| status.into_response());
        if let Some(after) = self.0.retry_after() {
            let seconds = HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(Reported(self));
        response
    }
}

/// What goes wrong before a handler or after it, in this layer itself.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The body is not the JSON that the endpoint reads; the text is the decoder's.
    #[error("{0}")]
    Json(JsonError),
    /// The body is not the JSON that the endpoint reads, without exceptions; the member, if it is one.
    #[error("{0}")]
    StrictJson(JsonError, Vec<ErrorDetail>),
    /// The body has members that there are not; the first one, and all of them.
    #[error("unknown field '{0}'")]
    UnknownMembers(String, Vec<ErrorDetail>),
    /// The body is of a media type that the endpoint does not read.
    #[error("unsupported media type")]
    MediaType,
    /// `If-Match` or `If-None-Match` is no list of entity tags.
    #[error("malformed header {0}")]
    Condition(&'static str),
    /// The path is there, the method is not; in v2 only.
    #[error("method not allowed")]
    Method,
    /// The body is longer than the endpoint takes.
    #[error("request body too large")]
    TooLarge,
    /// The body did not arrive in time.
    #[error("request timeout")]
    TooSlow,
    /// The connection broke while the body arrived.
    #[error("request body could not be read")]
    BrokenBody(#[source] axum::Error),
    /// A path parameter does not have the form that the endpoint needs.
    #[error("invalid path parameter")]
    PathParameter(#[source] axum::extract::rejection::PathRejection),
    /// A path parameter holds a character that no stored text can hold.
    #[error("path parameter {0} holds the character U+0000, which cannot be stored")]
    NulInPath(String),
    /// A query parameter holds a character that no stored text can hold.
    #[error("query parameter {0} holds the character U+0000, which cannot be stored")]
    NulInQuery(String),
    /// A reply could not be written as JSON: a defect.
    #[error("internal error")]
    Unserialisable(#[source] serde_json::Error),
    /// The task that handled the request ended without a result: a defect, or the server stops.
    #[error("internal error")]
    TaskLost(#[source] tokio::task::JoinError),
    /// A page of another origin wants to change something where nobody is authenticated.
    #[error("cross-origin requests need authentication to be enforced")]
    ForeignOrigin,
    /// As many requests are in progress as this process takes on.
    #[error("too many requests in progress")]
    Overloaded,
    /// The client sends more requests than one address may; may go on after so long.
    #[error("too many requests from this address")]
    RateLimited(Duration),
    /// A handler was mounted past the route table: a defect.
    #[error("internal error")]
    Unguarded,
}

impl ServiceError for HttpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Json(_)
            | Self::StrictJson(..)
            | Self::UnknownMembers(..)
            | Self::Condition(_)
            | Self::BrokenBody(_)
            | Self::PathParameter(_)
            | Self::NulInPath(_)
            | Self::NulInQuery(_) => ErrorKind::Invalid,
            Self::ForeignOrigin => ErrorKind::Forbidden,
            Self::Method => ErrorKind::MethodNotAllowed,
            Self::MediaType => ErrorKind::UnsupportedMediaType,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::TooSlow => ErrorKind::RequestTimeout,
            Self::Overloaded => ErrorKind::Unavailable,
            Self::RateLimited(_) => ErrorKind::RateLimited,
            Self::Unserialisable(_) | Self::TaskLost(_) | Self::Unguarded => ErrorKind::Internal,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(wait) => Some(*wait),
            other => other.kind().retry_after(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::StrictJson(..) | Self::Condition(_) => Some("validation_failed"),
            Self::UnknownMembers(..) => Some("unknown_field"),
            Self::MediaType => Some("unsupported_media_type"),
            Self::Method => Some("method_not_allowed"),
            Self::Json(_)
            | Self::BrokenBody(_)
            | Self::PathParameter(_)
            | Self::NulInPath(_)
            | Self::NulInQuery(_)
            | Self::ForeignOrigin
            | Self::TooLarge
            | Self::TooSlow
            | Self::Overloaded
            | Self::RateLimited(_)
            | Self::Unserialisable(_)
            | Self::TaskLost(_)
            | Self::Unguarded => None,
        }
    }

    fn details(&self) -> &[ErrorDetail] {
        match self {
            Self::StrictJson(_, details) | Self::UnknownMembers(_, details) => details,
            _ => &[],
        }
    }

    /// Overload is in the metrics; a line for each refusal would be a load of its own.
    fn severity(&self) -> Severity {
        match self {
            Self::Overloaded => Severity::Debug,
            other => other.kind().severity(),
        }
    }
}

/// The reply when a handler panicked.
pub(crate) fn panic_reply(request_id: &str) -> Response {
    let body = ErrorBody {
        err: "internal error",
        code: None,
        details: &[],
        request_id: Some(request_id),
    };
    json_response(StatusCode::INTERNAL_SERVER_ERROR, &body).into_response()
}
