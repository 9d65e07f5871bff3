//! `lamassu healthcheck`: asks a running server whether it is ready.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::Healthcheck;

/// How long the server may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Succeeds when the server says that it is ready.
pub(crate) async fn ask(arguments: &Healthcheck) -> Result<()> {
    let (status, body) = timeout(DEADLINE, readyz(&arguments.url))
        .await
        .with_context(|| format!("{} does not answer in time", arguments.url))??;
    if !status.is_success() {
        bail!("not ready: {body}");
    }
    crate::print(&body)
}

async fn readyz(url: &str) -> Result<(http::StatusCode, String)> {
    let url: http::Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    ensure!(
        url.scheme_str() == Some("http"),
        "{url} does not begin with http://, and the health check asks over plain HTTP"
    );
    let host = url.host().context("the URL names no host")?;
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80)))
        .await
        .with_context(|| format!("{url} does not answer"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = http::Request::get("/readyz")
        .header(http::header::HOST, host)
        .body(Empty::<bytes::Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, anyhow::Error>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::select! {
        answer = exchange => answer,
        ended = connection => {
            ended?;
            bail!("the server closed the connection")
        }
    }
}
