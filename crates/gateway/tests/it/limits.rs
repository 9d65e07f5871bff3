//! Clients that are too slow, too long or too many.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, config, exchange, read_to_end, start, start_with};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_head_that_is_too_long_is_answered_431() {
    let gateway = start().await;
    let long = "a".repeat(70 * 1024);
    let request = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n");
    let reply = exchange(gateway.http, request.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
    let fits = "a".repeat(60 * 1024);
    let request =
        format!("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Long: {fits}\r\n\r\n");
    let reply = exchange(gateway.http, request.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn an_answer_survives_a_body_that_nobody_reads() {
    let gateway = start().await;
    let head =
        "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n";
    let request = format!("{head}{}", "a".repeat(300_000));
    let reply = exchange(gateway.http, request.as_bytes()).await;
    assert!(
        reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("ok\n"),
        "{reply}"
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let mut config = config();
    config.timeouts.handshake = SHORT;
    let gateway = start_with(config, None).await.unwrap();
    let mut stream = TcpStream::connect(gateway.https).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() {
    let mut config = config();
    config.timeouts.read_header = SHORT;
    let gateway = start_with(config, None).await.unwrap();
    for begun in ["", "GET /livez HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, "");
    }
}

#[tokio::test]
async fn a_second_head_that_does_not_end_is_cut_while_idling_is_allowed() {
    let mut config = config();
    config.timeouts.read_header = SHORT;
    let gateway = start_with(config, None).await.unwrap();
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut buffer = [0; 1024];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    // Idle for longer than a head may take, and still there.
    let early = timeout(SHORT * 3, stream.read(&mut buffer)).await;
    early.expect_err("the connection stays open");
    stream.write_all(request).await.unwrap();
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    stream.write_all(b"GET ").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_connection_that_idles_too_long_is_closed() {
    let mut config = config();
    config.timeouts.idle = SHORT;
    let gateway = start_with(config, None).await.unwrap();
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    let reply = read_to_end(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(begun.elapsed() < PATIENCE / 2);
}

/// What begins an HTTP/2 connection whose client takes no byte of any answer, and asks for
/// `/livez` (RFC 9113 3.4, 6.2, 6.5.2; RFC 7541 6.1, 6.2.2).
const CLOSED_WINDOW: [&[u8]; 5] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    // SETTINGS, INITIAL_WINDOW_SIZE 0.
    b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    // HEADERS of stream 1, END_HEADERS and END_STREAM, 13 bytes.
    b"\x00\x00\x0d\x01\x05\x00\x00\x00\x01",
    // GET, http, :path literal, :authority literal.
    b"\x82\x86\x04\x06/livez",
    b"\x01\x01a",
];

#[tokio::test]
async fn an_http2_client_that_never_opens_its_window_is_cut() {
    let mut config = config();
    config.timeouts.write = SHORT;
    let gateway = start_with(config, None).await.unwrap();
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&CLOSED_WINDOW.concat()).await.unwrap();
    let mut reply = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
    drop(read.expect("the server closes"));
    // The head of the answer came (HEADERS of stream 1, status 200), its body did not.
    let has = |part: &[u8]| reply.windows(part.len()).any(|bytes| bytes == part);
    assert!(has(b"\x01\x04\x00\x00\x00\x01\x88"), "{reply:?}");
    assert!(!has(b"ok\n"), "{reply:?}");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let mut config = config();
    config.limits.max_connections = 1;
    let gateway = start_with(config, None).await.unwrap();
    let mut first = TcpStream::connect(gateway.http).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    first.write_all(request).await.unwrap();
    let mut buffer = [0; 1024];
    assert!(first.read(&mut buffer).await.unwrap() > 0);
    let mut second = TcpStream::connect(gateway.http).await.unwrap();
    second.write_all(request).await.unwrap();
    let early = timeout(SHORT, second.read(&mut buffer)).await;
    early.expect_err("no place is free");
    drop(first);
    let read = timeout(PATIENCE, second.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200 OK"));
}
