//! The installation's own token issuer: ES256 keys in the database, shared by all replicas.
//!
//! A key signs for 90 days. Its successor is made and published ten minutes before it takes over,
//! and the old key stays published until the longest token that it signed has expired. So neither
//! replicas nor foreign readers of the key set ever meet a token whose key they cannot know.

mod error;
mod rotation;
mod signing_key;
mod store;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use lamassu_core::clock::SharedClock;
use lamassu_core::permission::Role;
use lamassu_db::{Db, installation_id};
use secrecy::SecretString;
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use uuid::Uuid;

pub use error::IssuerError;
pub use rotation::KeyRotation;
use rotation::{published, rotate_if_due, successor_due};
pub(crate) use signing_key::Jwks;
use signing_key::SigningKey;

use crate::config::{LOCAL_PROVIDER, TokenAlgorithm};
use crate::keys::KeySet;
use crate::provider::{KeySource, Provider, RoleNames};

/// The longest life of a token of ours.
pub const MAX_TOKEN_TTL: Duration = Duration::days(90);
/// Keys are read again when the last time is so long ago: another replica may have rotated.
const RELOAD_AFTER: Duration = Duration::minutes(5);
/// A token with an unknown key makes us read again at most so often.
const RELOAD_LIMIT: Duration = Duration::seconds(1);
/// The audience of our tokens.
const AUDIENCE: &str = "lamassu";

/// A fresh token.
#[derive(Debug)]
pub struct Minted {
    /// The token, for `Authorization: Bearer`.
    pub token: SecretString,
    /// When it expires, whole seconds.
    pub expires_at: OffsetDateTime,
}

/// The local issuer.
#[derive(Debug)]
pub struct LocalIssuer {
    name: String,
    db: Db,
    clock: SharedClock,
    loaded: RwLock<Arc<Loaded>>,
    /// Held while reading again, so that many callers cause one read.
    reloading: Mutex<()>,
}

/// The keys as last read: oldest first, never empty.
#[derive(Debug)]
struct Loaded {
    keys: Vec<SigningKey>,
    set: Arc<KeySet>,
    at: OffsetDateTime,
}

#[derive(Serialize)]
struct TokenClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'static str,
    iat: i64,
    exp: i64,
    jti: String,
    roles: Vec<&'static str>,
}

impl LocalIssuer {
    /// Opens the issuer of an installation, making its first key or a due successor.
    ///
    /// # Errors
    /// When the database does not answer or holds keys that are none.
    pub async fn open(db: &Db, clock: SharedClock) -> Result<Self, IssuerError> {
        db.migrate(store::SCHEMA).await?;
        rotate_if_due(db, clock.now()).await?;
        Self::open_existing(db, clock).await
    }

    /// Opens the issuer without making or rotating keys: for a command that mints a token beside
    /// a running server.
    ///
    /// # Errors
    /// [`IssuerError::NoKey`] before the installation's first start.
    pub async fn open_existing(db: &Db, clock: SharedClock) -> Result<Self, IssuerError> {
        let name = format!("urn:lamassu:{}", installation_id(db).await?);
        let loaded = load(db, clock.now()).await?;
        Ok(Self {
            name,
            db: db.clone(),
            clock,
            loaded: RwLock::new(Arc::new(loaded)),
            reloading: Mutex::new(()),
        })
    }

    /// Claim `iss` of its tokens: `urn:lamassu:<installation id>`, whatever host and port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The issuer as a provider of [`Auth`](crate::Auth).
    pub(crate) fn provider(issuer: &Arc<Self>) -> Provider {
        Provider {
            name: Arc::from(LOCAL_PROVIDER),
            issuers: vec![issuer.name.clone()],
            audiences: vec![AUDIENCE.to_owned()],
            audience_claims: vec!["aud".to_owned()],
            algorithms: vec![TokenAlgorithm::ES256],
            roles_claim: vec!["roles".to_owned()],
            scopes_claim: vec!["scope".to_owned()],
            subject_claim: "sub".to_owned(),
            role_names: RoleNames::BuiltIn,
            keys: Arc::<Self>::clone(issuer),
        }
    }

    /// Signs a token for `subject` with these roles. One signature, and a read every five minutes.
    ///
    /// # Errors
    /// [`IssuerError::Ttl`], or what keeps the keys from being used.
    pub async fn mint(
        &self,
        subject: &str,
        roles: &[Role],
        ttl: Duration,
    ) -> Result<Minted, IssuerError> {
        if ttl < Duration::SECOND || ttl > MAX_TOKEN_TTL {
            return Err(IssuerError::Ttl);
        }
        let now = self.clock.now();
        let loaded = self.current().await?;
        let key = loaded.signer(now).ok_or(IssuerError::NoKey)?;
        let issued_at = now.unix_timestamp();
        let expires_at = issued_at.saturating_add(ttl.whole_seconds());
        let token = key.sign(&TokenClaims {
            iss: &self.name,
            sub: subject,
            aud: AUDIENCE,
            iat: issued_at,
            exp: expires_at,
            jti: Uuid::new_v4().to_string(),
            roles: roles.iter().map(|role| role.name()).collect(),
        })?;
        Ok(Minted {
            token: SecretString::from(token),
            expires_at: OffsetDateTime::from_unix_timestamp(expires_at)
                .map_err(|_| IssuerError::Ttl)?,
        })
    }

