//! Another process: connections, credentials, time-outs, repeats.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::json::{self, JsonError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::{ClientConfig, ConfigError, std_duration};
use crate::credentials::{Authorization, Credentials, CredentialsError};
use crate::refusal::{WireError, refused, tells_of_storage};
use crate::retry::{Repeat, is_passing, retry_after, wait};
use crate::tls::{self, TlsError};
use crate::transport::{Answer, Transport, TransportError};

const SOURCE: HeaderName = HeaderName::from_static("x-lms-source");
const PRINCIPAL: HeaderName = HeaderName::from_static("x-lms-principal");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// How long a call is repeated whose peer says that its storage, or a peer of its own, is away: what
/// lasts longer is for the client to wait for, who is told so.
const STORAGE_PATIENCE: Duration = Duration::from_secs(1);
/// The longest pause that a peer can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a peer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The block is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificates or keys cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key cannot be read.
    #[error("the client's credentials cannot be read")]
    Credentials(#[source] CredentialsError),
}

/// Another process that serves one or more services. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    /// Scheme, host and port.
    origin: String,
    /// What stands in front of `/v1`, where it is not `/api/<service>`.
    base_path: Option<String>,
    source: String,
    credentials: Arc<dyn Credentials>,
    timeout: Duration,
    retries: u32,
}

/// One request to a service.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// `/v1/…` or `/internal/v1/…`, with its query.
    pub(crate) path: String,
    /// Body and its media type.
    pub(crate) body: Option<(Bytes, HeaderValue)>,
    /// Further headers.
    pub(crate) headers: HeaderMap,
    pub(crate) repeat: Repeat,
    /// What it may take beyond the time that every call has.
    pub(crate) extra_time: Duration,
}

impl Call {
    /// Allows for work at the peer that takes long by itself.
    pub(crate) fn taking_longer(self, extra_time: Duration) -> Self {
        Self { extra_time, ..self }
    }

    /// A GET; it may be repeated.
    pub(crate) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            headers: HeaderMap::new(),
            repeat: Repeat::Safe,
            extra_time: Duration::ZERO,
        }
    }

    /// A request without body.
    pub(crate) fn bare(method: Method, path: String, repeat: Repeat) -> Self {
        Self {
            method,
            path,
            body: None,
            headers: HeaderMap::new(),
            repeat,
            extra_time: Duration::ZERO,
        }
    }

    /// A request with a JSON body.
    ///
    /// # Errors
    /// The body cannot be written as JSON: a defect.
    pub(crate) fn json<T: Serialize>(
        method: Method,
        path: String,
        body: &T,
        repeat: Repeat,
    ) -> Result<Self, StorageFailure> {
        let body = serde_json::to_vec(body).map_err(internal)?;
        Ok(Self {
            method,
            path,
            body: Some((body.into(), JSON)),
            headers: HeaderMap::new(),
            repeat,
            extra_time: Duration::ZERO,
        })
    }
}

/// Where it was that did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{origin}")]
struct At {
    origin: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why nothing usable came back.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("no answer in time")]
    TimedOut,
    #[error("no credential")]
    Credentials(#[source] CredentialsError),
    #[error("the answer cannot be read")]
    Unreadable(#[source] JsonError),
}

impl Peer {
    /// The process that `config` describes. `source` is the calling service as events name it, for
    /// example `service/ca`; a caller that names one of its own keeps it. Opens no connection.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn new(
        config: &ClientConfig,
        source: impl Into<String>,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, PeerError> {
        config.validate()?;
        let base_path = config.base_path.trim_end_matches('/');
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(tls::client_config(config)?, config),
            origin: format!("{}://{}", config.protocol.scheme(), config.authority()),
            base_path: (!config.base_path.is_empty()).then(|| base_path.to_owned()),
            source: source.into(),
            credentials,
            timeout: std_duration(config.timeout),
            retries: config.retries,
        })))
    }

    /// The service of this name at the peer.
    pub(crate) fn service(&self, name: &str) -> Service {
        let Inner {
            origin, base_path, ..
        } = &*self.0;
        let base = match base_path {
            Some(path) => format!("{origin}{path}"),
            None => format!("{origin}/api/{name}"),
        };
        Service {
            peer: Arc::clone(&self.0),
            base,
            introduction: Introduction::OnBehalf,
        }
    }

    /// The peer as a process, asked at any of its listeners.
    pub(crate) fn process(&self) -> Service {
        Service {
            introduction: Introduction::None,
            ..self.service("")
        }
    }
}

