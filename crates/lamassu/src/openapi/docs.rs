//! `/docs`: the description to browse and to try, for everybody.
//!
//! The page is Swagger UI, kept in the repository as published and compressed, and part of the
//! program: nothing is fetched from elsewhere, and the policy of the page forbids that it ever is.
//! `scripts/docs-ui` puts another version in place.

use axum::Router;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

const PAGE: &str = include_str!("../../assets/docs/index.html");
const START: &[u8] = include_bytes!("../../assets/docs/start.js");
const SCRIPT: &[u8] = include_bytes!("../../assets/docs/swagger-ui-bundle.js.gz");
const STYLE: &[u8] = include_bytes!("../../assets/docs/swagger-ui.css.gz");

/// Everything from this server alone, nothing inline. Pictures of the style are within it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The page and its parts.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/", get(async || Redirect::permanent("/docs")))
        .route(
            "/docs/start.js",
            get(async || part("text/javascript", START)),
        )
        .route(
            "/docs/swagger-ui-bundle.js",
            get(async || compressed("text/javascript", SCRIPT)),
        )
        .route(
            "/docs/swagger-ui.css",
            get(async || compressed("text/css", STYLE)),
        )
}

async fn page() -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(PAGE)).into_response()
}

fn part(media_type: &'static str, body: &'static [u8]) -> Response {
    let headers = [
        (CONTENT_TYPE, media_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

/// As gzip, which every browser reads.
fn compressed(media_type: &'static str, body: &'static [u8]) -> Response {
    ([(CONTENT_ENCODING, "gzip")], part(media_type, body)).into_response()
}
