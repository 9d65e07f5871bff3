//! The outermost layer: what every request gets, whatever it asks for.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use lamassu_core::caller::TraceContext;
use lamassu_core::error::{ServiceError, Severity, ToldOnce};
use tracing::{Instrument, Span, debug, error, field, info, info_span, warn};
use uuid::Uuid;

use crate::cors::{Cors, CorsPolicy};
use crate::failure::{Reported, panic_reply};
use crate::metrics;
use crate::routes::RouteInfo;

/// Correlation id, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest request id that is taken over from a client, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Request id and trace of a request; in its extensions from the edge on.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The client's `X-Request-Id` when it is a plain token, else a fresh UUID v4.
    pub request_id: Arc<str>,
    /// The client's trace or a fresh one, always with a span of our own.
    pub trace: TraceContext,
}

impl RequestContext {
    /// The context that the edge made, or a fresh one where there was no edge (unit tests).
    pub fn of(parts: &Parts) -> Self {
        match parts.extensions.get::<Self>() {
            Some(context) => context.clone(),
            None => Self::from_headers(&parts.headers),
        }
    }

    fn from_headers(headers: &HeaderMap) -> Self {
        let request_id = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_request_id(id));
        let (_, span_id) = Uuid::new_v4().as_u64_pair();
        let trace_id = headers
            .get(TRACEPARENT)
            .and_then(|value| TraceContext::parse(value.to_str().ok()?))
            .map_or_else(|| Uuid::new_v4().as_u128(), |trace| trace.trace_id);
        Self {
            request_id: match request_id {
                Some(id) => Arc::from(id),
                None => Arc::from(Uuid::new_v4().to_string()),
            },
            trace: TraceContext { trace_id, span_id },
        }
    }
}

/// An id goes into logs, events and headers: only characters that are harmless in all of them.
fn is_request_id(id: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(plain)
}

/// Request id, trace, span, CORS, panics, failure log, access log and metrics, around `next`.
pub(crate) async fn around(
    State(policy): State<CorsPolicy>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let context = RequestContext::from_headers(&parts.headers);
    let span = request_span(&context);
    let cors = Cors::of(&parts, policy);
    let seen = Seen::of(&parts);
    parts.extensions.insert(context.clone());
    async {
        let decided = cors.preflight(&parts).or_else(|| cors.refuse(&parts));
        let mut response = match decided {
            Some(decided) => decided,
            None => answer(Request::from_parts(parts, body), next, &context).await,
        };
        cors.decorate(&mut response);
        if let Ok(id) = HeaderValue::from_str(&context.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        log_failure(&mut response);
        seen.log(&response, started.elapsed());
        response
    }
    .instrument(span)
    .await
}

async fn answer(request: Request, next: Next, context: &RequestContext) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        // The panic's own message went to the panic hook.
        Err(_panic) => {
            error!(request_id = %context.request_id, "handler panicked");
            panic_reply(&context.request_id)
        }
    }
}

fn request_span(context: &RequestContext) -> Span {
    info_span!(
        "request",
        request_id = %context.request_id,
        trace_id = context.trace.trace_id_hex(),
        span_id = context.trace.span_id_hex(),
        src = field::Empty,
        auth_type = field::Empty,
        auth_id = field::Empty,
    )
}

/// What the access log and the metrics keep of a request.
struct Seen {
    method: &'static str,
    path: String,
    agent: Option<HeaderValue>,
}

impl Seen {
    /// The path without its query: clients put tokens there by mistake.
    fn of(parts: &Parts) -> Self {
        Self {
            method: metrics::method_label(&parts.method),
            path: parts.uri.path().to_owned(),
            agent: parts.headers.get(USER_AGENT).cloned(),
        }
    }

    fn log(&self, response: &Response, elapsed: Duration) {
        let status = response.status();
        let info = response.extensions().get::<Arc<RouteInfo>>();
        let (service, route) = info.map_or(("none", "unrouted"), |info| (info.service, info.path));
        metrics::answered(service, route, self.method, status, elapsed);
        debug!(
            service,
            method = self.method,
            path = self.path,
            status = status.as_u16(),
            agent = ?self.agent,
            elapsed_ms = elapsed.as_secs_f64() * 1000.0,
            "request answered"
        );
    }
}

/// Logs the error behind a reply, once, with everything that caused it.
fn log_failure(response: &mut Response) {
    let Some(Reported(failure)) = response.extensions_mut().remove::<Reported>() else {
        return;
    };
    let service = response
        .extensions()
        .get::<Arc<RouteInfo>>()
        .map_or("none", |info| info.service);
    let failure = failure.error();
    let error = chain(failure);
    let status = failure.kind().status().as_u16();
    match failure.severity() {
        Severity::Warn if failure.source().is_some_and(ToldOnce::is_behind) => {
            debug!(service, status, error, "request failed");
        }
        Severity::Error => error!(service, status, error, "request failed"),
        Severity::Warn => warn!(service, status, error, "request failed"),
        Severity::Info => info!(service, status, error, "request refused"),
        Severity::Debug => debug!(service, status, error, "request refused"),
    }
}

/// The error's text and those of its sources, separated by `: `.
fn chain(error: &dyn ServiceError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = Error::source(cause);
    }
    text
}