/// One service of a peer.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    peer: Arc<Inner>,
    base: String,
    introduction: Introduction,
}

/// Whether requests say on whose behalf they come. Listeners that are open to everybody take that for
/// forged, and count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Introduction {
    OnBehalf,
    None,
}

impl Service {
    /// Sends a request and reads the JSON of its answer.
    pub(crate) async fn read<T: DeserializeOwned, E: WireError>(
        &self,
        caller: &Caller,
        call: Call,
    ) -> Result<T, E> {
        let read = self.read_with_status::<T, E>(caller, call).await;
        read.map(|(_, body)| body)
    }

    /// The same with the status, which tells more where several are successful.
    pub(crate) async fn read_with_status<T: DeserializeOwned, E: WireError>(
        &self,
        caller: &Caller,
        call: Call,
    ) -> Result<(StatusCode, T), E> {
        let repeat = call.repeat;
        let answer = self.answer::<E>(caller, call).await?;
        // Answers have the habits of the wire too, for example `null` for what is empty.
        let body = json::from_slice(&answer.body).map_err(|error| {
            let cause = NoAnswer::Unreadable(error);
            E::from(match repeat {
                Repeat::Safe => internal(cause),
                Repeat::Once => StorageFailure::OutcomeUnknown(Box::new(cause)),
            })
        })?;
        Ok((answer.status, body))
    }

    /// Sends a request whose successful answer says nothing more.
    pub(crate) async fn done<E: WireError>(&self, caller: &Caller, call: Call) -> Result<(), E> {
        self.answer::<E>(caller, call).await.map(|_| ())
    }

