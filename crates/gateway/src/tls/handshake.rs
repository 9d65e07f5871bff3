//! One TLS handshake, with its deadline and what it proved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lamassu_core::caller::ClientCertificateChain;
use rustls::{ProtocolVersion, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::metrics::{HandshakeResult, count_handshake};
use lamassu_http::TlsExporter;

/// Label of the channel binding `tls-exporter` (RFC 9266 2).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// How long to wait for the client to close after a failure.
const LINGER: Duration = Duration::from_secs(1);

/// Reads of up to 4 KiB thrown away meanwhile.
const MAX_UNREAD: usize = 64;

/// A connection whose handshake is complete.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// Boxed: the state of a TLS connection is large, and futures hold it.
    pub(crate) stream: Box<TlsStream<TcpStream>>,
    /// The name asked for (RFC 6066 3), lower case.
    pub(crate) server_name: Option<Arc<str>>,
    pub(crate) identity: Identity,
}

/// What the handshake proved about the client.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The certificates presented; the key of the first is proven to be the client's.
    pub(crate) chain: Option<ClientCertificateChain>,
    /// Channel binding, under TLS 1.3.
    pub(crate) exporter: Option<TlsExporter>,
}

/// Completes the handshake on `stream`, or counts why not and returns `None`.
pub(crate) async fn accept(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    timeout: Duration,
) -> Option<Handshake> {
    let handshake = acceptor.accept(stream).into_fallible();
    let stream = match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(stream)) => Box::new(stream),
        Ok(Err((error, stream))) => {
            debug!(%peer, %error, "tls handshake failed");
            count_handshake(HandshakeResult::Failed);
            close(stream).await;
            return None;
        }
        Err(_elapsed) => {
            debug!(%peer, "tls handshake timed out");
            count_handshake(HandshakeResult::TimedOut);
            return None;
        }
    };
    count_handshake(HandshakeResult::Completed);
    let (_, tls) = stream.get_ref();
    let server_name = tls
        .server_name()
        .map(|name| Arc::from(name.to_ascii_lowercase()));
    let identity = Identity {
        chain: chain(tls),
        exporter: exporter(tls),
    };
    Some(Handshake {
        stream,
        server_name,
        identity,
    })
}

/// Closes after a failure such that the alert arrives: closing with unread bytes would reset the
/// connection, and a TLS 1.3 client has sent its request by then.
async fn close(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        for _ in 0..MAX_UNREAD {
            if stream.read(&mut unread).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // A client that is gone needs no goodbye.
    drop(tokio::time::timeout(LINGER, drained).await);
}

fn chain(tls: &ServerConnection) -> Option<ClientCertificateChain> {
    let presented = tls.peer_certificates()?;
    let chain: Arc<[Bytes]> = presented
        .iter()
        .map(|der| Bytes::copy_from_slice(der))
        .collect();
    (!chain.is_empty()).then_some(ClientCertificateChain(chain))
}

fn exporter(tls: &ServerConnection) -> Option<TlsExporter> {
    if tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    let exported = tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(b""));
    exported.ok().map(TlsExporter)
}
