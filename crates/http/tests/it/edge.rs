//! What every request gets: id, trace, CORS, metrics; and what a defect or a hang-up does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::State;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use lamassu_core::permission::Permission;
use lamassu_http::testing::{AllowAll, SeenMetrics};
use lamassu_http::{
    AskedBy, AuthRefusal, Authenticator, Identity, Json200, NoContent, Reply, Routes, Stack,
};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::support::{Answer, ask, router, send};

const READ: Permission = Permission::new("ca", "read");

async fn trace(AskedBy(caller): AskedBy) -> Reply<Json200<[String; 3]>> {
    Ok(Json200([
        caller.request_id.to_string(),
        caller.trace.trace_id_hex(),
        caller.trace.span_id_hex(),
    ]))
}

async fn defect() -> NoContent {
    panic!("a defect")
}

fn sample() -> Routes {
    Routes::builder("sample", ())
        .get("/trace", READ, "Echoes the context", trace)
        .get("/defect", READ, "Panics", defect)
        .post("/defect", READ, "Panics", defect)
        .build()
}

async fn with_headers(path: &str, method: Method, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stack = Stack::new(Arc::new(AllowAll), TaskTracker::new()).mount("", &sample());
    send(
        &stack.build().unwrap(),
        request.body(Body::empty()).unwrap(),
    )
    .await
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let long = "a".repeat(129);
    for (sent, is_kept) in [
        ("8d1c-af.0:b_9", true),
        ("", false),
        ("two words", false),
        ("a\"b", false),
        (&*long, false),
    ] {
        let answer = with_headers("/trace", Method::GET, &[("x-request-id", sent)]).await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.json()[0], id);
        assert_eq!(id == sent, is_kept, "{sent}");
        assert!(is_kept || id.len() == 36, "{id}");
    }
}