    /// The published keys: those that sign, will sign, or have signed tokens still alive.
    ///
    /// # Errors
    /// What keeps the keys from being read.
    pub(crate) async fn jwks(&self) -> Result<Jwks, IssuerError> {
        Ok(Jwks::of(&self.current().await?.keys))
    }

    /// Makes the next key when the current one has almost signed long enough, and forgets keys
    /// whose last token has expired. Gives the time when a key becomes due; any number of
    /// replicas may call it, [`KeyRotation`] does.
    ///
    /// # Errors
    /// What keeps keys from being read or stored.
    pub async fn rotate(&self) -> Result<OffsetDateTime, IssuerError> {
        rotate_if_due(&self.db, self.clock.now()).await?;
        let loaded = self.reload().await?;
        let newest = loaded.keys.last().ok_or(IssuerError::NoKey)?;
        Ok(successor_due(newest))
    }

    /// Replaces all keys at once, which ends every token issued before; on other replicas within
    /// five minutes.
    ///
    /// # Errors
    /// What keeps keys from being read or stored.
    pub async fn replace_keys(&self) -> Result<(), IssuerError> {
        let keys = store::keys(&self.db).await?;
        let generation = keys.last().map_or(0, SigningKey::generation) + 1;
        let key = SigningKey::generate(generation, self.clock.now())?;
        store::replace_all(&self.db, &key).await?;
        self.reload().await.map(drop)
    }

    /// The keys, read again when the last time is long ago; the old ones while the database is
    /// away.
    async fn current(&self) -> Result<Arc<Loaded>, IssuerError> {
        let loaded = self.last_loaded();
        if self.clock.now() - loaded.at < RELOAD_AFTER {
            return Ok(loaded);
        }
        match self
            .reload_unless(|loaded, now| now - loaded.at < RELOAD_AFTER)
            .await
        {
            Ok(fresh) => Ok(fresh),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "keys of the token issuer not read again"
                );
                Ok(loaded)
            }
        }
    }

    async fn reload(&self) -> Result<Arc<Loaded>, IssuerError> {
        self.reload_unless(|_, _| false).await
    }

    /// Reads the keys again, unless whoever held the lock before has done so.
    async fn reload_unless(
        &self,
        is_fresh: impl Fn(&Loaded, OffsetDateTime) -> bool + Send,
    ) -> Result<Arc<Loaded>, IssuerError> {
        let _single_flight = self.reloading.lock().await;
        let now = self.clock.now();
        let loaded = self.last_loaded();
        if is_fresh(&loaded, now) {
            return Ok(loaded);
        }
        let fresh = Arc::new(load(&self.db, now).await?);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }

    fn last_loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl KeySource for LocalIssuer {
    async fn keys(&self) -> Option<Arc<KeySet>> {
        let loaded = self.current().await.ok()?;
        Some(Arc::clone(&loaded.set))
    }

    async fn keys_after(&self, known: u64) -> Option<Arc<KeySet>> {
        let is_fresh = |loaded: &Loaded, now| {
            loaded.set.generation() != known || now - loaded.at < RELOAD_LIMIT
        };
        let loaded = match self.reload_unless(is_fresh).await {
            Ok(fresh) => fresh,
            Err(_unreadable) => self.last_loaded(),
        };
        Some(Arc::clone(&loaded.set))
    }
}

impl Loaded {
    /// The newest key that may sign by now.
    fn signer(&self, now: OffsetDateTime) -> Option<&SigningKey> {
        let active = self.keys.iter().rev().find(|key| key.active_from() <= now);
        // A clock that was set back must not stop the issuer.
        active.or_else(|| self.keys.first())
    }
}

async fn load(db: &Db, now: OffsetDateTime) -> Result<Loaded, IssuerError> {
    let keys = published(store::keys(db).await?, now);
    let generation = keys.last().ok_or(IssuerError::NoKey)?.generation();
    let set = serde_json::to_vec(&Jwks::of(&keys))
        .map_err(|error| IssuerError::Unusable(error.into()))?;
    Ok(Loaded {
        set: Arc::new(KeySet::from_jwks(&set, generation)?),
        keys,
        at: now,
    })
}
