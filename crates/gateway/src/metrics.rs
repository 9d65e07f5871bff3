//! Metrics of the whole process, and those of the gateway itself.
//!
//! Every crate records through the `metrics` facade; [`MetricsExporter`] is the one recorder of
//! the process and renders what it holds in Prometheus' text format. The gateway serves that on a
//! listener of its own, loopback by default.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::error::GatewayError;
use lamassu_http::Scheme;

/// TLS handshakes, by result.
const HANDSHAKES: &str = "lamassu_tls_handshakes_total";
/// Connections open now, by listener.
const CONNECTIONS: &str = "lamassu_connections_open";
/// Requests refused by the gateway itself, by reason.
const REFUSED: &str = "lamassu_gateway_refused_total";
/// Seconds until the server certificate expires.
const CERTIFICATE_EXPIRY: &str = "lamassu_tls_certificate_expiry_seconds";

/// Upper bounds of duration histograms, seconds.
const DURATION_BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// How often histograms are drained of what was recorded.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The recorder of this process.
#[derive(Clone)]
pub struct MetricsExporter(PrometheusHandle);

impl std::fmt::Debug for MetricsExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsExporter")
    }
}

impl MetricsExporter {
    /// Makes this the recorder of the process; once, before anything is recorded.
    ///
    /// # Errors
    ///
    /// [`GatewayError::MetricsTaken`] when there is a recorder already.
    pub fn install() -> Result<Self, GatewayError> {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(seconds, &DURATION_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|_| GatewayError::MetricsTaken)?;
        describe();
        Ok(Self(handle))
    }

    /// Everything recorded so far, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Bounds the memory of histograms; to be called every [`UPKEEP_INTERVAL`].
    pub(crate) fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

fn describe() {
    describe_counter!(HANDSHAKES, "TLS handshakes by result");
    describe_gauge!(CONNECTIONS, "Connections open now, by listener");
    describe_counter!(
        REFUSED,
        "Requests that the gateway refused itself, by reason"
    );
    describe_gauge!(
        CERTIFICATE_EXPIRY,
        Unit::Seconds,
        "Time until the server certificate expires"
    );
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HandshakeResult {
    /// The connection is usable.
    Completed,
    /// Client and server did not agree, or the client left.
    Failed,
    /// The client was too slow.
    TimedOut,
}

/// Counts one handshake.
pub(crate) fn count_handshake(result: HandshakeResult) {
    let result = match result {
        HandshakeResult::Completed => "completed",
        HandshakeResult::Failed => "failed",
        HandshakeResult::TimedOut => "timed_out",
    };
    counter!(HANDSHAKES, "result" => result).increment(1);
}

/// Why the gateway refused a request itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// It needs HTTPS.
    PlainHttp,
    /// It carried a certificate header that only a trusted proxy may send.
    ForgedHeader,
}

/// Counts one refusal.
pub(crate) fn count_refusal(refusal: Refusal) {
    let reason = match refusal {
        Refusal::PlainHttp => "plain_http",
        Refusal::ForgedHeader => "forged_header",
    };
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// Reports how long the server certificate is still valid.
pub(crate) fn record_certificate_expiry(left: time::Duration) {
    gauge!(CERTIFICATE_EXPIRY).set(left.as_seconds_f64());
}

/// A connection that counts as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(&'static str);

impl OpenConnection {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let listener = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        gauge!(CONNECTIONS, "listener" => listener).increment(1);
        Self(listener)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "listener" => self.0).decrement(1);
    }
}
