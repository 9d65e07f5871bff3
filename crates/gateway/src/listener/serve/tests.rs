//! One connection over a pipe, on a clock that jumps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Connections;
use crate::config::{Limits, PlainHttpMode, Timeouts};
use crate::front::{Front, Hsts, Origin};
use crate::health::{BuildInfo, Readiness};
use crate::hygiene::ForwardedClientCertificateConfig;
use crate::listener::accept::StopSignals;
use crate::plain_http::PlainHttpPolicy;
use crate::status_page::StatusPage;

/// Bytes of the answer of `/large`.
const LARGE: usize = 256 * 1024;

/// Bytes on their way in the pipe at most.
const PIPE: usize = 4096;

fn front() -> Front {
    let build = BuildInfo {
        version: String::new(),
        build: String::new(),
        build_time: String::new(),
    };
    Front {
        services: Router::new().route("/large", get(async || vec![b'x'; LARGE])),
        forwarded: ForwardedClientCertificateConfig::default(),
        plain_http: PlainHttpPolicy::new(PlainHttpMode::Everything, None, None),
        hsts: Hsts::Omit,
        readiness: Readiness::builder().build(),
        status_page: StatusPage::new(&build, &[]),
    }
}

/// The client's end of a connection that is served with the default time-outs.
fn connect() -> DuplexStream {
    let (client, server) = duplex(PIPE);
    let stop = StopSignals {
        drain: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let limits = Limits::default();
    let connections = Connections::new(
        Arc::new(front()),
        Timeouts::default(),
        &limits,
        stop,
        TaskTracker::new(),
    );
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    tokio::spawn(async move { connections.serve(server, Origin::plain(peer)).await });
    client
}

/// Reads a pipe's content at a time, with `pause` before each, until the other side closes or
/// falls silent; returns how many bytes came.
async fn read_slowly(client: &mut DuplexStream, pause: Duration) -> usize {
    let mut received = 0;
    let mut buffer = [0; PIPE];
    loop {
        tokio::time::sleep_until(Instant::now() + pause).await;
        match client.read(&mut buffer).await {
            Ok(0) | Err(_) => return received,
            Ok(n) => received += n,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_flows_takes_as_long_as_it_takes() {
    let mut client = connect();
    let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    let received = read_slowly(&mut client, Duration::from_secs(30)).await;
    assert!(received > LARGE, "{received}");
}

#[tokio::test(start_paused = true)]
async fn a_download_that_stands_still_is_cut() {
    let mut client = connect();
    let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    let received = read_slowly(&mut client, Duration::from_secs(90)).await;
    assert!(received < LARGE, "{received}");
}
