//! The plain HTTP port of an installation that is not for development.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::{config, exchange, start, start_with};

#[tokio::test]
async fn gets_are_sent_to_https_and_the_rest_is_refused() {
    let gateway = start().await;
    let request =
        b"GET /api/ca/v1/cas?a=%2F HTTP/1.1\r\nHost: pki.example:80\r\nConnection: close\r\n\r\n";
    let reply = exchange(gateway.http, request).await;
    let location = format!(
        "Location: https://pki.example:{}/api/ca/v1/cas?a=%2F\r\n",
        gateway.https.port()
    );
    assert!(
        reply.starts_with("HTTP/1.1 308 ") && reply.contains(&location),
        "{reply}"
    );

    let request = b"POST /api/ca/v1/cas HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let reply = exchange(gateway.http, request).await;
    assert!(reply.starts_with("HTTP/1.1 403 "), "{reply}");
    assert!(
        reply.ends_with(r#"{"err":"this address is served over HTTPS only"}"#),
        "{reply}"
    );
}

#[tokio::test]
async fn revocation_data_and_health_are_served() {
    let gateway = start().await;
    for path in [
        "/api/va/ocsp/MEUw%2F//",
        "/api/va/crl/ab",
        "/api/va/ca/ab",
        "/livez",
        "/api/va/health",
    ] {
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let reply = exchange(gateway.http, request.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.0 200 OK"), "{path}: {reply}");
    }
}

#[tokio::test]
async fn without_an_address_both_ip_versions_are_served() {
    let mut config = config();
    config.listen_address = None;
    let gateway = start_with(config, None).await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.http.port()));
    let reply = exchange(address, b"GET /api/va/crl/ab HTTP/1.0\r\n\r\n").await;
    assert!(reply.contains("peer=127.0.0.1 "), "{reply}");
}