    /// Sends a request and gives its successful answer.
    pub(crate) async fn answer<E: WireError>(
        &self,
        caller: &Caller,
        call: Call,
    ) -> Result<Answer, E> {
        let answer = self.exchange(caller, &call).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(refused(&answer, call.repeat))
        }
    }

    /// Sends a request, again where that is safe, until there is an answer that stands.
    pub(crate) async fn exchange(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Answer, StorageFailure> {
        let sent = self.exchange_until_it_stands(caller, call).await;
        sent.map_err(|failure| match failure {
            StorageFailure::PeerAway(source) => StorageFailure::PeerAway(Box::new(At {
                origin: self.peer.origin.clone(),
                source,
            })),
            other => other,
        })
    }

    async fn exchange_until_it_stands(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Answer, StorageFailure> {
        let peer = &*self.peer;
        let begun = Instant::now();
        let deadline = begun + peer.timeout + call.extra_time;
        let mut repeats = 0;
        let mut renewed = false;
        loop {
            let authorization = timeout_at(deadline, peer.credentials.authorization());
            let authorization = match authorization.await {
                Ok(given) => given.map_err(|error| unavailable(NoAnswer::Credentials(error)))?,
                Err(_elapsed) => return Err(unavailable(NoAnswer::TimedOut)),
            };
            let request = self.request(caller, call, authorization.as_ref())?;
            let Ok(sent) = timeout_at(deadline, peer.transport.send(request)).await else {
                return Err(call.repeat.unanswered(NoAnswer::TimedOut));
            };
            // A refused credential means that nothing was executed.
            if let (Ok(answer), Some(refused), false) = (&sent, &authorization, renewed)
                && is_invalid_token(answer)
            {
                peer.credentials.refused(refused);
                renewed = true;
                continue;
            }
            let may_repeat = repeats < peer.retries
                && match &sent {
                    Ok(answer) => call.repeat == Repeat::Safe && is_passing(answer.status),
                    Err(TransportError::Connect(_)) => true,
                    Err(TransportError::Broken(_)) => call.repeat == Repeat::Safe,
                    Err(TransportError::TooLong) => false,
                };
            let (pause, until) = match &sent {
                Ok(answer) if tells_of_storage(answer) => {
                    (Duration::ZERO, begun + STORAGE_PATIENCE)
                }
                Ok(answer) => (retry_after(&answer.headers).unwrap_or_default(), deadline),
                Err(_) => (Duration::ZERO, deadline),
            };
            // Beyond the deadline one is as good as another; an instant holds no number of seconds.
            let due = Instant::now() + wait(repeats).max(pause.min(LONGEST_ASKED));
            if !may_repeat || due >= until.min(deadline) {
                return sent.map_err(|error| call.repeat.failed(error));
            }
            tracing::debug!(
                method = %call.method,
                attempt = repeats + 1,
                "request repeated"
            );
            repeats += 1;
            sleep_until(due).await;
        }
    }

    fn request(
        &self,
        caller: &Caller,
        call: &Call,
        authorization: Option<&Authorization>,
    ) -> Result<Request<Full<Bytes>>, StorageFailure> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.base, call.path))
            .header(ACCEPT, JSON)
            .header(TRACEPARENT, caller.trace.to_traceparent());
        let (source, principal) = match self.introduction {
            Introduction::None => ("", String::new()),
            Introduction::OnBehalf => (
                caller.source.as_deref().unwrap_or(&self.peer.source),
                caller.principal_header().unwrap_or_default(),
            ),
        };
        for (name, text) in [
            (SOURCE, source),
            (PRINCIPAL, &principal),
            (REQUEST_ID, &caller.request_id),
        ] {
            // What no header can hold is left out; it only names things.
            if let Ok(value) = HeaderValue::from_str(text)
                && !value.is_empty()
            {
                request = request.header(name, value);
            }
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(Authorization { name, value }) = authorization {
            request = request.header(name, value);
        }
        let body = match &call.body {
            Some((body, media_type)) => {
                request = request.header(CONTENT_TYPE, media_type);
                body.clone()
            }
            None => Bytes::new(),
        };
        request.body(Full::new(body)).map_err(internal)
    }
}

/// RFC 6750 section 3.1.
fn is_invalid_token(answer: &Answer) -> bool {
    answer.status == StatusCode::UNAUTHORIZED
        && answer
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|challenge| challenge.contains("invalid_token"))
}

impl Repeat {
    /// What it means that there is no answer to a request that may have arrived.
    fn unanswered(self, cause: impl std::error::Error + Send + Sync + 'static) -> StorageFailure {
        match self {
            Self::Safe => unavailable(cause),
            Self::Once => StorageFailure::OutcomeUnknown(Box::new(cause)),
        }
    }

    fn failed(self, error: TransportError) -> StorageFailure {
        match (&error, self) {
            (TransportError::Connect(_), _) => unavailable(error),
            (TransportError::TooLong, Self::Safe) => internal(error),
            (TransportError::Broken(_) | TransportError::TooLong, _) => self.unanswered(error),
        }
    }
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> StorageFailure {
    StorageFailure::PeerAway(Box::new(cause))
}

pub(crate) fn internal(cause: impl std::error::Error + Send + Sync + 'static) -> StorageFailure {
    StorageFailure::Internal(Box::new(cause))
}

/// What a list gives whose owner no route can name.
pub(crate) fn empty_page<T>() -> lamassu_core::page::Page<T> {
    lamassu_core::page::Page {
        next: String::new(),
        list: Vec::new(),
    }
}
