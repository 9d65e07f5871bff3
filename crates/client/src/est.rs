//! EST (RFC 7030 with RFC 8951) from the device's side: [`EstClient`].
//!
//! It speaks to any EST server over HTTPS, believes whom [`EstTrust`] says, and proves itself by a
//! certificate, a password or a token. What comes back is read leniently (base64 with any white
//! space, PEM, DER) and judged by what matters: that the certificate is for the key that asked.
//! Keys, files and waiting are the caller's; nothing is repeated here.
//!
//! Deliberately absent: Digest authentication, full CMC, and decrypting of generated keys, which is
//! never asked for. Next: `est/answer.rs`, `est/multipart.rs`.

mod answer;
mod multipart;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use lamassu_core::duration::WireDuration;
use lamassu_core::percent::encode;
use lamassu_crypto::{KeyError, PrivateKey, PublicKey};
use lamassu_x509::pem::base64_lines;
use lamassu_x509::{Certificate, CsrWishes, ParseError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::ClientConfig;
use crate::credentials::Authorization;
use crate::tls::{Identity, TlsError, Trust, anchors, connecting, only_anchors};
use crate::transport::{Answer, TlsExporter, Transport, TransportError};

const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
const PKCS10: HeaderValue = HeaderValue::from_static("application/pkcs10");
const BASE64: HeaderValue = HeaderValue::from_static("base64");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("lamassu/", env!("CARGO_PKG_VERSION")));

/// Where EST is on a server (RFC 7030 section 3.2.2).
const WELL_KNOWN: &str = "/.well-known/est";
/// Length of a line of base64 in requests.
const LINE: usize = 76;
/// Longest answer that is read.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Whom a client believes.
#[derive(Clone, Debug)]
pub enum EstTrust {
    /// Who is vouched for by what this machine trusts.
    System,
    /// Who is vouched for by a certificate in this PEM file, and nobody else.
    File(PathBuf),
    /// The holder of the certificate with this SHA-256, whatever it says.
    Fingerprint([u8; 32]),
    /// Anybody: for the first contact in a network that is safe.
    Anybody,
}

/// The certificate that a client presents, and its key.
#[derive(Clone)]
pub struct EstIdentity {
    /// The chain, end entity first.
    chain: Vec<Bytes>,
    /// PKCS#8.
    key: Zeroizing<Vec<u8>>,
}

impl EstIdentity {
    /// A chain, end entity first, and the key of the first.
    ///
    /// # Errors
    /// The key cannot be written.
    pub fn new(chain: &[Certificate], key: &PrivateKey) -> Result<Self, KeyError> {
        Ok(Self {
            chain: chain.iter().map(|one| one.as_der().clone()).collect(),
            key: key.to_pkcs8_der()?,
        })
    }

    fn to_rustls(&self) -> Identity {
        let chain = self.chain.iter().map(|der| der.to_vec().into());
        let key = PrivatePkcs8KeyDer::from(self.key.to_vec());
        (
            chain.collect::<Vec<CertificateDer<'static>>>(),
            PrivateKeyDer::from(key),
        )
    }
}

impl std::fmt::Debug for EstIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EstIdentity")
            .field("n_certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Which server, and as whom.
#[derive(Clone, Debug)]
pub struct EstOptions {
    /// `https://host:port`, where EST is under `/.well-known/est`; or the whole address in front of
    /// the operations.
    pub url: String,
    /// The label behind that (RFC 7030 section 3.2.2).
    pub label: Option<String>,
    /// Whom to believe.
    pub trust: EstTrust,
    /// What to present.
    pub identity: Option<EstIdentity>,
    /// What to say beside that.
    pub authorization: Option<Authorization>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstRequest {
    /// A first certificate: `simpleenroll`.
    Enroll,
    /// The successor of the certificate that is presented: `simplereenroll`.
    Reenroll,
}

/// What a server answers that means to issue.
#[derive(Clone, Debug)]
pub enum EstReply<T> {
    /// This.
    Given(T),
    /// It wants to be asked again with the same request, after this time if it says one.
    Later(Option<Duration>),
}

/// A key that the server made, and its certificate.
#[derive(Debug)]
pub struct GeneratedKey {
    /// The key.
    pub key: PrivateKey,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Why there is no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// The address is none.
    #[error("{0:?} is no address of an EST server: it begins with https:// and a host name")]
    Address(String),
    /// Trust anchors or the client's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There was no connection: nothing was executed.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke: the request may have been executed.
    #[error("there is no answer")]
    NoAnswer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server refuses.
    #[error("the server refuses ({status}): {text}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it says.
        text: String,
        /// When to ask again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The answer is not what it should be.
    #[error("the server's answer is no {0}")]
    Unreadable(&'static str),
    /// A certificate in the answer cannot be read.
    #[error("the server's answer cannot be read")]
    Malformed(#[from] ParseError),
    /// No certificate in the answer belongs to the key.
    #[error("the server's answer holds no certificate for the key of the request")]
    OtherKey,
    /// A generated key came encrypted, though nobody asked for that.
    #[error("the server encrypted the key that it made")]
    Encrypted,
    /// A generated key cannot be read.
    #[error("the key that the server made cannot be read")]
    Key(#[from] KeyError),
}

impl EstError {
    /// When to ask again, if the server says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Address(_)
            | Self::Tls(_)
            | Self::Unreachable(_)
            | Self::NoAnswer(_)
            | Self::Unreadable(_)
            | Self::Malformed(_)
            | Self::OtherKey
            | Self::Encrypted
            | Self::Key(_) => None,
        }
    }

    /// Whether the server is only busy, or away for a moment.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS,
                ..
            }
        )
    }
}

