//! Calls to servers that are none of ours: webhooks, OCSP responders, places of CRLs.
//!
//! What is called is named by settings or certificates, not by the operator's configuration, so
//! [`ClientConfig::addresses`] decides where connections may go once names are resolved. Redirects are
//! not followed: they would hand credentials on.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;

use crate::config::{AuthMode, ClientConfig};
use crate::credentials::{
    ApiKey, Authorization, ClientCredentials, Credentials, CredentialsError, NoAuth,
};
use crate::peer::PeerError;
use crate::tls;
use crate::transport::{AddressRefused, Answer, Transport, TransportError};

/// Connections to servers that are none of ours, and what is presented to them.
#[derive(Clone, Debug)]
pub struct Outbound {
    transport: Transport,
    credentials: Arc<dyn Credentials>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct OutboundAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer; the text is safe to show, the causes are for the log.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// What is to be presented cannot be had.
    #[error("no credential")]
    Credentials(#[source] CredentialsError),
    /// The name leads where nothing may be called.
    #[error("its address must not be called")]
    Address(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no connection.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke, or the answer is no HTTP.
    #[error("no answer")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is longer than allowed.
    #[error("the answer is too long")]
    TooLong,
}

impl Outbound {
    /// Connections as the block says: TLS, what is presented, addresses, limits. Opens none yet.
    ///
    /// # Errors
    /// Certificates or keys cannot be read.
    pub fn new(config: &ClientConfig) -> Result<Self, PeerError> {
        let credentials: Arc<dyn Credentials> = match config.auth_mode {
            AuthMode::Internal | AuthMode::Noauth | AuthMode::Mtls => Arc::new(NoAuth),
            AuthMode::Jwt => Arc::new(ClientCredentials::new(config)?),
            AuthMode::Apikey => {
                Arc::new(ApiKey::open(&config.apikey_options).map_err(PeerError::Credentials)?)
            }
        };
        Ok(Self {
            transport: Transport::new(tls::client_config(config)?, config),
            credentials,
        })
    }

    /// One request; whoever waits for it decides how long. A server that refuses a cached credential
    /// is asked once more with a fresh one.
    ///
    /// # Errors
    /// [`OutboundError`]; an answer of any status is none.
    pub async fn call(&self, request: &Request<Bytes>) -> Result<OutboundAnswer, OutboundError> {
        let first = self.authorization().await?;
        let answer = self.send(request, first.as_ref()).await?;
        let Some(refused) = first.filter(|_| answer.status == StatusCode::UNAUTHORIZED) else {
            return Ok(answer);
        };
        self.credentials.refused(&refused);
        let fresh = self.authorization().await?;
        if fresh.as_ref() == Some(&refused) {
            return Ok(answer);
        }
        self.send(request, fresh.as_ref()).await
    }

    async fn authorization(&self) -> Result<Option<Authorization>, OutboundError> {
        let authorization = self.credentials.authorization().await;
        authorization.map_err(OutboundError::Credentials)
    }

    async fn send(
        &self,
        request: &Request<Bytes>,
        authorization: Option<&Authorization>,
    ) -> Result<OutboundAnswer, OutboundError> {
        let mut outgoing = request.clone().map(Full::new);
        if let Some(Authorization { name, value }) = authorization {
            outgoing.headers_mut().insert(name.clone(), value.clone());
        }
        let Answer {
            status,
            headers,
            body,
            ..
        } = self.transport.send(outgoing).await?;
        Ok(OutboundAnswer {
            status,
            headers,
            body,
        })
    }
}

impl From<TransportError> for OutboundError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Connect(cause) if is_address_refused(&cause) => {
                Self::Address(cause.into())
            }
            TransportError::Connect(cause) => Self::Connect(cause.into()),
            TransportError::Broken(cause) => Self::Broken(cause),
            TransportError::TooLong => Self::TooLong,
        }
    }
}

fn is_address_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let inner = cause.downcast_ref::<std::io::Error>();
        inner
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<AddressRefused>())
            .is_some()
    })
}
