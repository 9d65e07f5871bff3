//! Tokens of a person at an OpenID provider, as a program without a secret gets them: by a code
//! that is typed in anywhere (RFC 8628), or by a browser on this machine (RFC 8252 with RFC 7636),
//! renewed by their refresh token (RFC 6749 section 6).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use lamassu_core::host::is_this_machine;
use lamassu_core::percent;
use lamassu_crypto::HashAlgorithm;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::config::{ClientConfig, Protocol};
use crate::tls;
use crate::transport::{Answer, Transport};

/// How long a provider may take for an answer. A call that renews a login waits for two answers, and
/// has three times as long: nobody gives up while a refresh token that is good once is being used.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a token lasts whose provider does not say.
const UNSAID_LIFETIME: Duration = Duration::from_secs(60);

/// How often a provider that does not say is asked whether the code was typed in, and how much
/// longer it waits whenever the provider finds that too often (RFC 8628 section 3.5).
const POLLING: Duration = Duration::from_secs(5);

/// Random octets of a state and of a verifier (RFC 7636 section 7.1 wants 32).
const N_RANDOM: usize = 32;

/// Where a provider's description stands, behind its issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A URL of the provider cannot be used.
    #[error(
        "{0}: an address of an identity provider begins with https:// (http:// on this machine only)"
    )]
    Address(String),
    /// The provider describes itself as another one (OpenID Connect Discovery section 4.3).
    #[error("the provider at {asked} calls itself {found}")]
    OtherIssuer {
        /// Who was asked.
        asked: String,
        /// Who answered.
        found: String,
    },
    /// The provider has no endpoint for this way of logging in.
    #[error("the identity provider does not offer this way of logging in ({0})")]
    NotOffered(&'static str),
    /// The provider refused (RFC 6749 section 5.2).
    #[error("the identity provider refused: {error}{}{description}", if description.is_empty() { "" } else { ": " })]
    Refused {
        /// Its code.
        error: String,
        /// What it says to that, perhaps nothing.
        description: String,
    },
    /// The provider gave an access token of its own kind, and no id token with it.
    #[error(
        "the identity provider gave no token that a server can read: neither is its access token a JWT, \
         nor did an id token come with it"
    )]
    Opaque,
    /// The code was not typed in in time.
    #[error("the code was not typed in in time")]
    Expired,
    /// What the browser brings does not belong to what was asked for.
    #[error("the answer in the browser belongs to no login that was begun here")]
    OtherLogin,
    /// The answer is none of an identity provider.
    #[error("the identity provider answered {0}")]
    Status(StatusCode),
    /// The answer cannot be read.
    #[error("the answer of the identity provider cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// Nobody answered.
    #[error("the identity provider cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which provider, and who asks it.
#[derive(Clone, Debug)]
pub struct LoginClient {
    /// The provider's issuer, or the URL of its description.
    pub provider: String,
    /// The client's id. It has no secret.
    pub client_id: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Whom the token is for (RFC 8707), where the provider wants to be told.
    pub resource: Option<String>,
    /// PEM file of a trust anchor beside those of the system.
    pub ca_file: Option<PathBuf>,
}

/// A provider that has been asked what it offers.
#[derive(Debug)]
pub struct LoginProvider {
    transport: Transport,
    discovery: Discovery,
    client: LoginClient,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    token_endpoint: String,
    authorization_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
}

/// What a login brings.
#[derive(Clone, Debug)]
pub struct LoginTokens {
    /// What is presented: the access token, or the id token where that is none that a server can
    /// read (a provider's own, opaque one).
    pub token: SecretString,
    /// What the next token is had for.
    pub refresh_token: Option<SecretString>,
    /// How long the token is good.
    pub lifetime: Duration,
}