/// A client of an EST server. Connections are kept for a while.
#[derive(Clone, Debug)]
pub struct EstClient {
    transport: Transport,
    base: String,
    authorization: Option<Arc<Authorization>>,
    timeout: Duration,
    /// Of the connection of the last answer.
    exporter: Arc<Mutex<Option<TlsExporter>>>,
}

impl EstClient {
    /// Prepares the client. Reads the file of [`EstTrust::File`], opens no connection.
    ///
    /// # Errors
    /// [`EstError::Address`], [`EstError::Tls`].
    pub fn new(options: &EstOptions) -> Result<Self, EstError> {
        let trust = match &options.trust {
            EstTrust::System => Trust::Anchors(anchors(None)?),
            EstTrust::File(path) => Trust::Anchors(only_anchors(path)?),
            EstTrust::Fingerprint(digest) => Trust::Digest(digest.to_vec()),
            EstTrust::Anybody => Trust::Any,
        };
        let identity = options.identity.as_ref().map(EstIdentity::to_rustls);
        let config = ClientConfig {
            connect_timeout: WireDuration::from_secs(
                options
                    .timeout
                    .as_secs()
                    .clamp(1, 30)
                    .try_into()
                    .unwrap_or(30),
            ),
            pool_max_idle: 1,
            max_response_bytes: MAX_ANSWER,
            ..ClientConfig::default()
        };
        Ok(Self {
            transport: Transport::new(Some(connecting(trust, identity)?), &config),
            base: base(options)?,
            authorization: options.authorization.clone().map(Arc::new),
            timeout: options.timeout,
            exporter: Arc::default(),
        })
    }

