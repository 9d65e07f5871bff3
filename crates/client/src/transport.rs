//! One request over a pooled connection: connect, send, read an answer of bounded length.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lamassu_core::network::AddressPolicy;
use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::std_duration;

/// Idle connections live shorter than any server of ours keeps them.
const IDLE: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// There was no connection, so nothing was executed.
    #[error("no connection")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// The connection broke; the request may have been executed.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is longer than allowed.
    #[error("the answer is too long")]
    TooLong,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What is known at both ends of its connection only, under TLS 1.3.
    pub(crate) exporter: Option<TlsExporter>,
}

/// The `tls-exporter` of a connection (RFC 9266).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsExporter(pub(crate) [u8; 32]);

impl TlsExporter {
    fn of(tls: &rustls::ClientConnection) -> Option<Self> {
        // Before TLS 1.3 the value is not unique to a connection without further care.
        let is_new = tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let label = b"EXPORTER-Channel-Binding";
        let exported = is_new.then(|| tls.export_keying_material([0; 32], label, Some(b"")));
        exported?.ok().map(Self)
    }
}

/// A pool of connections.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Client<Connector, Full<Bytes>>,
    max_response_bytes: usize,
}

impl Transport {
    pub(crate) fn new(
        tls: Option<Arc<rustls::ClientConfig>>,
        config: &crate::ClientConfig,
    ) -> Self {
        let connector = Connector {
            tls: tls.map(TlsConnector::from),
            timeout: std_duration(config.connect_timeout),
            addresses: Arc::new(config.addresses.clone()),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(config.pool_max_idle)
            .build(connector);
        Self {
            client,
            max_response_bytes: config.max_response_bytes,
        }
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, TransportError> {
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                TransportError::Connect(error)
            } else if is_no_http(&error) {
                TransportError::Broken(WrongAddress::NoHttp(error).into())
            } else {
                TransportError::Broken(error.into())
            }
        })?;
        let (parts, body) = response.into_parts();
        let body = match Limited::new(body, self.max_response_bytes).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(TransportError::TooLong),
            Err(error) => return Err(TransportError::Broken(error)),
        };
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            exporter: parts.extensions.get().copied(),
        })
    }
}

/// Opens connections: TCP, and TLS for `https`.
#[derive(Clone)]
struct Connector {
    tls: Option<TlsConnector>,
    timeout: Duration,
    addresses: Arc<AddressPolicy>,
}

/// A name leads to none but addresses that must not be called.
#[derive(Debug, thiserror::Error)]
#[error("the address of {0} must not be called")]
pub(crate) struct AddressRefused(String);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let opening = async {
            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let is_tls = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
            let found = tokio::net::lookup_host((host, port)).await?;
            let may_be_called = found
                .filter(|address| self.addresses.allows(address.ip()))
                .collect::<Vec<_>>();
            if may_be_called.is_empty() {
                return Err(io::Error::other(AddressRefused(host.to_owned())));
            }
            let tcp = TcpStream::connect(&*may_be_called).await?;
            tcp.set_nodelay(true)?;
            let mut exporter = None;
            let io: Box<dyn Duplex> = match &self.tls {
                Some(tls) if is_tls => {
                    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                    let stream = tls.connect(name, tcp).await.map_err(in_words)?;
                    exporter = TlsExporter::of(stream.get_ref().1);
                    Box::new(stream)
                }
                _ if is_tls => return Err(io::Error::other("TLS is not configured")),
                _ => Box::new(tcp),
            };
            Ok(TokioIo::new(Stream { io, exporter }))
        };
        match tokio::time::timeout(self.timeout, opening).await {
            Ok(opened) => opened,
            Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
        }
    }
}

/// Somebody answers, and is not who the address says: mostly a port or a name is the wrong one.
#[derive(Debug, thiserror::Error)]
pub enum WrongAddress {
    /// TLS was spoken.
    #[error("the other side speaks plain HTTP, no TLS: see `protocol`")]
    PlainHttp,
    /// HTTP was spoken.
    #[error("the other side answers in no HTTP, perhaps it wants TLS: see `protocol`")]
    NoHttp(#[source] hyper_util::client::legacy::Error),
    /// The certificate has other names.
    #[error("certificate not valid for name {called:?}, only for {}", .names.join(", "))]
    Name {
        /// The name in the address.
        called: String,
        /// Those in the certificate.
        names: Vec<String>,
    },
}

impl WrongAddress {
    /// The one among the causes of an error.
    pub fn among<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // An I/O error shows the cause of what it is made of, not that itself.
            let within = error.downcast_ref().and_then(io::Error::get_ref);
            let found = error.downcast_ref();
            let found = found.or_else(|| within.and_then(|within| within.downcast_ref()));
            if found.is_some() {
                return found;
            }
            cause = error.source();
        }
        None
    }
}

fn is_no_http(error: &hyper_util::client::legacy::Error) -> bool {
    let cause = error.source();
    let cause = cause.and_then(|cause| cause.downcast_ref());
    cause.is_some_and(hyper::Error::is_parse)
}

/// What it means that a handshake fails, where that says something of the address.
fn in_words(error: io::Error) -> io::Error {
    let refused = error.get_ref().and_then(|cause| cause.downcast_ref());
    match refused {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            io::Error::other(WrongAddress::PlainHttp)
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected,
            presented,
        })) => io::Error::other(WrongAddress::Name {
            called: expected.to_str().into_owned(),
            names: presented.iter().map(|name| plain(name)).collect(),
        }),
        Some(_) | None => error,
    }
}

/// A name as people write it: rustls has `DnsName("localhost")` and `IpAddress(127.0.0.1)`.
fn plain(name: &str) -> String {
    let within = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    within.unwrap_or(name).trim_matches('"').to_owned()
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, with or without TLS.
struct Stream {
    io: Box<dyn Duplex>,
    exporter: Option<TlsExporter>,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.exporter {
            Some(exporter) => Connected::new().extra(exporter),
            None => Connected::new(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
