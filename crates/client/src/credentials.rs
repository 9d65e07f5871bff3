//! What a client presents: one port, one implementation per `auth_mode`.

mod login;
mod oidc;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::config::{ApiKeyOptions, AuthMode, ClientConfig};
use crate::peer::PeerError;

pub use login::{
    BrowserAnswer, BrowserLogin, DeviceCode, LoginClient, LoginError, LoginProvider, LoginTokens,
};
pub use oidc::ClientCredentials;

/// A header that authenticates; its value is marked sensitive and is not printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The header.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

impl Authorization {
    /// `Authorization: Bearer <token>`.
    ///
    /// # Errors
    /// The token has characters that no header may have.
    pub fn bearer(token: &SecretString) -> Result<Self, CredentialsError> {
        let value = format!("Bearer {}", token.expose_secret());
        Self::new(AUTHORIZATION, &value)
    }

    /// `Authorization: Basic …` (RFC 7617), in UTF-8.
    ///
    /// # Errors
    /// The name has a colon, which would end it.
    pub fn basic(name: &str, password: &SecretString) -> Result<Self, CredentialsError> {
        if name.contains(':') {
            return Err("a user name has no colon".into());
        }
        let pair = Zeroizing::new(format!("{name}:{}", password.expose_secret()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Self::new(AUTHORIZATION, &format!("Basic {}", &*encoded))
    }

    fn new(name: HeaderName, value: &str) -> Result<Self, CredentialsError> {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

/// Why there is no credential; goes to the log.
pub type CredentialsError = Box<dyn std::error::Error + Send + Sync>;

/// Gives what requests are authenticated with.
#[async_trait]
pub trait Credentials: Send + Sync + fmt::Debug {
    /// The header to send, if any. Cheap while it is cached.
    ///
    /// # Errors
    /// Whoever issues the credential does not.
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError>;

    /// The peer refused this header as invalid or expired: the next call must give a fresh one.
    fn refused(&self, refused: &Authorization);
}

/// Nothing is presented (`noauth`, and `mtls`, where TLS does it).
#[derive(Clone, Copy, Debug)]
pub struct NoAuth;

#[async_trait]
impl Credentials for NoAuth {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        Ok(None)
    }

    fn refused(&self, _: &Authorization) {}
}

/// A fixed key in a header (`apikey`).
#[derive(Clone, Debug)]
pub struct ApiKey(Authorization);

impl ApiKey {
    /// Reads the key, from its file where it is in one.
    ///
    /// # Errors
    /// The file cannot be read, or key or header are none.
    pub fn open(options: &ApiKeyOptions) -> Result<Self, CredentialsError> {
        let name: HeaderName = options.header.parse()?;
        let from_file;
        let key = match (&options.key, &options.key_file) {
            (Some(key), _) => key,
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path)?;
                from_file = SecretString::from(text.trim_end_matches(['\r', '\n']));
                &from_file
            }
            (None, None) => return Err("no key".into()),
        };
        if key.expose_secret().is_empty() {
            return Err("the key is empty".into());
        }
        Ok(Self(Authorization::new(name, key.expose_secret())?))
    }
}

#[async_trait]
impl Credentials for ApiKey {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        Ok(Some(self.0.clone()))
    }

    fn refused(&self, _: &Authorization) {}
}

/// A token that somebody was given (`Authorization: Bearer`).
#[derive(Clone, Debug)]
pub struct FixedToken(Authorization);

impl FixedToken {
    /// A client's own token.
    ///
    /// # Errors
    /// The token has characters that no header may have.
    pub fn new(token: &SecretString) -> Result<Self, CredentialsError> {
        Authorization::bearer(token).map(Self)
    }
}

#[async_trait]
impl Credentials for FixedToken {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        Ok(Some(self.0.clone()))
    }

    fn refused(&self, _: &Authorization) {}
}

/// Mints service tokens: the local issuer, as the program hands it in.
#[async_trait]
pub trait MintToken: Send + Sync + fmt::Debug {
    /// A token with role `service` that is good for some minutes at least. Called for every
    /// request, so it is cached by whoever implements it.
    ///
    /// # Errors
    /// The issuer's key cannot be read.
    async fn service_token(&self) -> Result<SecretString, CredentialsError>;

    /// The token was refused: the next call must give another one.
    fn refused(&self);
}

/// A service token of this installation's own issuer (`internal`).
#[derive(Clone, Debug)]
pub struct ServiceToken(pub Arc<dyn MintToken>);

#[async_trait]
impl Credentials for ServiceToken {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        let token = self.0.service_token().await?;
        Authorization::bearer(&token).map(Some)
    }

    fn refused(&self, _: &Authorization) {
        self.0.refused();
    }
}

/// The credentials of a process. Blocks that ask for the same token share it, so that the provider
/// is asked once and not once for every service that is called.
#[derive(Debug)]
pub struct Wallet {
    internal: Arc<dyn MintToken>,
    tokens: Mutex<Vec<Arc<ClientCredentials>>>,
}

impl Wallet {
    /// An empty one; `internal` is what mints tokens under `auth_mode: internal`.
    pub fn new(internal: Arc<dyn MintToken>) -> Self {
        Self {
            internal,
            tokens: Mutex::default(),
        }
    }

    /// The credentials that a block asks for.
    ///
    /// # Errors
    /// A key or the TLS settings cannot be read.
    pub fn credentials(&self, config: &ClientConfig) -> Result<Arc<dyn Credentials>, PeerError> {
        Ok(match config.auth_mode {
            AuthMode::Internal => Arc::new(ServiceToken(Arc::clone(&self.internal))),
            AuthMode::Noauth | AuthMode::Mtls => Arc::new(NoAuth),
            AuthMode::Jwt => self.tokens(config)?,
            AuthMode::Apikey => {
                Arc::new(ApiKey::open(&config.apikey_options).map_err(PeerError::Credentials)?)
            }
        })
    }

    fn tokens(&self, config: &ClientConfig) -> Result<Arc<ClientCredentials>, PeerError> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = tokens.iter().find(|one| one.is_of(config)) {
            return Ok(Arc::clone(shared));
        }
        let new = Arc::new(ClientCredentials::new(config)?);
        tokens.push(Arc::clone(&new));
        Ok(new)
    }
}
