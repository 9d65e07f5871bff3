//! Metrics of authentication.

use ::metrics::{counter, describe_counter};

/// Authentications and permission checks, by kind, result and code.
pub const REQUESTS: &str = "lamassu_auth_requests_total";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(REQUESTS, "Requests authenticated, admitted or refused");
}

pub(crate) fn admitted(kind: &'static str) {
    counter!(REQUESTS, "kind" => kind, "result" => "admitted", "code" => "").increment(1);
}

pub(crate) fn refused(kind: &'static str, code: &'static str) {
    counter!(REQUESTS, "kind" => kind, "result" => "refused", "code" => code).increment(1);
}
