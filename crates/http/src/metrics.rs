//! Metrics of the HTTP layer. Labels come from closed sets: the route is the declared path.

use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_histogram, histogram};
use http::{Method, StatusCode};

/// Requests answered, by service, method, route and status.
pub const REQUESTS: &str = "lamassu_http_requests_total";
/// Time from the head of a request to the head of its reply, in seconds.
pub const DURATION: &str = "lamassu_http_request_duration_seconds";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(REQUESTS, "HTTP requests answered");
    describe_histogram!(
        DURATION,
        ::metrics::Unit::Seconds,
        "Time from the head of a request to the head of its reply"
    );
}

/// Records one answered request.
pub(crate) fn answered(
    service: &'static str,
    route: &'static str,
    method: &'static str,
    status: StatusCode,
    elapsed: Duration,
) {
    let status = status.as_u16().to_string();
    counter!(REQUESTS, "service" => service, "method" => method, "route" => route, "status" => status)
        .increment(1);
    histogram!(DURATION, "service" => service, "method" => method, "route" => route)
        .record(elapsed.as_secs_f64());
}

/// A method as a label: clients may send any token.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
