//! How many requests are worked on at once.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use lamassu_core::permission::Permission;
use lamassu_http::testing::{AllowAll, TokenNamesRole};
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

/// Takes no body, whether one is sent or not.
async fn act(State(busy): State<Busy>) -> NoContent {
    busy.began.notify_one();
    busy.go_on.notified().await;
    NoContent
}

async fn look() -> NoContent {
    NoContent
}

const LIMITS: AdmissionLimits = AdmissionLimits {
    max_in_progress: 1,
    max_waiting: 1,
    max_wait_ms: 60_000,
    max_held_body_bytes: 1_000,
    max_validations_per_second: 0,
};

/// One request at a time, one that waits, for a minute.
fn narrow(busy: &Busy) -> Router {
    let routes = Routes::builder("sample", busy.clone())
        .post("/work", Access::Public, "Works until told", work)
        .put("/act", Access::Public, "Acts until told", act)
        .post("/act", Access::Public, "Acts until told", act)
        .delete("/act", Access::Public, "Acts until told", act)
        .get("/look", Access::Public, "Looks", look)
        .urgency(Urgency::Always)
        .get("/health", Access::Public, "Health", look)
        .build();
    Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .admission(LIMITS)
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

#[tokio::test(start_paused = true)]
async fn a_change_whose_handler_reads_no_body_counts_too() {
    for method in ["PUT", "POST", "DELETE"] {
        for body in [Body::empty(), Body::from("{}")] {
            let busy = Busy::default();
            let router = narrow(&busy);
            let request = Request::builder().method(method).uri("/act");
            let working = begin(&router, request.body(body).unwrap()).await;
            busy.began.notified().await;
            assert_refused(&send(&router, get("/look")).await);
            busy.go_on.notify_one();
            assert_eq!(working.await.unwrap().status, StatusCode::NO_CONTENT);
            let again = send(&router, get("/look")).await;
            assert_eq!(again.status, StatusCode::NO_CONTENT);
        }
    }
}

/// Services `first` and `second`, each with a route for clients and one for other services.
fn two_services(busy: &Busy) -> Router {
    let routes = |service: &'static str| {
        Routes::builder(service, busy.clone())
            .post("/work", Access::Public, "Works until told", work)
            .post("/v1/look", Permission::new("ca", "write"), "Looks", look)
            .post(
                "/internal/v1/work",
                Permission::new("internal", "ca"),
                "Works until told",
                work,
            )
            .build()
    };
    Stack::new(Arc::new(TokenNamesRole), TaskTracker::new())
        .admission(LIMITS)
        .mount("/first", &routes("first"))
        .mount("/second", &routes("second"))
        .build()
        .unwrap()
}

fn by_role(path: &str, role: &str) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {role}"))
        .body(Body::empty())
        .unwrap()
}

/// A request of a client waits for calls of services that come back to the same process.
#[tokio::test(start_paused = true)]
async fn calls_of_services_need_no_place_of_a_client() {
    let busy = Busy::default();
    let router = two_services(&busy);
    let working = begin(&router, by_role("/first/work", "admin")).await;
    busy.began.notified().await;
    // No place is left for clients; services have theirs, on routes of clients too.
    assert_refused(&send(&router, by_role("/second/v1/look", "admin")).await);
    let called = send(&router, by_role("/second/v1/look", "service")).await;
    assert_eq!(called.status, StatusCode::NO_CONTENT);

    let internal = begin(&router, by_role("/first/internal/v1/work", "service")).await;
    busy.began.notified().await;
    assert_refused(&send(&router, by_role("/first/v1/look", "service")).await);
    // What the first service calls has places of its own again.
    let called = send(&router, by_role("/second/v1/look", "service")).await;
    assert_eq!(called.status, StatusCode::NO_CONTENT);
    assert!(!working.is_finished() && !internal.is_finished());
}

/// So many bytes, and then nothing for ever.
fn unfinished(bytes: usize) -> Body {
    let begun =
        futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]))]);
    Body::from_stream(begun.chain(futures_util::stream::pending()))
}

/// Many slow bodies at once are what fills the memory: nothing else bounds how many there are.
#[tokio::test(start_paused = true)]
async fn bodies_that_are_arriving_share_a_budget() {
    let busy = Busy::default();
    let router = narrow(&busy);
    let slow = begin(&router, post(unfinished(600))).await;
    assert!(!slow.is_finished());
    assert_refused(&send(&router, post(Body::from(vec![b' '; 600]))).await);
    assert_refused(&send(&router, post(unfinished(401))).await);
    // What fits is taken on, and what needs no memory is not concerned.
    assert_eq!(send(&router, get("/look")).await.status, 204);
    busy.go_on.notify_one();
    assert_eq!(
        send(&router, post(Body::from(vec![b' '; 400])))
            .await
            .status,
        204
    );
    // A client that leaves gives back what it took.
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    busy.go_on.notify_one();
    assert_eq!(
        send(&router, post(Body::from(vec![b' '; 1_000])))
            .await
            .status,
        204
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_counts_until_its_answer_is_made() {
    let busy = Busy::default();
    let router = narrow(&busy);
    let working = begin(&router, post(Body::from(vec![b' '; 600]))).await;
    busy.began.notified().await;
    assert_refused(&send(&router, post(unfinished(600))).await);
    busy.go_on.notify_one();
    assert_eq!(working.await.unwrap().status, 204);
    let slow = begin(&router, post(unfinished(600))).await;
    assert!(!slow.is_finished());
}

#[tokio::test(start_paused = true)]
async fn bodies_of_clients_leave_services_theirs() {
    let router = two_services(&Busy::default());
    let body = |role: &str, body| {
        Request::post("/first/v1/look")
            .header("authorization", format!("Bearer {role}"))
            .body(body)
            .unwrap()
    };
    let slow = begin(&router, body("admin", unfinished(1_000))).await;
    assert!(!slow.is_finished());
    assert_refused(&send(&router, body("admin", Body::from("{}"))).await);
    assert_eq!(
        send(&router, body("service", Body::from("{}")))
            .await
            .status,
        204
    );
}