/// A code that somebody types in.
#[derive(Clone, Debug, Deserialize)]
pub struct DeviceCode {
    device_code: SecretString,
    /// What is typed in.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// An address that holds the code already.
    pub verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// A login that goes on in a browser.
#[derive(Debug)]
pub struct BrowserLogin {
    /// What the browser opens.
    pub url: String,
    redirect_uri: String,
    state: String,
    verifier: SecretString,
}

/// What the browser brings back.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct BrowserAnswer {
    /// The authorization code.
    pub code: Option<SecretString>,
    /// What was sent along.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// What is said to that.
    pub error_description: Option<String>,
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: SecretString,
    id_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct ErrorReply {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl LoginProvider {
    /// Asks the provider what it offers.
    ///
    /// # Errors
    /// It cannot be reached, or is another one.
    pub async fn discover(client: LoginClient) -> Result<Self, LoginError> {
        let config = ClientConfig {
            protocol: Protocol::Https,
            ca_cert_file: client.ca_file.clone(),
            ..ClientConfig::default()
        };
        let tls =
            tls::client_config(&config).map_err(|error| LoginError::Unreachable(error.into()))?;
        let transport = Transport::new(tls, &config);
        let issuer = client.provider.trim_end_matches('/');
        let issuer = issuer.strip_suffix(WELL_KNOWN).unwrap_or(issuer).to_owned();
        let request = Request::get(address(&format!("{issuer}{WELL_KNOWN}"))?);
        let answer = sent(&transport, request, String::new()).await?;
        let discovery: Discovery = read(&answer)?;
        if discovery.issuer.trim_end_matches('/') != issuer {
            return Err(LoginError::OtherIssuer {
                asked: issuer,
                found: discovery.issuer,
            });
        }
        Ok(Self {
            transport,
            discovery,
            client,
        })
    }

    /// Asks for a code that somebody types in (RFC 8628 section 3.1).
    ///
    /// # Errors
    /// The provider offers none, or refuses.
    pub async fn device_code(&self) -> Result<DeviceCode, LoginError> {
        let endpoint = self.discovery.device_authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or(LoginError::NotOffered("device code"))?;
        let answer = self.post(endpoint, &self.request(&[])).await?;
        read(&answer)
    }

    /// Waits until the code was typed in.
    ///
    /// # Errors
    /// It was not, or the person refused.
    pub async fn typed_in(&self, code: &DeviceCode) -> Result<LoginTokens, LoginError> {
        let end = Instant::now() + Duration::from_secs(code.expires_in.min(3600));
        let mut pause = code.interval.map_or(POLLING, Duration::from_secs);
        loop {
            let due = Instant::now() + pause;
            if due >= end {
                return Err(LoginError::Expired);
            }
            tokio::time::sleep_until(due.into()).await;
            let grant = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", code.device_code.expose_secret()),
            ];
            match self.ask_for_token(&grant).await {
                Err(LoginError::Refused { error, .. }) if error == "authorization_pending" => {}
                Err(LoginError::Refused { error, .. }) if error == "slow_down" => pause += POLLING,
                Err(LoginError::Refused { error, .. }) if error == "expired_token" => {
                    return Err(LoginError::Expired);
                }
                // Section 3.5: a connection that broke is no refusal.
                Err(LoginError::Unreachable(_)) => pause += POLLING,
                done => return done,
            }
        }
    }

    /// Begins a login in a browser, which ends at `redirect_uri`.
    ///
    /// # Errors
    /// The provider offers none, or there is no randomness.
    pub fn in_browser(&self, redirect_uri: String) -> Result<BrowserLogin, LoginError> {
        let endpoint = self.discovery.authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or(LoginError::NotOffered("authorization code"))?;
        address(endpoint)?;
        let state = random()?;
        let verifier = random()?;
        let challenge = URL_SAFE_NO_PAD.encode(HashAlgorithm::Sha256.digest(verifier.as_bytes()));
        let query = self.request(&[
            ("response_type", "code"),
            ("redirect_uri", &redirect_uri),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        Ok(BrowserLogin {
            url: format!("{endpoint}{separator}{query}"),
            redirect_uri,
            state,
            verifier: verifier.into(),
        })
    }

    /// Turns what the browser brought into tokens.
    ///
    /// # Errors
    /// It belongs to another login, or the person or the provider refused.
    pub async fn brought_back(
        &self,
        login: &BrowserLogin,
        answer: BrowserAnswer,
    ) -> Result<LoginTokens, LoginError> {
        let issuer = answer.iss.as_ref();
        if answer.state.as_ref() != Some(&login.state)
            || issuer.is_some_and(|issuer| *issuer != self.discovery.issuer)
        {
            return Err(LoginError::OtherLogin);
        }
        if let Some(error) = answer.error {
            return Err(LoginError::Refused {
                error,
                description: answer.error_description.unwrap_or_default(),
            });
        }
        let code = answer.code.ok_or(LoginError::OtherLogin)?;
        self.ask_for_token(&[
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &login.redirect_uri),
            ("code_verifier", login.verifier.expose_secret()),
        ])
        .await
    }

    /// The next token. A provider that gives no new refresh token goes on taking this one.
    ///
    /// # Errors
    /// The refresh token is no longer good: [`LoginError::Refused`].
    pub async fn renewed(&self, refresh_token: &SecretString) -> Result<LoginTokens, LoginError> {
        let mut tokens = self
            .ask_for_token(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token.expose_secret()),
            ])
            .await?;
        tokens
            .refresh_token
            .get_or_insert_with(|| refresh_token.clone());
        Ok(tokens)
    }

