//! Getting what is published for everybody: CRLs, OCSP answers, certificates of issuers.
//!
//! What comes is signed, so plain HTTP is fine and the usual thing (RFC 5280 section 8). A few
//! redirections are followed, answers have a length that the caller allows, and nothing that tells
//! who asks is sent along.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use lamassu_core::duration::WireDuration;
use tokio::time::timeout;

use crate::config::ClientConfig;
use crate::tls::{TlsError, Trust, anchors, connecting};
use crate::transport::{Answer, Transport};

/// Most redirections that are followed.
const MAX_REDIRECTIONS: usize = 3;

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is no address.
    #[error("{0} is no http:// or https:// address")]
    Address(String),
    /// The system's trust anchors cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody answers.
    #[error("{0} does not answer")]
    NoAnswer(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is another one than wished.
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
}

/// Gets things; each call has this time, redirections included.
#[derive(Clone, Debug)]
pub struct Fetcher {
    transport: Transport,
    timeout: Duration,
}

impl Fetcher {
    /// `max_bytes` is the longest answer.
    ///
    /// # Errors
    /// [`FetchError::Tls`].
    pub fn new(timeout: Duration, max_bytes: usize) -> Result<Self, FetchError> {
        let config = ClientConfig {
            connect_timeout: WireDuration::from_secs(10),
            pool_max_idle: 1,
            max_response_bytes: max_bytes,
            ..ClientConfig::default()
        };
        let tls = connecting(Trust::Anchors(anchors(None)?), None)?;
        Ok(Self {
            transport: Transport::new(Some(tls), &config),
            timeout,
        })
    }

    /// What is at an address.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        self.call(url, Method::GET, None).await
    }

    /// What is answered to this.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn post(
        &self,
        url: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Bytes, FetchError> {
        let body = (body, HeaderValue::from_static(media_type));
        self.call(url, Method::POST, Some(body)).await
    }

    async fn call(
        &self,
        url: &str,
        method: Method,
        body: Option<(Bytes, HeaderValue)>,
    ) -> Result<Bytes, FetchError> {
        let following = self.follow(url, &method, body.as_ref());
        match timeout(self.timeout, following).await {
            Ok(fetched) => fetched,
            Err(elapsed) => Err(FetchError::NoAnswer(url.to_owned(), elapsed.into())),
        }
    }

    async fn follow(
        &self,
        url: &str,
        method: &Method,
        body: Option<&(Bytes, HeaderValue)>,
    ) -> Result<Bytes, FetchError> {
        let mut at = url.to_owned();
        for _ in 0..=MAX_REDIRECTIONS {
            let answer = self.send(&at, method, body).await?;
            if answer.status.is_success() {
                return Ok(answer.body);
            }
            match location(&at, &answer) {
                Some(next) if answer.status.is_redirection() => at = next,
                Some(_) | None => return Err(FetchError::Status(at, answer.status)),
            }
        }
        Err(FetchError::Status(at, StatusCode::LOOP_DETECTED))
    }

    async fn send(
        &self,
        url: &str,
        method: &Method,
        body: Option<&(Bytes, HeaderValue)>,
    ) -> Result<Answer, FetchError> {
        let wrong = || FetchError::Address(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            return Err(wrong());
        }
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(ACCEPT, "*/*");
        let mut octets = Bytes::new();
        if let Some((body, media_type)) = body {
            request = request.header(CONTENT_TYPE, media_type);
            octets = body.clone();
        }
        let request = request.body(Full::new(octets)).map_err(|_| wrong())?;
        let sent = self.transport.send(request).await;
        sent.map_err(|error| FetchError::NoAnswer(url.to_owned(), error.into()))
    }
}

/// Where an answer sends to: an address of its own, or a path of the same server.
fn location(at: &str, answer: &Answer) -> Option<String> {
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    if !location.starts_with('/') || location.starts_with("//") {
        return Some(location.to_owned());
    }
    let uri: Uri = at.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    Some(format!("{scheme}://{authority}{location}"))
}
