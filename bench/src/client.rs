//! One HTTP/1.1 connection, plain or TLS, with or without a client certificate.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
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

/// TLS towards the server of a data directory, without resumption.
pub(crate) fn tls(
    anchor_pem: &[u8],
    identity: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(anchor_pem)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
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

/// A connection that is opened when it is needed and kept.
pub(crate) struct Connection {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(crate) fn to(target: Target) -> Self {
        Self {
            target,
            sender: None,
        }
    }

    /// Forgets the connection, so that the next request opens a new one.
    pub(crate) fn close(&mut self) {
        self.sender = None;
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes)> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.open().await?,
        };
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok((status, body))
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(("127.0.0.1", self.target.port))
            .await
            .context("no connection")?;
        stream.set_nodelay(true)?;
        match &self.target.tls {
            None => {
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(sender)
            }
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let stream = TlsConnector::from(Arc::clone(config))
                    .connect(name, stream)
                    .await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(sender)
            }
        }
    }
}
