//! Stopping: what is in flight finishes, what does not finish is cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, Running, config, read_to_end, start_with, text};

/// A gateway that serves everything over HTTP, with a request for `/slow` in flight.
async fn with_slow_request(shutdown: Duration) -> (Running, TcpStream) {
    let mut config = config();
    config.environment = Some(lamassu_gateway::Environment::Development);
    config.timeouts.shutdown = shutdown;
    let gateway = start_with(config, None).await.unwrap();
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    gateway.reached.notified().await;
    (gateway, stream)
}

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let (gateway, mut stream) = with_slow_request(PATIENCE).await;
    let idle = TcpStream::connect(gateway.http).await.unwrap();
    gateway.stop.cancel();
    let Running {
        http,
        release,
        served,
        ..
    } = gateway;
    while TcpStream::connect(http).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    let reply = read_to_end(&mut stream).await;
    assert!(
        reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("slow"),
        "{reply}"
    );
    timeout(PATIENCE, served).await.unwrap().unwrap();
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_streams_are_finished_or_cut_as_well() {
    for (shutdown, finishes) in [(PATIENCE, true), (Duration::from_millis(200), false)] {
        let mut config = config();
        config.timeouts.shutdown = shutdown;
        let gateway = Arc::new(start_with(config, None).await.unwrap());
        let client = Arc::clone(&gateway);
        let curl = tokio::spawn(async move { text(&client.curl("/slow", &["--http2"]).await) });
        gateway.reached.notified().await;
        gateway.stop.cancel();
        if finishes {
            gateway.release.notify_one();
        }
        let reply = curl.await.unwrap();
        assert_eq!(reply == "slow", finishes, "{reply}");
        let gateway = Arc::into_inner(gateway).unwrap();
        timeout(PATIENCE, gateway.served).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut() {
    let (gateway, mut stream) = with_slow_request(Duration::from_millis(200)).await;
    gateway.stop.cancel();
    assert_eq!(read_to_end(&mut stream).await, "");
    timeout(PATIENCE, gateway.served).await.unwrap().unwrap();
}
