//! Tokens of an OpenID provider by client credentials (RFC 6749 section 4.4).
//!
//! One token at a time is asked for, however many calls wait for it, by a task that goes on when
//! they give up; it is kept until `refresh_margin` before it expires. A failure is kept for a
//! moment, too, so that calls fail with it instead of asking one after the other. The provider has
//! half the time of a call, so that a call that waits for one that hangs is told so. The token
//! endpoint is asked with HTTP Basic first, and with the secret in the body when that is refused
//! (RFC 6749 section 2.3.1).

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, Shared, ready};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use lamassu_core::percent;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::task::AbortHandle;

use super::{Authorization, Credentials, CredentialsError};
use crate::config::{ClientConfig, Protocol, std_duration};
use crate::metrics;
use crate::peer::PeerError;
use crate::tls;
use crate::transport::{Answer, Transport};

/// A token is renewed after so long, whatever its issuer says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(86_400);

/// How long a token lasts whose provider does not say.
const UNSAID_LIFETIME: Duration = Duration::from_secs(60);

/// How long nobody is asked again after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no token, for everybody who waited for it.
type Failure = Arc<dyn std::error::Error + Send + Sync>;

/// What asking for a token brings.
type Outcome = Shared<BoxFuture<'static, Result<Authorization, Failure>>>;

/// Tokens of an OpenID provider.
#[derive(Debug)]
pub struct ClientCredentials {
    provider: Arc<Provider>,
    /// The task that asks for a token, or did so last.
    asking: StdMutex<Option<(AbortHandle, Outcome)>>,
}

#[derive(Debug)]
struct Provider {
    transport: Transport,
    /// The block, as the provider is reached by it.
    config: ClientConfig,
    cached: StdMutex<Option<Cached>>,
    /// Where tokens are asked for, once it was found out; forgotten after a failure.
    endpoint: StdMutex<Option<String>>,
    failed: StdMutex<Option<(Instant, Failure)>>,
}

#[derive(Clone, Debug)]
struct Cached {
    authorization: Authorization,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: SecretString,
    expires_in: Option<u64>,
}

/// Why the provider gave no token.
#[derive(Debug, thiserror::Error)]
enum OidcError {
    #[error("the identity provider answered {0}")]
    Status(StatusCode),
    #[error("the identity provider did not answer in time")]
    TimedOut,
    #[error("the identity provider gave no token")]
    Failed(#[source] Failure),
}

impl ClientCredentials {
    /// Asks nobody yet. The provider is reached with the block's own TLS settings.
    ///
    /// # Errors
    /// The TLS settings cannot be read.
    pub fn new(config: &ClientConfig) -> Result<Self, PeerError> {
        // The provider has TLS of its own, whatever the peer has.
        let provider = ClientConfig {
            protocol: Protocol::Https,
            ..config.clone()
        };
        let provider = Provider {
            transport: Transport::new(tls::client_config(&provider)?, &provider),
            config: provider,
            cached: StdMutex::new(None),
            endpoint: StdMutex::new(None),
            failed: StdMutex::new(None),
        };
        Ok(Self {
            provider: Arc::new(provider),
            asking: StdMutex::new(None),
        })
    }

    /// Whether a block asks for the same token of the same provider, reached in the same way.
    pub(crate) fn is_of(&self, config: &ClientConfig) -> bool {
        let ClientConfig {
            jwt_options,
            insecure_skip_verify,
            ca_cert_file,
            timeout,
            connect_timeout,
            ..
        } = &self.provider.config;
        jwt_options.is_like(&config.jwt_options)
            && *insecure_skip_verify == config.insecure_skip_verify
            && *ca_cert_file == config.ca_cert_file
            && *timeout == config.timeout
            && *connect_timeout == config.connect_timeout
    }

    /// What the task brings that asks for a token: the one that does, or a new one unless the last
    /// failed a moment ago.
    fn outcome(&self) -> Result<Outcome, OidcError> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((task, outcome)) = &*asking
            && !task.is_finished()
        {
            return Ok(outcome.clone());
        }
        // The last one may have ended since it was looked for.
        if let Some(authorization) = self.provider.cached() {
            return Ok(ready(Ok(authorization)).boxed().shared());
        }
        if let Some(error) = self.provider.failed() {
            return Err(error);
        }
        let provider = Arc::clone(&self.provider);
        let task = tokio::spawn(async move { provider.renew().await });
        let handle = task.abort_handle();
        let outcome = async move {
            task.await
                .unwrap_or_else(|lost| Err(Arc::new(lost) as Failure))
        };
        let outcome = outcome.boxed().shared();
        *asking = Some((handle, outcome.clone()));
        Ok(outcome)
    }
}

