//! Metrics of EST. Labels come from closed sets: operations, and the codes of refusals.

use std::time::Instant;

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use bytes::Bytes;
use lamassu_core::dms::{DmsError, Outcome, WebhookRefusal};
use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_core::pem::CertificateDer;

use crate::foreign_revocation::Standing;

/// EST requests answered, by operation and result.
pub(crate) const REQUESTS: &str = "lamassu_est_requests_total";
/// Time that an EST operation took, in seconds, by operation.
pub(crate) const DURATION: &str = "lamassu_est_request_duration_seconds";
/// Enrollments that nobody has decided on, as of the last look, which is at most a minute old.
pub(crate) const APPROVALS_PENDING: &str = "lamassu_est_approvals_pending";

/// Webhooks asked, by result.
pub(crate) const WEBHOOKS: &str = "lamassu_est_webhook_calls_total";

/// Foreign certificates asked about, by what came of it.
pub(crate) const FOREIGN: &str = "lamassu_est_foreign_revocation_checks_total";

/// Refused enrollments beyond what the log takes per minute.
pub(crate) const NOT_LOGGED: &str = "lamassu_est_refusals_unlogged_total";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(REQUESTS, "EST requests answered");
    describe_counter!(
        FOREIGN,
        "Certificates of foreign issuers asked about by OCSP or CRL"
    );
    describe_counter!(
        NOT_LOGGED,
        "Refused enrollments that the log had no room for"
    );
    describe_counter!(WEBHOOKS, "Webhooks of DMSs asked");
    describe_gauge!(APPROVALS_PENDING, "Enrollments that wait for approval");
    describe_histogram!(DURATION, Unit::Seconds, "Time that an EST operation took");
}

/// Sets how many enrollments wait for approval.
pub(crate) fn approvals_pending(n: i64) {
    gauge!(APPROVALS_PENDING).set(f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
}

/// What an operation came to, for the label `result`.
pub(crate) trait Told {
    /// One word.
    fn told(&self) -> &'static str {
        "ok"
    }
}

impl Told for CertificateDer {}
impl Told for Vec<CertificateDer> {}
impl Told for Bytes {}

impl<T> Told for Outcome<T> {
    fn told(&self) -> &'static str {
        match self {
            Self::Issued(_) => "ok",
            Self::Pending(_) => "pending",
        }
    }
}

/// Records one EST operation that began at `started`.
pub(crate) fn answered<T: Told>(
    operation: &'static str,
    started: Instant,
    result: &Result<T, DmsError>,
) {
    let result = match result {
        Ok(done) => done.told(),
        Err(error) => label(error),
    };
    counter!(REQUESTS, "operation" => operation, "result" => result).increment(1);
    histogram!(DURATION, "operation" => operation).record(started.elapsed().as_secs_f64());
}

/// Records that a refusal was not logged.
pub(crate) fn refusal_not_logged() {
    counter!(NOT_LOGGED).increment(1);
}

/// Records how a foreign certificate stands.
pub(crate) fn foreign_revocation(standing: Standing) {
    let result = match standing {
        Standing::Good => "good",
        Standing::Revoked => "revoked",
        Standing::Unknown => "unknown",
    };
    counter!(FOREIGN, "result" => result).increment(1);
}

/// Records what a webhook said.
pub(crate) fn webhook(asked: &Result<(), WebhookRefusal>) {
    let result = match asked {
        Ok(()) => "authorized",
        Err(WebhookRefusal::Denied(_) | WebhookRefusal::Status(400..=499)) => "denied",
        Err(WebhookRefusal::TimedOut) => "timeout",
        Err(WebhookRefusal::Status(_) | WebhookRefusal::Failed(_)) => "failed",
    };
    counter!(WEBHOOKS, "result" => result).increment(1);
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
