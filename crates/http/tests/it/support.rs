//! A small service and how it is asked.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use lamassu_http::testing::TokenNamesRole;
use lamassu_http::{Routes, Stack};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// `routes` below `/api/sample`, for callers whose token names their role.
pub(crate) fn router(routes: &Routes) -> Router {
    Stack::new(Arc::new(TokenNamesRole), TaskTracker::new())
        .mount("/api/sample", routes)
        .build()
        .unwrap()
}

/// A reply with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// Asks with the token of `role`, or with none when it is empty.
pub(crate) async fn ask(router: &Router, method: Method, uri: &str, role: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    if !role.is_empty() {
        request = request.header("authorization", format!("Bearer {role}"));
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

/// Posts `body` as an administrator.
pub(crate) async fn post(router: &Router, uri: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(uri)
        .header("authorization", "Bearer admin")
        .body(body.into())
        .unwrap();
    send(router, request).await
}
