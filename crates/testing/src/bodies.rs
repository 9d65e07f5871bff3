//! Bodies that no route takes, sent to every route that reads one.

#![expect(
    clippy::indexing_slicing,
    reason = "for tests: a member that is missing reads as null"
)]

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use lamassu_http::Routes;

use crate::router::{router, send};

/// Sends what is no JSON, JSON of the wrong type, U+0000, too much and too deep to every route
/// that changes something, and expects a refusal that says why. `bodiless` are the routes that read no
/// JSON, as `METHOD /path`: a new one has to be named.
///
/// # Panics
///
/// When a route takes such a body, or is not in its place.
pub async fn check_bodies(routes: &Routes, bodiless: &[&str]) {
    let router = router(routes);
    let mut wrong = Vec::new();
    let mut without = BTreeSet::new();
    for info in routes.infos() {
        if !matches!(info.method, Method::POST | Method::PUT | Method::PATCH) {
            continue;
        }
        let route = format!("{} {}", info.method, info.path);
        if bodiless.contains(&route.as_str()) {
            without.insert(route);
            continue;
        }
        let path = sample_path(info.path);
        for (body, expected) in bodies() {
            let request = Request::builder().method(&info.method).uri(&path);
            let (status, answer) = send(&router, request.body(Body::from(body.clone()))).await;
            let text = answer["err"].as_str().unwrap_or_default();
            if status != StatusCode::BAD_REQUEST || !text.contains(expected) || text.is_empty() {
                let body = String::from_utf8_lossy(body.get(..40).unwrap_or(&body)).into_owned();
                wrong.push(format!(
                    "{route} {body:?}: {status} {answer} without {expected:?}"
                ));
            }
        }
        wrong.extend(too_large(&router, &info.method, &path).await);
    }
    assert_eq!(wrong, Vec::<String>::new());
    let named: BTreeSet<_> = bodiless.iter().map(|route| (*route).to_owned()).collect();
    assert_eq!(without, named, "a route that is not there");
}

/// An object around this many arrays.
fn nested(arrays: usize) -> Vec<u8> {
    let (open, close) = ("[".repeat(arrays), "]".repeat(arrays));
    format!("{{\"x\": {open}1{close}}}").into_bytes()
}

/// What is sent, and what the refusal says at least.
fn bodies() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (text(""), "EOF"),
        (text(" \n"), "EOF"),
        (text("{"), "unexpected EOF"),
        (text(r#"{"id": "x"#), "unexpected EOF"),
        (nested(110), "json: nested deeper than 110 levels"),
        (nested(5_000), "json: nested deeper than 110 levels"),
        (text("nope"), "json: "),
        (text("{'id': 1}"), "json: "),
        (text("5"), "json: "),
        (text("true"), "json: "),
        (text(r#""text""#), "json: "),
        (text("[]"), "json: "),
        (text(r#"[{"id": "x"}]"#), "json: "),
        (b"{\"id\": \"\xff\xfe\"}".to_vec(), "json: "),
        (b"{\"\xc3\x28\": 1}".to_vec(), "json: "),
        (text("{\"id\": \"a\\u0000b\"}"), "the character U+0000"),
        (
            text("{\"ignored\": {\"a\\u0000\": 1}}"),
            "the character U+0000",
        ),
        (b"{\"id\": \"\0\"}".to_vec(), "json: "),
        (vec![b'['; 100_000], ""),
    ]
}

/// The length alone is enough, and so are too many bytes without one.
async fn too_large(router: &Router, method: &Method, path: &str) -> Option<String> {
    let request = Request::builder().method(method).uri(path);
    let announced = request
        .header(CONTENT_LENGTH, "99999999999")
        .body(Body::from("{}"));
    let (status, answer) = send(router, announced).await;
    let refused = (
        StatusCode::PAYLOAD_TOO_LARGE,
        Some("request body too large"),
    );
    ((status, answer["err"].as_str()) != refused)
        .then(|| format!("{method} {path}: {status} {answer}"))
}

/// The declared path with `0a` for every parameter: a serial number is hex.
fn sample_path(declared: &str) -> String {
    let segments = declared.split('/');
    let sample = segments.map(|segment| {
        if segment.starts_with('{') {
            "0a"
        } else {
            segment
        }
    });
    sample.collect::<Vec<_>>().join("/")
}
