//! What is answered while the platform is not open yet: the database may be down.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tower::ServiceExt as _;

/// A door that is closed at first: whoever knocks is told to come back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(Arc<OnceLock<Router>>);

impl Door {
    /// From now on the router answers. The first call counts.
    pub(crate) fn open(&self, router: Router) {
        let _opened_before = self.0.set(router).is_err();
    }

    /// What the listeners serve.
    pub(crate) fn router(&self) -> Router {
        let door = self.clone();
        Router::new().fallback(move |request: Request| async move {
            match door.0.get() {
                Some(router) => match router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
                None => closed(),
            }
        })
    }
}

fn closed() -> Response {
    let body = r#"{"err":"the server is starting"}"#;
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}
