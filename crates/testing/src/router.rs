//! One request to a router, without credentials and sockets.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use lamassu_http::testing::AllowAll;
use lamassu_http::{Routes, Stack};
use serde_json::Value;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// A router that lets everybody do everything.
#[expect(clippy::panic, reason = "for tests")]
pub(crate) fn router(routes: &Routes) -> Router {
    let stack = Stack::new(Arc::new(AllowAll), TaskTracker::new());
    match stack.mount("", routes).build() {
        Ok(router) => router,
        Err(error) => panic!("the routes do not fit together: {error}"),
    }
}

/// What a path answers.
pub(crate) async fn get(router: &Router, uri: &str) -> (StatusCode, Value) {
    send(router, Request::get(uri).body(Body::empty())).await
}

/// Status and body; null where the body is no JSON.
#[expect(clippy::panic, reason = "for tests")]
pub(crate) async fn send(
    router: &Router,
    request: http::Result<Request<Body>>,
) -> (StatusCode, Value) {
    let request = match request {
        Ok(request) => request,
        Err(error) => panic!("no request: {error}"),
    };
    let reply = match router.clone().oneshot(request).await {
        Ok(reply) => reply,
        Err(never) => match never {},
    };
    let (parts, body) = reply.into_parts();
    match body.collect().await {
        Ok(body) => {
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            (parts.status, body)
        }
        Err(error) => panic!("no body: {error}"),
    }
}
