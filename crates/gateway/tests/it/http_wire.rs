//! What HTTP looks like on the wire.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, config, exchange, read_to_end, start, start_with, text};

async fn everything_over_http() -> crate::support::Running {
    let mut config = config();
    config.environment = Some(lamassu_gateway::Environment::Development);
    start_with(config, None).await.unwrap()
}

#[tokio::test]
async fn header_names_are_in_title_case() {
    let gateway = everything_over_http().await;
    let reply = exchange(
        gateway.http,
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    for header in [
        "\r\nContent-Type: text/plain",
        "\r\nContent-Length: ",
        "\r\nConnection: close\r\n",
    ] {
        assert!(reply.contains(header), "{reply}");
    }
}

#[tokio::test]
async fn http_1_0_without_host_and_with_a_closed_sending_side_is_served() {
    let gateway = start().await;
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"POST /api/va/ocsp HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.0 200 OK\r\n"), "{reply}");
    assert!(reply.contains("target=/api/va/ocsp "), "{reply}");
    assert!(reply.ends_with("body=abc"), "{reply}");
}

#[tokio::test]
async fn head_and_body_leave_in_one_piece() {
    let gateway = everything_over_http().await;
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut buffer = vec![0; 16 * 1024];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let reply = String::from_utf8_lossy(&buffer[..read]);
    assert!(
        reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("body="),
        "{reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_reaches_the_services_as_it_came() {
    let gateway = start().await;
    for path in [
        "/api/va/ocsp/MEUw%2FQ//a/",
        "/api/va/ocsp/a+b%2B/../c/./",
        "/a%20b?c=%5B&d=+",
    ] {
        let reply = text(&gateway.curl(path, &["--path-as-is"]).await);
        assert!(reply.contains(&format!("target={path} ")), "{reply}");
    }
}

/// Brackets and the like are sent raw by browsers and scripts. The HTTP library takes three
/// characters in no query; whoever sends them is told at once, and the connection ends.
#[tokio::test]
async fn raw_brackets_are_taken_and_raw_quotes_and_angles_refused() {
    let gateway = everything_over_http().await;
    for query in ["filter=a[eq]x", "f={}|\\^'$~!", "f=\u{e4}", "f=%22%3C%3E"] {
        let request = format!("GET /x?{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = exchange(gateway.http, request.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{query}: {reply}");
        assert!(
            reply.contains(&format!("target=/x?{query} ")),
            "{query}: {reply}"
        );
    }
    for query in ["f=\"", "f=<", "f=>"] {
        let request = format!("GET /x?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = exchange(gateway.http, request.as_bytes()).await;
        assert!(
            reply.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{query}: {reply}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hsts_is_sent_over_https_in_production_only() {
    let mut production = config();
    production.environment = Some(lamassu_gateway::Environment::Production);
    let gateway = start_with(production, None).await.unwrap();
    let reply = text(&gateway.curl("/x", &["-i", "--http1.1"]).await);
    assert!(
        reply.contains("Strict-Transport-Security: max-age=31536000"),
        "{reply}"
    );
    let gateway = start().await;
    let reply = text(&gateway.curl("/x", &["-i", "--http1.1"]).await);
    assert!(!reply.contains("Strict-Transport-Security"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_answers_health_and_status_itself() {
    let gateway = start().await;
    assert_eq!(text(&gateway.curl("/livez", &[]).await), "ok\n");
    assert_eq!(text(&gateway.curl("/healthz", &[]).await), "ok\n");
    let ready = text(&gateway.curl("/readyz", &[]).await);
    assert_eq!(ready, r#"{"ready":true,"checks":{"storage":"ok"}}"#);
    let page = text(&gateway.curl("/", &[]).await);
    assert!(
        page.contains("3.8.0") && page.contains("/api/ca/health"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_arrives_whole_under_both_protocols() {
    let gateway = start().await;
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let shown = "%{http_version} %{size_download}";
        let options = [option, "-o", "/dev/null", "-w", shown];
        let reply = text(&gateway.curl("/large", &options).await);
        assert_eq!(reply, format!("{version} {}", 1024 * 1024));
    }
}

/// A reset of the stream behind the answer has curl 7.88 lose it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_did_not_wait_for_the_body_arrives_over_http2() {
    let gateway = start().await;
    let directory = tempfile::TempDir::new().unwrap();
    for length in [2, 200_000, 3_000_000] {
        let file = directory.path().join(length.to_string());
        std::fs::write(&file, vec![b'x'; length]).unwrap();
        let body = format!("@{}", file.display());
        let options = [
            "--http2",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "Expect:",
            "--data-binary",
            &body,
        ];
        for attempt in 0..20 {
            let reply = text(&gateway.curl("/refused", &options).await);
            assert_eq!(reply, "403", "{length} bytes, attempt {attempt}");
        }
    }
}