impl Provider {
    fn failed(&self) -> Option<OidcError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed
            .as_ref()
            .filter(|(at, _)| at.elapsed() < PAUSE)
            .map(|(_, error)| OidcError::Failed(Arc::clone(error)))
    }

    fn cached(&self) -> Option<Authorization> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached
            .as_ref()
            .filter(|cached| Instant::now() < cached.renew_at)
            .map(|cached| cached.authorization.clone())
    }

    /// Asks for a token and notes what came of it.
    async fn renew(&self) -> Result<Authorization, Failure> {
        let time = std_duration(self.config.timeout) / 2;
        let fetched = match tokio::time::timeout(time, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_elapsed) => Err(OidcError::TimedOut.into()),
        };
        metrics::token_refresh(if fetched.is_ok() { "ok" } else { "error" });
        match fetched {
            Ok(fetched) => {
                let authorization = fetched.authorization.clone();
                *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
                Ok(authorization)
            }
            Err(error) => {
                *self.endpoint() = None;
                let error = Failure::from(error);
                let failed = Some((Instant::now(), Arc::clone(&error)));
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
                Err(error)
            }
        }
    }

    async fn fetch(&self) -> Result<Cached, CredentialsError> {
        let endpoint = self.token_endpoint().await?;
        let mut answer = self.ask(&endpoint, SecretPlace::Header).await?;
        if matches!(
            answer.status,
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST
        ) {
            answer = self.ask(&endpoint, SecretPlace::Body).await?;
        }
        let reply: TokenReply = read(&answer)?;
        let lifetime = reply
            .expires_in
            .map_or(UNSAID_LIFETIME, Duration::from_secs)
            .min(LONGEST_LIFETIME);
        let margin = std_duration(self.config.jwt_options.refresh_margin);
        Ok(Cached {
            authorization: Authorization::bearer(&reply.access_token)?,
            // Half of a lifetime is used whatever the margin is.
            renew_at: Instant::now() + lifetime.saturating_sub(margin).max(lifetime / 2),
        })
    }

    fn endpoint(&self) -> MutexGuard<'_, Option<String>> {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn token_endpoint(&self) -> Result<String, CredentialsError> {
        let options = &self.config.jwt_options;
        if !options.token_url.is_empty() {
            return Ok(options.token_url.clone());
        }
        let known = self.endpoint().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let request = Request::get(&options.oidc_well_known).body(Full::default())?;
        let discovery: Discovery = read(&self.transport.send(request).await?)?;
        *self.endpoint() = Some(discovery.token_endpoint.clone());
        Ok(discovery.token_endpoint)
    }

    async fn ask(&self, endpoint: &str, place: SecretPlace) -> Result<Answer, CredentialsError> {
        let options = &self.config.jwt_options;
        let id = percent::encode(&options.oidc_client_id);
        let secret = options.oidc_client_secret.as_ref();
        let secret = percent::encode(secret.map_or("", |secret| secret.expose_secret()));
        let mut form = "grant_type=client_credentials".to_owned();
        let mut member = |name: &str, value: &str| {
            if !value.is_empty() {
                form.push_str(&format!("&{name}={}", percent::encode(value)));
            }
        };
        member("scope", &options.scopes.join(" "));
        member("audience", &options.audience);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(endpoint)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match place {
            SecretPlace::Header => {
                let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
                let mut basic = HeaderValue::from_str(&basic)?;
                basic.set_sensitive(true);
                request = request.header(AUTHORIZATION, basic);
            }
            SecretPlace::Body => {
                form.push_str(&format!("&client_id={id}&client_secret={secret}"));
            }
        }
        let request = request.body(Full::new(Bytes::from(form)))?;
        Ok(self.transport.send(request).await?)
    }
}

#[derive(Clone, Copy)]
enum SecretPlace {
    Header,
    Body,
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, CredentialsError> {
    if !answer.status.is_success() {
        return Err(OidcError::Status(answer.status).into());
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

#[async_trait]
impl Credentials for ClientCredentials {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        if let Some(authorization) = self.provider.cached() {
            return Ok(Some(authorization));
        }
        let authorization = self.outcome()?.await;
        Ok(Some(authorization.map_err(OidcError::Failed)?))
    }

    /// Only the refused one is dropped: another call may have renewed it meanwhile.
    fn refused(&self, refused: &Authorization) {
        let mut cached = self
            .provider
            .cached
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if cached
            .as_ref()
            .is_some_and(|cached| cached.authorization == *refused)
        {
            *cached = None;
        }
    }
}
