//! Conditions of a request on the revision of what it addresses (RFC 9110 13.1), for v2.
//!
//! The entity tag of a resource is its revision in quotes. `If-Match` lets a change happen only at the
//! revision that the client has seen; `If-None-Match` saves a body that the client has already.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use lamassu_core::error::ErrorKind;
use lamassu_core::revision::Precondition;

use crate::failure::{Failure, HttpError};
use crate::operation::{Answers, Operation, Reads};

/// Most entity tags of a header.
const MAX_TAGS: usize = 64;

/// What a change expects of what it changes: `If-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(pub Precondition);

/// Which revisions the client has: `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfNoneMatch(Precondition);

impl IfNoneMatch {
    /// The client has nothing, or nothing that a revision could tell.
    pub const NOTHING: Self = Self(Precondition::None);
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self(tags(
            &parts.headers,
            &IF_MATCH,
            "If-Match",
            Weak::Never,
        )?))
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let name = "If-None-Match";
        Ok(Self(tags(
            &parts.headers,
            &IF_NONE_MATCH,
            name,
            Weak::Same,
        )?))
    }
}

/// What a weak tag is compared as (RFC 9110 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weak {
    /// It matches nothing.
    Never,
    /// It matches as a strong one.
    Same,
}

fn tags(
    headers: &HeaderMap,
    header: &HeaderName,
    name: &'static str,
    weak: Weak,
) -> Result<Precondition, HttpError> {
    let mut revisions = Vec::new();
    let mut is_there = false;
    for value in headers.get_all(header) {
        is_there = true;
        let text = value.to_str().map_err(|_| HttpError::Condition(name))?;
        if text.trim() == "*" {
            return Ok(Precondition::Exists);
        }
        for tag in text.split(',').map(str::trim) {
            let (tag, is_weak) = match tag.strip_prefix("W/") {
                Some(tag) => (tag, true),
                None => (tag, false),
            };
            let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let inner = inner.ok_or(HttpError::Condition(name))?;
            // What is no number is nobody's tag here.
            if let Ok(revision) = inner.parse()
                && !(is_weak && weak == Weak::Never)
            {
                revisions.push(revision);
            }
        }
    }
    if revisions.len() > MAX_TAGS {
        return Err(HttpError::Condition(name));
    }
    Ok(if is_there {
        Precondition::OneOf(revisions)
    } else {
        Precondition::None
    })
}

impl Reads for IfMatch {
    fn describe(operation: &mut Operation) {
        operation.header(
            "If-Match",
            "The revision that is to be changed, as `ETag` gave it.",
        );
        operation.refuses(&[ErrorKind::Invalid, ErrorKind::PreconditionFailed]);
    }
}

impl Reads for IfNoneMatch {
    fn describe(operation: &mut Operation) {
        operation.header(
            "If-None-Match",
            "Revisions that the client has, as `ETag` gave them.",
        );
        operation.refuses(&[ErrorKind::Invalid]);
    }
}

/// An answer with the revision of what it shows as `ETag`, and where that is, if it is new.
#[derive(Clone, Debug)]
pub struct Versioned<R> {
    answer: R,
    revision: i64,
    location: Option<String>,
}

impl<R> Versioned<R> {
    /// The answer at this revision.
    pub const fn new(revision: i64, answer: R) -> Self {
        Self {
            answer,
            revision,
            location: None,
        }
    }

    /// With the path of what was made. It is relative to the path of the request, so that it is right
    /// behind every prefix.
    #[must_use]
    pub fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// The same for a client that has some revisions already.
    pub fn unless(self, known: &IfNoneMatch) -> ReadVersioned<R> {
        ReadVersioned {
            is_known: known.0 != Precondition::None && known.0.is_met_by(self.revision),
            versioned: self,
        }
    }
}

/// As [`Versioned`], or 304 for a client that has this revision.
#[derive(Clone, Debug)]
pub struct ReadVersioned<R> {
    versioned: Versioned<R>,
    is_known: bool,
}

fn etag(revision: i64) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{revision}\"")).ok()
}

impl<R: IntoResponse> IntoResponse for Versioned<R> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        if let Some(tag) = etag(self.revision) {
            response.headers_mut().insert(ETAG, tag);
        }
        if let Some(Ok(location)) = self.location.map(HeaderValue::try_from) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

impl<R: IntoResponse> IntoResponse for ReadVersioned<R> {
    fn into_response(self) -> Response {
        if !self.is_known {
            return self.versioned.into_response();
        }
        let not_modified = Versioned {
            answer: StatusCode::NOT_MODIFIED,
            revision: self.versioned.revision,
            location: None,
        };
        not_modified.into_response()
    }
}

impl<R: Answers> Answers for Versioned<R> {
    fn describe(operation: &mut Operation) {
        R::describe(operation);
    }
}

impl<R: Answers> Answers for ReadVersioned<R> {
    fn describe(operation: &mut Operation) {
        R::describe(operation);
        operation.answers(StatusCode::NOT_MODIFIED, None);
    }
}
