//! Metrics of EST. Labels come from closed sets: operations, and the codes of refusals.

use std::time::Instant;

use ::metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use lamassu_core::dms::DmsError;
use lamassu_core::error::{ErrorKind, ServiceError};

/// EST requests answered, by operation and result.
pub(crate) const REQUESTS: &str = "lamassu_est_requests_total";
/// Time that an EST operation took, in seconds, by operation.
pub(crate) const DURATION: &str = "lamassu_est_request_duration_seconds";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(REQUESTS, "EST requests answered");
    describe_histogram!(DURATION, Unit::Seconds, "Time that an EST operation took");
}

/// Records one EST operation that began at `started`.
pub(crate) fn answered<T>(operation: &'static str, started: Instant, result: &Result<T, DmsError>) {
    let result = match result {
        Ok(_) => "ok",
        Err(error) => label(error),
    };
    counter!(REQUESTS, "operation" => operation, "result" => result).increment(1);
    histogram!(DURATION, "operation" => operation).record(started.elapsed().as_secs_f64());
}

/// The code of a refusal, or else its kind.
fn label(error: &DmsError) -> &'static str {
    error.code().unwrap_or_else(|| match error.kind() {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::NotFound => "not_found",
        ErrorKind::RequestTimeout => "request_timeout",
        ErrorKind::Conflict => "conflict",
        ErrorKind::MethodNotAllowed => "method_not_allowed",
        ErrorKind::PreconditionFailed => "precondition_failed",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::UnsupportedMediaType => "unsupported_media_type",
        ErrorKind::Unprocessable => "unprocessable",
        ErrorKind::RateLimited => "rate_limited",
        ErrorKind::Internal => "internal",
        ErrorKind::BadGateway => "bad_gateway",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::GatewayTimeout => "gateway_timeout",
    })
}