    /// What ties a request to the connection that the last answer came over (RFC 7030 section 3.5, RFC
    /// 9266): for the challenge password of the next request, which goes over the same one as long as
    /// that is open. There is none before TLS 1.3.
    pub fn channel_binding(&self) -> Option<String> {
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner);
        exporter.map(|TlsExporter(octets)| STANDARD.encode(octets))
    }

    /// The address in front of the operations.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The CA certificates (`cacerts`, RFC 7030 section 4.1), in the server's order.
    ///
    /// # Errors
    /// [`EstError`].
    pub async fn ca_certs(&self) -> Result<Vec<Certificate>, EstError> {
        let answer = self.get("cacerts", "application/pkcs7-mime").await?;
        match answer.status {
            StatusCode::OK => answer::certificates(&answer.body),
            _ => Err(answer::refusal(&answer)),
        }
    }

    /// What the server wants to see in requests (`csrattrs`, RFC 7030 section 4.5); nothing in
    /// particular where it does not say.
    ///
    /// # Errors
    /// [`EstError`].
    pub async fn csr_attrs(&self) -> Result<CsrWishes, EstError> {
        let answer = self.get("csrattrs", "application/csrattrs").await?;
        match answer.status {
            StatusCode::OK => {
                let der = answer::octets(&answer.body, "list of request attributes")?;
                Ok(CsrWishes::from_der(der.to_vec())?)
            }
            StatusCode::NO_CONTENT => Ok(CsrWishes::default()),
            // A server without this operation; that it knows no such label is told in another form.
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED
                if !answer::tells_a_reason(&answer) =>
            {
                Ok(CsrWishes::default())
            }
            _ => Err(answer::refusal(&answer)),
        }
    }

    /// A certificate for the key of this request (RFC 7030 section 4.2).
    ///
    /// # Errors
    /// [`EstError`]; one for another key is [`EstError::OtherKey`].
    pub async fn enroll(
        &self,
        request: EstRequest,
        csr: &[u8],
        key: &PublicKey,
    ) -> Result<EstReply<Certificate>, EstError> {
        let operation = match request {
            EstRequest::Enroll => "simpleenroll",
            EstRequest::Reenroll => "simplereenroll",
        };
        let accept = HeaderValue::from_static("application/pkcs7-mime");
        let answer = self.post(operation, accept, csr).await?;
        match answer.status {
            StatusCode::OK => {
                let certificates = answer::certificates(&answer.body)?;
                Ok(EstReply::Given(answer::of_key(certificates, key)?))
            }
            StatusCode::ACCEPTED => Ok(answer::later(&answer)),
            _ => Err(answer::refusal(&answer)),
        }
    }

    /// A key made by the server, and its certificate (`serverkeygen`, RFC 7030 section 4.4). The
    /// request's own key signs it and is of no further use.
    ///
    /// # Errors
    /// [`EstError`].
    pub async fn server_keygen(&self, csr: &[u8]) -> Result<EstReply<GeneratedKey>, EstError> {
        let accept = HeaderValue::from_static("multipart/mixed");
        let answer = self.post("serverkeygen", accept, csr).await?;
        match answer.status {
            StatusCode::OK => Ok(EstReply::Given(answer::generated_key(&answer)?)),
            StatusCode::ACCEPTED => Ok(answer::later(&answer)),
            _ => Err(answer::refusal(&answer)),
        }
    }

    async fn get(&self, operation: &str, accept: &'static str) -> Result<Answer, EstError> {
        let accept = HeaderValue::from_static(accept);
        let request = self.request(Method::GET, operation, accept);
        self.send(request.body(Full::default())).await
    }

    async fn post(
        &self,
        operation: &str,
        accept: HeaderValue,
        csr: &[u8],
    ) -> Result<Answer, EstError> {
        let request = self
            .request(Method::POST, operation, accept)
            .header(CONTENT_TYPE, PKCS10)
            .header(CONTENT_TRANSFER_ENCODING, BASE64);
        let body = Bytes::from(base64_lines(csr, LINE));
        self.send(request.body(Full::new(body))).await
    }

    fn request(
        &self,
        method: Method,
        operation: &str,
        accept: HeaderValue,
    ) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{operation}", self.base))
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, accept);
        match self.authorization.as_deref() {
            Some(Authorization { value, .. }) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    async fn send(&self, request: http::Result<Request<Full<Bytes>>>) -> Result<Answer, EstError> {
        let request = request.map_err(|_| EstError::Address(self.base.clone()))?;
        match timeout(self.timeout, self.transport.send(request)).await {
            Err(elapsed) => Err(EstError::NoAnswer(elapsed.into())),
            Ok(Err(error @ TransportError::Connect(_))) => Err(EstError::Unreachable(error.into())),
            Ok(Err(error)) => Err(EstError::NoAnswer(error.into())),
            Ok(Ok(answer)) => {
                let mut exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner);
                *exporter = answer.exporter;
                Ok(answer)
            }
        }
    }
}

/// The address in front of the operations.
fn base(options: &EstOptions) -> Result<String, EstError> {
    let wrong = || EstError::Address(options.url.clone());
    let uri: Uri = options.url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    // A name and a password in the address would end up in logs.
    if uri.scheme_str() != Some("https")
        || uri.query().is_some()
        || authority.as_str().contains('@')
    {
        return Err(wrong());
    }
    let path = match uri.path().trim_end_matches('/') {
        "" => WELL_KNOWN,
        path => path,
    };
    Ok(match &options.label {
        Some(label) => format!("https://{authority}{path}/{}", encode(label)),
        None => format!("https://{authority}{path}"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{EstOptions, EstTrust, base};

    fn at(url: &str, label: Option<&str>) -> Option<String> {
        let options = EstOptions {
            url: url.to_owned(),
            label: label.map(str::to_owned),
            trust: EstTrust::System,
            identity: None,
            authorization: None,
            timeout: Duration::from_secs(1),
        };
        base(&options).ok()
    }

    #[test]
    fn an_address_is_a_server_or_whole() {
        let known = "https://pki.example:8443/.well-known/est/line%201";
        assert_eq!(
            at("https://pki.example:8443", Some("line 1")).as_deref(),
            Some(known)
        );
        assert_eq!(at(known, None).as_deref(), Some(known));
        assert_eq!(
            at("https://h/api/.well-known/est/", Some("a")).as_deref(),
            Some("https://h/api/.well-known/est/a")
        );
        for wrong in ["http://h", "h", "https://u:p@h", "https://h?x", "https:///"] {
            assert_eq!(at(wrong, None), None, "{wrong}");
        }
    }
}