    /// A request for an authorization: who asks, for what, and the rest.
    fn request(&self, rest: &[(&str, &str)]) -> String {
        let scopes = self.client.scopes.join(" ");
        let mut members = vec![
            ("client_id", self.client.client_id.as_str()),
            ("scope", &scopes),
        ];
        members.extend(self.resource());
        members.extend(rest);
        form(&members)
    }

    fn resource(&self) -> Option<(&'static str, &str)> {
        let resource = self.client.resource.as_deref();
        resource.map(|resource| ("resource", resource))
    }

    async fn ask_for_token(&self, grant: &[(&str, &str)]) -> Result<LoginTokens, LoginError> {
        let mut members = grant.to_vec();
        members.push(("client_id", &self.client.client_id));
        members.extend(self.resource());
        let endpoint = &self.discovery.token_endpoint;
        let reply: TokenReply = read(&self.post(endpoint, &form(&members)).await?)?;
        let token = match reply.id_token {
            _ if is_jwt(&reply.access_token) => reply.access_token,
            Some(id_token) => id_token,
            None => return Err(LoginError::Opaque),
        };
        Ok(LoginTokens {
            token,
            refresh_token: reply.refresh_token,
            lifetime: reply
                .expires_in
                .map_or(UNSAID_LIFETIME, Duration::from_secs),
        })
    }

    async fn post(&self, endpoint: &str, form: &str) -> Result<Answer, LoginError> {
        let request = Request::post(address(endpoint)?)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        sent(&self.transport, request, form.to_owned()).await
    }
}

async fn sent(
    transport: &Transport,
    request: http::request::Builder,
    body: String,
) -> Result<Answer, LoginError> {
    let request = request
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| LoginError::Unreachable(error.into()))?;
    match tokio::time::timeout(PATIENCE, transport.send(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(LoginError::Unreachable(error.into())),
        Err(elapsed) => Err(LoginError::Unreachable(elapsed.into())),
    }
}

/// What stands in an answer; a refusal in the words of RFC 6749 section 5.2 is one of those.
fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, LoginError> {
    if answer.status.is_success() {
        return Ok(serde_json::from_slice(&answer.body)?);
    }
    match serde_json::from_slice::<ErrorReply>(&answer.body) {
        Ok(refusal) if answer.status.is_client_error() => Err(LoginError::Refused {
            error: refusal.error,
            description: refusal.error_description,
        }),
        Ok(_) | Err(_) => Err(LoginError::Status(answer.status)),
    }
}

/// An address that codes and tokens may be sent to: with TLS, or on this machine.
fn address(url: &str) -> Result<Uri, LoginError> {
    let wrong = || LoginError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?;
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_this_machine(host) => Ok(uri),
        _ => Err(wrong()),
    }
}

/// Three parts of base64url, as every JWT in compact form has.
fn is_jwt(token: &SecretString) -> bool {
    token.expose_secret().split('.').count() == 3
}

fn form(members: &[(&str, &str)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{name}={}", percent::encode(value)))
        .collect();
    members.join("&")
}

fn random() -> Result<String, LoginError> {
    let mut octets = [0; N_RANDOM];
    getrandom::fill(&mut octets).map_err(|error| LoginError::Unreachable(error.into()))?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}
