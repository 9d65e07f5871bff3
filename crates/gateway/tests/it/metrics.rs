//! The Prometheus endpoint.

use lamassu_gateway::MetricsExporter;
use tokio::net::TcpListener;

use crate::support::{config, exchange, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_and_connections_are_counted() {
    // The only test of this program that installs the recorder.
    let exporter = MetricsExporter::install().unwrap();
    let gateway = start_with(config(), Some(exporter.clone())).await.unwrap();
    gateway.curl("/livez", &[]).await;
    exchange(gateway.https, b"this is no handshake\r\n\r\n").await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = exchange(gateway.metrics.unwrap(), request).await;
    for sample in [
        "lamassu_tls_handshakes_total{result=\"completed\"} ",
        "lamassu_tls_handshakes_total{result=\"failed\"} ",
        "lamassu_connections_open{listener=\"http\"} ",
        "lamassu_tls_certificate_expiry_seconds ",
    ] {
        assert!(reply.contains(sample), "{sample} in {reply}");
    }

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config();
    config.metrics.listen = Some(taken.local_addr().unwrap());
    let gateway = start_with(config, Some(exporter)).await.unwrap();
    assert_eq!(gateway.metrics, None);
}