#[tokio::test]
async fn a_trace_is_continued_in_a_span_of_our_own() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = with_headers("/trace", Method::GET, &[("traceparent", parent)]).await;
    let body = answer.json();
    assert_eq!(body[1], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_ne!(body[2], "00f067aa0ba902b7");

    let fresh = with_headers("/trace", Method::GET, &[("traceparent", "nonsense")]).await;
    assert_eq!(fresh.json()[1].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_with_the_request_id() {
    for method in [Method::GET, Method::POST] {
        let answer = with_headers("/defect", method.clone(), &[("x-request-id", "r1")]).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{method}");
        assert_eq!(
            answer.text(),
            r#"{"err":"internal error","request_id":"r1"}"#
        );
        assert_eq!(answer.header("x-request-id"), Some("r1"));
    }
}

#[tokio::test]
async fn a_preflight_is_answered_on_any_path_without_credentials() {
    let headers = [
        ("origin", "https://dashboard.example"),
        ("host", "pki.example"),
        ("access-control-request-headers", "x-custom"),
    ];
    let answer = with_headers("/nowhere", Method::OPTIONS, &headers).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-methods",
            "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
        ),
        (
            "access-control-allow-headers",
            "Authorization, Content-Type, Accept, X-Request-Id, Traceparent, x-custom",
        ),
        ("access-control-max-age", "43200"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn cross_origin_replies_are_readable_even_when_refused() {
    let request = Request::get("/api/sample/trace")
        .header("origin", "https://dashboard.example")
        .header("host", "pki.example")
        .body(Body::empty())
        .unwrap();
    let refused = send(&router(&sample()), request).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        refused.header("access-control-expose-headers"),
        Some("X-Request-Id, WWW-Authenticate, Location")
    );
    let own = [("origin", "https://pki.example"), ("host", "pki.example")];
    let same = with_headers("/trace", Method::GET, &own).await;
    assert_eq!(same.header("access-control-allow-origin"), None);
}

/// Asks nobody for a credential, and says so.
#[derive(Debug)]
struct Off;

#[async_trait]
impl Authenticator for Off {
    async fn authenticate(&self, request: &Parts) -> Result<Identity, AuthRefusal> {
        AllowAll.authenticate(request).await
    }

    async fn refuse(&self, request: &Parts, who: &Identity, what: Permission) -> AuthRefusal {
        AllowAll.refuse(request, who, what).await
    }

    fn enforces(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn without_enforcement_a_foreign_page_reads_and_changes_nothing() {
    let changed = Arc::new(AtomicBool::new(false));
    let change = async |State(changed): State<Arc<AtomicBool>>| {
        changed.store(true, Ordering::SeqCst);
        NoContent
    };
    let routes = Routes::builder("sample", Arc::clone(&changed))
        .get("/thing", READ, "Reads", async || NoContent)
        .post("/thing", READ, "Changes", change)
        .build();
    let stack = Stack::new(Arc::new(Off), TaskTracker::new()).mount("", &routes);
    let router = stack.build().unwrap();
    let by = async |method: Method, origin: &str, site: &str| {
        let request = Request::builder().method(method).uri("/thing");
        let request = request
            .header("host", "pki.example")
            .header("origin", origin)
            .header("sec-fetch-site", site);
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    for origin in ["https://evil.example", "https://pki.example:444", "null"] {
        let refused = by(Method::POST, origin, "cross-site").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{origin}");
        assert_eq!(
            refused.text(),
            r#"{"err":"cross-origin requests need authentication to be enforced"}"#
        );
        let preflight = by(Method::OPTIONS, origin, "cross-site").await;
        let read = by(Method::GET, origin, "cross-site").await;
        assert_eq!(preflight.status, StatusCode::NOT_FOUND);
        assert_eq!(read.status, StatusCode::NO_CONTENT);
        for answer in [refused, preflight, read] {
            assert_eq!(answer.header("access-control-allow-origin"), None);
            assert_eq!(answer.header("access-control-allow-methods"), None);
        }
    }
    assert!(!changed.load(Ordering::SeqCst));
    // Our own page, also behind a proxy that replaces `Host`, and programs, which send no origin.
    for (origin, site) in [
        ("https://pki.example", "none"),
        ("https://console.example", "same-origin"),
    ] {
        let answer = by(Method::POST, origin, site).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{origin}");
        assert!(changed.swap(false, Ordering::SeqCst));
    }
    let answer = ask(&router, Method::POST, "/thing", "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[derive(Clone, Default)]
struct Slow {
    started: Arc<Notify>,
    go_on: Arc<Notify>,
    is_done: Arc<AtomicBool>,
}

async fn slow(State(slow): State<Slow>) -> NoContent {
    slow.started.notify_one();
    slow.go_on.notified().await;
    slow.is_done.store(true, Ordering::SeqCst);
    NoContent
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_nothing_half_way() {
    let state = Slow::default();
    let routes = Routes::builder("sample", state.clone())
        .post("/slow", READ, "Takes a while", slow)
        .build();
    let tasks = TaskTracker::new();
    let router = Stack::new(Arc::new(AllowAll), tasks.clone())
        .mount("", &routes)
        .build()
        .unwrap();
    let request = Request::post("/slow").body(Body::empty()).unwrap();
    let client = tokio::spawn(router.oneshot(request));
    state.started.notified().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());

    state.go_on.notify_one();
    tasks.close();
    tasks.wait().await;
    assert!(state.is_done.load(Ordering::SeqCst));
}

#[tokio::test]
async fn metrics_name_the_declared_route_and_never_the_raw_path() {
    let recorder = SeenMetrics::default();
    let guard = metrics::set_default_local_recorder(&recorder);
    let router = router(&sample());
    ask(&router, Method::GET, "/api/sample/trace", "admin").await;
    ask(&router, Method::GET, "/api/sample/secret-path", "admin").await;
    drop(guard);
    let mut lines = recorder.lines();
    lines.retain(|line| line.starts_with("lamassu_http_requests_total "));
    assert_eq!(
        lines,
        [
            "lamassu_http_requests_total method=GET route=/trace service=sample status=200",
            "lamassu_http_requests_total method=GET route=unrouted service=none status=404",
        ]
    );
}
