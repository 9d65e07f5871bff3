//! Replies: JSON as clients store it, errors by kind.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_core::permission::Permission;
use lamassu_core::query::{Field, QueryLimits};
use lamassu_http::{Json200, Json201, Listed, Listing, NoContent, Query, Reply, Routes, to_json};
use proptest::prelude::{any, proptest};

use crate::support::{ask, router};

#[derive(Debug, thiserror::Error)]
enum SampleError {
    #[error("CA not found")]
    Missing,
    #[error("queue is full")]
    Busy(#[source] std::io::Error),
}

impl ServiceError for SampleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing => ErrorKind::NotFound,
            Self::Busy(_) => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Busy(_) => Some("queue_full"),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Missing => None,
            Self::Busy(_) => Some(Duration::from_secs(7)),
        }
    }
}

async fn missing() -> Reply<NoContent> {
    Err(SampleError::Missing)?
}

async fn busy() -> Reply<NoContent> {
    Err(SampleError::Busy(std::io::Error::other(
        "disk 3 is on fire",
    )))?
}

struct Things;

impl Listing for Things {
    const FIELDS: &'static [Field] = &[Field::string("id", "id")];
}

async fn pairs(query: Query<Listed<Things>>) -> Json200<Vec<(String, String)>> {
    Json200(query.0.clone())
}

async fn list(query: Query<Listed<Things>>) -> Reply<Json200<usize>> {
    let request = query.request(QueryLimits::default())?;
    Ok(Json200(request.filters.len()))
}

fn sample() -> Routes {
    let read = Permission::new("ca", "read");
    Routes::builder("sample", ())
        .get("/missing", read, "Fails", missing)
        .get("/busy", read, "Fails", busy)
        .get("/pairs", read, "Echoes the query", pairs)
        .get("/list", read, "Counts the filters", list)
        .get("/ok", read, "200", async || Json200("<a&b>"))
        .post("/created", read, "201", async || Json201(1))
        .delete("/gone", read, "204", async || NoContent)
        .build()
}

#[tokio::test]
async fn success_has_the_status_and_content_type_that_clients_check() {
    let router = router(&sample());
    let json = Some("application/json; charset=utf-8");
    for (method, path, status, content_type, body) in [
        (
            Method::GET,
            "/ok",
            StatusCode::OK,
            json,
            r#""\u003ca\u0026b\u003e""#,
        ),
        (Method::POST, "/created", StatusCode::CREATED, json, "1"),
        (Method::DELETE, "/gone", StatusCode::NO_CONTENT, None, ""),
    ] {
        let answer = ask(&router, method, &format!("/api/sample{path}"), "admin").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), content_type, "{path}");
        assert_eq!(answer.text(), body, "{path}");
    }
}

#[tokio::test]
async fn errors_show_their_text_and_code_and_never_their_cause() {
    let router = router(&sample());
    let missing = ask(&router, Method::GET, "/api/sample/missing", "admin").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.text(), r#"{"err":"CA not found"}"#);
    assert_eq!(
        missing.header("content-type"),
        Some("application/json; charset=utf-8")
    );

    let busy = ask(&router, Method::GET, "/api/sample/busy", "admin").await;
    assert_eq!(busy.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        busy.text(),
        r#"{"err":"queue is full","code":"queue_full"}"#
    );
    assert_eq!(busy.header("retry-after"), Some("7"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the whole binary logs. What is logged where is remembered for all threads at once, so a
/// subscriber of one thread misses what others were first to reach.
fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let start = || {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    };
    LOG.get_or_init(start).clone()
}

impl Log {
    /// The lines about a request.
    fn lines(&self, id: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains(id));
        lines.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn an_error_is_logged_once_with_its_causes_and_the_request_id() {
    let log = log();
    let answer = ask(&router(&sample()), Method::GET, "/api/sample/busy", "admin").await;

    let lines = log.lines(answer.header("x-request-id").unwrap());
    assert_eq!(lines.len(), 1, "{lines:?}");
    for expected in [
        "WARN",
        "queue is full: disk 3 is on fire",
        "auth_id=\"admin\"",
    ] {
        assert!(lines[0].contains(expected), "{expected} in {lines:?}");
    }
}

#[tokio::test]
async fn filters_that_are_ignored_are_named_once_in_a_warning() {
    let log = log();
    let router = router(&sample());
    let query = "filter=id[eq]x&filter=nope[eq]secret&filter=nope[ne]y&filter=na%0Ame&sort_by=no";
    for (query, expected) in [
        (
            query,
            Some(r#"filters on unknown fields ignored fields=["nope", "na\nme"]"#),
        ),
        ("filter=id[eq]x", None),
    ] {
        let path = format!("/api/sample/list?{query}");
        let answer = ask(&router, Method::GET, &path, "admin").await;
        assert_eq!(answer.text(), "1");
        let lines = log.lines(answer.header("x-request-id").unwrap());
        assert_eq!(lines.len(), usize::from(expected.is_some()), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.contains("WARN") && line.ends_with(expected), "{line}");
        }
    }
}

#[test]
fn json_is_escaped_as_gos_encoder_does() {
    let cases = [
        ("plain", r#""plain""#),
        ("<a href='x'>&", r#""\u003ca href='x'\u003e\u0026""#),
        ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
        ("â €", "\"â €\""),
    ];
    for (value, expected) in cases {
        assert_eq!(to_json(value).unwrap(), expected.as_bytes(), "{value}");
    }
}

#[tokio::test]
async fn query_pairs_are_decoded_as_leniently_as_clients_need() {
    let router = router(&sample());
    let uri = "/api/sample/pairs?filter=status[eq]ACTIVE&filter=a+b%20c&bad=%zz&semi=a;b&&x&page=";
    let answer = ask(&router, Method::GET, uri, "admin").await;
    assert_eq!(
        answer.text(),
        r#"[["filter","status[eq]ACTIVE"],["filter","a b c"],["x",""],["page",""]]"#
    );
}

proptest! {
    #[test]
    fn escaped_json_reads_back(value in any::<String>()) {
        let json = to_json(&value).unwrap();
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), value);
        assert!(!json.iter().any(|byte| b"<>&".contains(byte)));
    }
}
