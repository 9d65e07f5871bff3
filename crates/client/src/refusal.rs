//! Reading a refusal back: status, text and code become the variant that the service returned.
//!
//! Variants without payload are compared with what they render to, so no text is written down
//! twice; those with a payload are taken apart in the tables of `errors`. What has the same
//! status, text and code is one thing on the wire, and the table's first variant.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};
use lamassu_core::error::{ErrorDetail, ServiceError, StorageFailure, ToldOnce};
use serde::Deserialize;

use crate::retry::{Repeat, retry_after};
use crate::transport::Answer;

/// An error that can be read back.
pub(crate) trait WireError: ServiceError + Sized + From<StorageFailure> {
    /// The variant that renders so, if there is one.
    fn read(refusal: &Refusal) -> Option<Self>;
}

/// A refusal as it came.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    pub(crate) code: Option<String>,
    pub(crate) details: Vec<ErrorDetail>,
    /// In whole seconds.
    pub(crate) retry_after: Option<std::time::Duration>,
}

#[derive(Deserialize)]
struct Body {
    err: String,
    code: Option<String>,
    #[serde(default)]
    details: Vec<ErrorDetail>,
}

/// The cause of what another process reported; its own causes are in the log over there.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("reported by another service")]
pub(crate) struct Reported;

/// An answer that is none of the service's errors: of a guard, a proxy, or a service of another
/// version. The cause of a [`StorageFailure`], where callers who talk to people look for it.
#[derive(Debug, thiserror::Error)]
#[error("unexpected answer {status}: {text}")]
pub struct UnexpectedAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its text, `""` if it has none.
    pub text: String,
    /// The permission that the caller lacks, where the answer names it (RFC 6750 section 3.1).
    pub lacking: Option<String>,
}

impl Refusal {
    /// Whether this is what `error` renders to.
    pub(crate) fn is(&self, error: &dyn ServiceError) -> bool {
        error.kind().status() == self.status
            && error.to_string() == self.text
            && error.code() == self.code.as_deref()
    }

    /// The one of these errors that renders so.
    pub(crate) fn one_of<E: ServiceError>(&self, errors: impl IntoIterator<Item = E>) -> Option<E> {
        errors.into_iter().find(|error| self.is(error))
    }

    /// What follows `prefix` under this status.
    pub(crate) fn after(&self, status: StatusCode, prefix: &str) -> Option<&str> {
        (self.status == status)
            .then(|| self.text.strip_prefix(prefix))
            .flatten()
    }

    fn of(answer: &Answer) -> Option<Self> {
        let body: Body = serde_json::from_slice(&answer.body).ok()?;
        Some(Self {
            status: answer.status,
            text: body.err,
            code: body.code,
            details: body.details,
            retry_after: retry_after(&answer.headers),
        })
    }
}

/// The error behind an answer without success.
pub(crate) fn refused<E: WireError>(answer: &Answer, repeat: Repeat) -> E {
    let refusal = Refusal::of(answer);
    let known = refusal.as_ref().and_then(|refusal| {
        storage_failure(refusal)
            .map(E::from)
            .or_else(|| E::read(refusal))
    });
    known.unwrap_or_else(|| E::from(unexpected(answer, refusal, repeat)))
}

/// Whether the peer reports a failure of its storage or of a peer of its own.
pub(crate) fn tells_of_storage(answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE
        && Refusal::of(answer).is_some_and(|refusal| storage_failure(&refusal).is_some())
}

/// Every service has these.
fn storage_failure(refusal: &Refusal) -> Option<StorageFailure> {
    let errors = [
        StorageErrors(StorageFailure::Unavailable(Box::new(ToldOnce(Box::new(
            Reported,
        ))))),
        StorageErrors(StorageFailure::PeerAway(Box::new(Reported))),
        StorageErrors(StorageFailure::OutcomeUnknown(Box::new(Reported))),
        StorageErrors(StorageFailure::Internal(Box::new(Reported))),
    ];
    // v2 has a code beside the text.
    errors
        .into_iter()
        .find(|error| {
            let code = refusal.code.as_deref();
            let same_code = code.is_none() || code == Some(error.0.code_in_v2());
            error.kind().status() == refusal.status
                && error.to_string() == refusal.text
                && same_code
        })
        .map(|StorageErrors(failure)| failure)
}

/// A failure of storage, rendered as every service renders it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct StorageErrors(StorageFailure);

impl ServiceError for StorageErrors {
    fn kind(&self) -> lamassu_core::error::ErrorKind {
        self.0.kind()
    }
}

/// A proxy, a guard, or a service of another version.
fn unexpected(answer: &Answer, refusal: Option<Refusal>, repeat: Repeat) -> StorageFailure {
    let status = answer.status;
    let text = refusal.map_or_else(String::new, |refusal| refusal.text);
    let lacking = lacking(&answer.headers);
    let cause = Box::new(UnexpectedAnswer {
        status,
        text,
        lacking,
    });
    match (status, repeat) {
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _)
        | (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, Repeat::Safe) => {
            StorageFailure::Unavailable(cause)
        }
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, Repeat::Once) => {
            StorageFailure::OutcomeUnknown(cause)
        }
        _ => StorageFailure::Internal(cause),
    }
}

/// The `scope` of a challenge.
fn lacking(headers: &HeaderMap) -> Option<String> {
    let challenge = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    let (_, rest) = challenge.split_once("scope=\"")?;
    let (scope, _) = rest.split_once('"')?;
    Some(scope.to_owned())
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;
    use http::{HeaderMap, StatusCode};
    use lamassu_core::ca::CaError;
    use lamassu_core::error::StorageFailure;

    use super::{UnexpectedAnswer, refused};
    use crate::retry::Repeat;
    use crate::transport::Answer;

    #[test]
    fn a_guard_s_refusal_is_found_behind_the_service_s_error() {
        let challenge = "Bearer realm=\"lamassu\", error=\"insufficient_scope\", scope=\"ca:read\"";
        let headers = [(WWW_AUTHENTICATE, challenge.parse().unwrap())];
        let answer = Answer {
            status: StatusCode::FORBIDDEN,
            headers: HeaderMap::from_iter(headers),
            body: r#"{"err":"insufficient permissions"}"#.into(),
            exporter: None,
        };
        let CaError::Storage(StorageFailure::Internal(cause)) = refused(&answer, Repeat::Safe)
        else {
            panic!("another error");
        };
        let cause: &UnexpectedAnswer = cause.downcast_ref().unwrap();
        assert_eq!(cause.status, StatusCode::FORBIDDEN);
        assert_eq!(cause.text, "insufficient permissions");
        assert_eq!(cause.lacking.as_deref(), Some("ca:read"));
    }
}
