//! One HTTP/1.1 connection, plain or TLS, with or without a client certificate.
//!
//! It shares the cores with what it measures, so it does no more than it must: requests are bytes
//! made beforehand, and of an answer it reads the status, the length and the body.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, StatusCode};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How to reach the server.
#[derive(Clone)]
pub(crate) struct Target {
    /// Port on this machine.
    pub(crate) port: u16,
    /// TLS, if any.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// X25519 only: what devices offer today, and half of what a hybrid exchange costs the client.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

/// TLS towards the server of a data directory, without resumption.
pub(crate) fn tls(
    anchor_pem: &[u8],
    identity: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(anchor_pem)?)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((certificate, pkcs8)) => builder.with_client_auth_cert(
            vec![CertificateDer::from(certificate)],
            PrivateKeyDer::try_from(pkcs8).map_err(|reason| anyhow::anyhow!(reason))?,
        )?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A request as it goes over the wire.
pub(crate) fn encode(request: &Request<Bytes>) -> Bytes {
    let head = request.headers().iter().fold(
        format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()),
        |head, (name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            format!("{head}{name}: {value}\r\n")
        },
    );
    let length = request.body().len();
    let mut wire = format!("{head}content-length: {length}\r\n\r\n").into_bytes();
    wire.extend_from_slice(request.body());
    wire.into()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    head: Bytes,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's value; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The body, if the status is the wanted one.
    pub(crate) fn expect(self, wanted: StatusCode) -> Result<Bytes> {
        let Self { status, body, .. } = self;
        ensure!(
            status == wanted,
            "{status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is opened when it is needed and kept.
pub(crate) struct Connection {
    target: Target,
    stream: Option<Box<dyn Stream>>,
    received: BytesMut,
}

impl Connection {
    pub(crate) fn to(target: Target) -> Self {
        Self {
            target,
            stream: None,
            received: BytesMut::new(),
        }
    }

    /// Forgets the connection, so that the next request opens a new one.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, wire: &[u8]) -> Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.received.clear();
                open(&self.target).await?
            }
        };
        stream.write_all(wire).await?;
        stream.flush().await?;
        let answer = receive(&mut *stream, &mut self.received).await?;
        if header(&answer.head, "connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

async fn open(target: &Target) -> Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(("127.0.0.1", target.port))
        .await
        .context("no connection")?;
    stream.set_nodelay(true)?;
    match &target.tls {
        None => Ok(Box::new(stream)),
        Some(config) => {
            let name = ServerName::try_from("localhost")?;
            let connector = TlsConnector::from(Arc::clone(config));
            Ok(Box::new(connector.connect(name, stream).await?))
        }
    }
}

/// One answer with a known length.
async fn receive(stream: &mut dyn Stream, received: &mut BytesMut) -> Result<Answer> {
    let end = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        more(stream, received).await?;
    };
    let head = received.split_to(end).freeze();
    received.advance(4);
    let status = head.get(9..12).context("no status line")?;
    let status = StatusCode::from_bytes(status)?;
    let length = match header(&head, "content-length") {
        Some(length) => length.parse()?,
        None if status == StatusCode::NOT_MODIFIED => 0,
        None => bail!("{status} without a length"),
    };
    received.reserve(length);
    while received.len() < length {
        more(stream, received).await?;
    }
    let body = received.split_to(length).freeze();
    Ok(Answer { status, head, body })
}

async fn more(stream: &mut dyn Stream, received: &mut BytesMut) -> Result<()> {
    let read = stream.read_buf(received).await?;
    ensure!(read > 0, "the server closed the connection");
    Ok(())
}

fn header<'a>(head: &'a [u8], wanted: &str) -> Option<&'a str> {
    std::str::from_utf8(head).ok()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}
