//! Answers that are passed on rather than asked for again, and words for what went wrong.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamassu_client::{DeviceClient, NoAuth, ProcessClient, Protocol, WrongAddress};
use lamassu_core::device::{DeviceError, DeviceService as _, DeviceStats};
use lamassu_core::query::ListRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::server::{Server, answer, caller};

const STATS: &str = r#"{"total":3,"status_distribution":{}}"#;

async fn stats(server: &Server) -> Result<DeviceStats, DeviceError> {
    let client = DeviceClient::new(&server.peer());
    client.stats(&caller(), &ListRequest::default()).await
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn what_a_peer_says_of_its_storage_stands_after_a_second() {
    for text in [
        "storage unavailable",
        "a service of this installation does not answer",
    ] {
        let body = format!(r#"{{"err":"{text}"}}"#);
        let away = answer(503, "retry-after: 2\r\n", &body);
        let server = Server::start(vec![away.clone()]).await;
        let began = Instant::now();
        let failed = stats(&server).await.unwrap_err();
        assert_eq!(failed.to_string(), text);
        assert!(began.elapsed() < Duration::from_millis(1_500));
        assert_eq!(server.n_asked(), 1 + 3);
        // What passes meanwhile is not noticed.
        let server = Server::start(vec![away, answer(200, "", STATS)]).await;
        assert_eq!(stats(&server).await.unwrap().total, 3);
    }
}

#[tokio::test]
async fn who_asks_for_readiness_introduces_himself_to_nobody() {
    let server = Server::start(vec![answer(200, "", "{}")]).await;
    let client = ProcessClient::new(&server.peer());
    assert!(client.readiness(&caller()).await.unwrap().ready);
    let asked = server.asked().remove(0);
    assert!(!asked.contains("x-lms-"), "{asked}");
}

/// A port where everything is answered by the same octets.
async fn answering(octets: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = stream.read(&mut [0; 1_024]).await.unwrap();
            assert!(read > 0);
            stream.write_all(octets).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_port_of_another_protocol_is_called_so() {
    /// The alert by which a server ends a handshake that is none.
    const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x46";
    const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    let server = Server::start(Vec::new()).await;
    for (protocol, answer, says) in [
        (
            Protocol::Https,
            BAD_REQUEST,
            "the other side speaks plain HTTP, no TLS: see `protocol`",
        ),
        (
            Protocol::Http,
            ALERT,
            "the other side answers in no HTTP, perhaps it wants TLS: see `protocol`",
        ),
    ] {
        let port = answering(answer).await;
        let peer = server.peer_with(
            |config| {
                config.protocol = protocol;
                config.port = port;
            },
            Arc::new(NoAuth),
        );
        let failed = ProcessClient::new(&peer).readiness(&caller()).await;
        let failed = failed.unwrap_err();
        let said = chain(&failed);
        assert!(said.contains(says), "{said}");
        let wrong = WrongAddress::among(&failed).unwrap();
        assert_eq!(wrong.to_string(), says);
    }
}
