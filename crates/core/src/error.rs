//! How errors of every service are told to the outside, decided in one place.
//!
//! A service's error enum stands beside its trait; its `Display` is the text on the wire. It says
//! only what *kind* of failure it is; kind → HTTP status, log level and retry advice is the table
//! below, and nothing else in the program names a status for an error.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong, in the terms that decide status, log level and retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be understood or breaks a rule: 400.
    Invalid,
    /// A credential is needed: 401.
    Unauthenticated,
    /// The caller is known and not allowed: 403.
    Forbidden,
    /// The addressed thing does not exist: 404.
    NotFound,
    /// The addressed thing exists, and cannot be asked for that: 405.
    MethodNotAllowed,
    /// The request took too long to arrive: 408.
    RequestTimeout,
    /// It clashes with what exists, or the back end cannot do it: 409.
    Conflict,
    /// It is not in the state that the request makes its condition: 412.
    PreconditionFailed,
    /// The body is larger than allowed: 413.
    TooLarge,
    /// The media type is not one that the endpoint reads: 415.
    UnsupportedMediaType,
    /// The state of the addressed thing forbids it: 422.
    Unprocessable,
    /// Too many requests from this client: 429.
    RateLimited,
    /// A defect or a broken environment on our side: 500.
    Internal,
    /// A back end that the operator configured answers wrongly: 502.
    BadGateway,
    /// Overload or a dependency of ours that is down: 503 with `Retry-After`.
    Unavailable,
    /// A back end that the operator configured does not answer in time: 504.
    GatewayTimeout,
}

impl ErrorKind {
    /// The HTTP status.
    pub const fn status(self) -> http::StatusCode {
        match self {
            Self::Invalid => http::StatusCode::BAD_REQUEST,
            Self::Unauthenticated => http::StatusCode::UNAUTHORIZED,
            Self::Forbidden => http::StatusCode::FORBIDDEN,
            Self::NotFound => http::StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => http::StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => http::StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => http::StatusCode::CONFLICT,
            Self::PreconditionFailed => http::StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable => http::StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => http::StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => http::StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => http::StatusCode::BAD_GATEWAY,
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::GatewayTimeout => http::StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// How loud the edge logs it.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Internal => Severity::Error,
            Self::BadGateway | Self::Unavailable | Self::GatewayTimeout => Severity::Warn,
            Self::Unauthenticated | Self::Forbidden => Severity::Info,
            Self::Invalid
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::RequestTimeout
            | Self::Conflict
            | Self::PreconditionFailed
            | Self::TooLarge
            | Self::UnsupportedMediaType
            | Self::Unprocessable
            | Self::RateLimited => Severity::Debug,
        }
    }

    /// What to put into `Retry-After` when the error does not know better.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(Duration::from_secs(2)),
            Self::RateLimited => Some(Duration::from_secs(1)),
            Self::Invalid
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::RequestTimeout
            | Self::Conflict
            | Self::PreconditionFailed
            | Self::TooLarge
            | Self::UnsupportedMediaType
            | Self::Unprocessable
            | Self::Internal
            | Self::BadGateway
            | Self::GatewayTimeout => None,
        }
    }
}

/// Log level of an error, without naming a logging library here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Someone must act.
    Error,
    /// Survived, look soon.
    Warn,
    /// A refused credential.
    Info,
    /// A refused client.
    Debug,
}

/// What is wrong with one part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// The member, parameter or, with a leading slash, the place in a document.
    #[schemars(example = &"tags[3]")]
    pub field: String,
    /// What is wrong with it.
    #[schemars(example = &"longer than 256 characters")]
    pub reason: String,
}

impl ErrorDetail {
    /// What is wrong with this field.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// An error that a service shows to its clients: `Display` is the text on the wire.
pub trait ServiceError: std::error::Error + Send + Sync + 'static {
    /// What kind of failure it is.
    fn kind(&self) -> ErrorKind;

    /// How loud the edge logs it, where that is not its kind's.
    fn severity(&self) -> Severity {
        self.kind().severity()
    }

    /// A stable machine-readable word beside the text (`code` of the error body), if there is one.
    fn code(&self) -> Option<&'static str> {
        None
    }

    /// What is wrong in which part of the request (`details` of the error body); may be empty.
    fn details(&self) -> &[ErrorDetail] {
        &[]
    }

    /// When to come back, where the error knows better than its kind.
    fn retry_after(&self) -> Option<Duration> {
        self.kind().retry_after()
    }
}

/// A failure of storage as services pass it on: what the client may know, and the cause for the log.
#[derive(Debug, thiserror::Error)]
pub enum StorageFailure {
    /// The database is down, busy or over its limits; nothing was changed.
    #[error("storage unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process of the installation, whose service is needed, does not answer; nothing was
    /// changed.
    #[error("a service of this installation does not answer")]
    PeerAway(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection was lost around a commit: the change may or may not be stored.
    #[error("storage did not confirm the change; look before repeating it")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row cannot be read back, or a statement failed: a defect.
    #[error("storage failure")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A cause that the log has told once for all whom it meets, an outage of the database for example.
/// Whoever tells of its consequences does so at level debug.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ToldOnce(pub Box<dyn std::error::Error + Send + Sync>);

impl ToldOnce {
    /// Whether such a cause is behind an error.
    pub fn is_behind(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.any(<dyn std::error::Error + 'static>::is::<Self>)
    }
}

impl StorageFailure {
    /// The word beside the text in v2.
    pub const fn code_in_v2(&self) -> &'static str {
        match self {
            Self::Unavailable(_) | Self::PeerAway(_) => "unavailable",
            Self::OutcomeUnknown(_) => "outcome_unknown",
            Self::Internal(_) => "internal_error",
        }
    }

    /// The kind that the client sees.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) | Self::PeerAway(_) | Self::OutcomeUnknown(_) => {
                ErrorKind::Unavailable
            }
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}
