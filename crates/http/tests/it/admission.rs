//! How many requests are worked on at once.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{Request, StatusCode};
use lamassu_http::testing::AllowAll;
use lamassu_http::{Access, AdmissionLimits, BodyBytes, NoContent, Routes, Stack, Urgency};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::support::{Answer, send};

#[derive(Clone, Default)]
struct Busy {
    began: Arc<Notify>,
    go_on: Arc<Notify>,
}

async fn work(State(busy): State<Busy>, _body: BodyBytes) -> NoContent {
    busy.began.notify_one();
    busy.go_on.notified().await;
    NoContent
}

async fn look() -> NoContent {
    NoContent
}

/// One request at a time, one that waits, for a minute.
fn narrow(busy: &Busy) -> Router {
    let routes = Routes::builder("sample", busy.clone())
        .post("/work", Access::Public, "Works until told", work)
        .get("/look", Access::Public, "Looks", look)
        .urgency(Urgency::Always)
        .get("/health", Access::Public, "Health", look)
        .build();
    Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .admission(AdmissionLimits {
            max_in_progress: 1,
            max_waiting: 1,
            max_wait_ms: 60_000,
        })
        .mount("", &routes)
        .build()
        .unwrap()
}

fn post(body: Body) -> Request<Body> {
    Request::post("/work").body(body).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Sends in a task of its own, and lets it come as far as it can.
async fn begin(router: &Router, request: Request<Body>) -> JoinHandle<Answer> {
    let router = router.clone();
    let asking = tokio::spawn(async move { send(&router, request).await });
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
    asking
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.json()["err"], "too many requests in progress");
}

#[tokio::test(start_paused = true)]
async fn one_works_one_waits_and_the_rest_is_told_to_come_back() {
    let busy = Busy::default();
    let router = narrow(&busy);
    let working = begin(&router, post(Body::empty())).await;
    busy.began.notified().await;
    let waiting = begin(&router, get("/look")).await;
    assert!(!waiting.is_finished());
    assert_refused(&send(&router, post(Body::from("{}"))).await);
    assert_refused(&send(&router, get("/look")).await);
    let health = send(&router, get("/health")).await;
    assert_eq!(health.status, StatusCode::NO_CONTENT);

    busy.go_on.notify_one();
    assert_eq!(working.await.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(waiting.await.unwrap().status, StatusCode::NO_CONTENT);
    let again = send(&router, get("/look")).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_said() {
    let busy = Busy::default();
    let router = narrow(&busy);
    let working = begin(&router, post(Body::empty())).await;
    // The clock jumps to the end of the wait, since nothing else happens.
    assert_refused(&send(&router, get("/look")).await);
    assert!(!working.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_takes_nobodys_place() {
    let busy = Busy::default();
    let router = narrow(&busy);
    let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let slow = begin(&router, post(Body::from_stream(never))).await;
    let answer = send(&router, get("/look")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(!slow.is_finished());
}
