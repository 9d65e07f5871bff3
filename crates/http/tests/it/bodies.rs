//! Bodies: bounded in length and time, JSON with the habits of v1.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use lamassu_core::permission::Permission;
use lamassu_http::{BodyBytes, BodyLimits, GoJson, Json200, Reply, Routes};
use serde::Deserialize;

use crate::support::{post, router, send};

#[derive(Deserialize, schemars::JsonSchema)]
struct Sample {
    #[serde(default)]
    name: String,
}

async fn name(GoJson(sample): GoJson<Sample>) -> Reply<Json200<String>> {
    Ok(Json200(sample.name))
}

async fn length(BodyBytes(bytes): BodyBytes) -> Reply<Json200<usize>> {
    Ok(Json200(bytes.len()))
}

fn sample() -> Routes {
    let limits = BodyLimits {
        max_bytes: 16,
        deadline: Duration::from_secs(5),
    };
    let write = Permission::new("ca", "write");
    Routes::builder("sample", ())
        .post("/name", write, "Echoes the name", name)
        .body_limits(limits)
        .post("/length", write, "Counts", length)
        .build()
}

#[tokio::test]
async fn json_is_read_with_the_habits_of_v1() {
    let router = router(&sample());
    let cases = [
        (r#"{"name":"a"}"#, StatusCode::OK, r#""a""#),
        (r#"{"NAME":"a","other":1}"#, StatusCode::OK, r#""a""#),
        (
            r#"{"name":"a","name":"b"} trailing"#,
            StatusCode::OK,
            r#""b""#,
        ),
        (r#"{"name":null}"#, StatusCode::OK, r#""""#),
        ("", StatusCode::BAD_REQUEST, r#"{"err":"EOF"}"#),
        (
            r#"{"name":"#,
            StatusCode::BAD_REQUEST,
            r#"{"err":"unexpected EOF"}"#,
        ),
    ];
    for (body, status, expected) in cases {
        let answer = post(&router, "/api/sample/name", body).await;
        assert_eq!((answer.status, answer.text()), (status, expected), "{body}");
        let content_type = answer.header("content-type");
        assert_eq!(content_type, Some("application/json; charset=utf-8"));
    }
}

#[tokio::test]
async fn bodies_are_limited_whether_or_not_they_announce_their_length() {
    let router = router(&sample());
    let exact = post(&router, "/api/sample/length", vec![0; 16]).await;
    assert_eq!(exact.text(), "16");

    let announced = Request::post("/api/sample/length")
        .header("authorization", "Bearer admin")
        .header("content-length", "17")
        .body(Body::from_stream(stream::pending::<
            Result<Bytes, std::io::Error>,
        >()))
        .unwrap();
    let chunks = [b"0123456789", b"0123456789"]
        .map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
    let streamed = Request::post("/api/sample/length")
        .header("authorization", "Bearer admin")
        .body(Body::from_stream(stream::iter(chunks)))
        .unwrap();
    for request in [announced, streamed] {
        let answer = send(&router, request).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.text(), r#"{"err":"request body too large"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = post(&router(&sample()), "/api/sample/length", stalled).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.text(), r#"{"err":"request timeout"}"#);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request() {
    let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("connection reset"))]);
    let answer = post(
        &router(&sample()),
        "/api/sample/length",
        Body::from_stream(broken),
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.text(), r#"{"err":"request body could not be read"}"#);
}
