//! Raw TLS and TCP, for what well-behaved clients cannot be made to do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lamassu_tls::WithoutChain;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A client's certificate chain and key, DER.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A TLS stream to a port of this machine.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Connects with TLS, speaking HTTP/1.1.
///
/// # Errors
/// No connection; the handshake itself happens on first use.
pub(crate) fn connect(port: u16, identity: Option<Identity>) -> Result<TlsStream> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    // These tests are about what the server does.
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(WithoutChain::any(provider)));
    let config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("localhost")?;
    let connection = ClientConnection::new(Arc::new(config), name)?;
    let socket = TcpStream::connect(("127.0.0.1", port)).context("no connection")?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(StreamOwned::new(connection, socket))
}

/// Sends bytes and reads until the server closes the connection.
///
/// # Errors
/// Sending fails.
pub(crate) fn exchange(stream: &mut TlsStream, request: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    Ok(read_to_close(stream))
}

/// Everything until the connection ends, however it ends.
pub(crate) fn read_to_close(stream: &mut TlsStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n) = stream.read(&mut chunk) {
        if n == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..n]);
    }
    answer
}
