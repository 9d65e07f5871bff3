//! Who issues tokens that are accepted, and where their keys come from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::{ProviderConfig, TokenAlgorithm};
use crate::keys::{JwksError, KeySet, VerificationKey};

/// Gives the keys of a provider.
#[async_trait]
pub trait KeySource: Send + Sync + fmt::Debug {
    /// The keys known now; `None` when there have never been any.
    async fn keys(&self) -> Option<Arc<KeySet>>;

    /// Looks again because a token names a key that is not in the set of generation `known`.
    /// Implementations do so once for many callers and limit how often.
    async fn keys_after(&self, known: u64) -> Option<Arc<KeySet>>;
}

/// Keys from the configuration, which never change.
#[derive(Clone, Debug)]
pub struct StaticKeys(pub Arc<KeySet>);

#[async_trait]
impl KeySource for StaticKeys {
    async fn keys(&self) -> Option<Arc<KeySet>> {
        Some(Arc::clone(&self.0))
    }

    async fn keys_after(&self, _: u64) -> Option<Arc<KeySet>> {
        Some(Arc::clone(&self.0))
    }
}

/// Whose role names a provider's tokens carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleNames {
    /// Those of this program: the local issuer.
    BuiltIn,
    /// Its own, which mean what the configuration maps them to.
    Mapped,
}

/// One issuer of tokens.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Name in logs and metrics.
    pub name: Arc<str>,
    /// Accepted values of `iss`; empty accepts any that belongs to no other provider.
    pub issuers: Vec<String>,
    /// Accepted audiences; empty or `*` accepts any.
    pub audiences: Vec<String>,
    /// Claims that may hold the audience; the first one present counts.
    pub audience_claims: Vec<String>,
    /// Accepted algorithms.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where the roles are.
    pub roles_claim: Vec<String>,
    /// Where the scopes are.
    pub scopes_claim: Vec<String>,
    /// Where the subject is.
    pub subject_claim: String,
    /// What the role names mean.
    pub role_names: RoleNames,
    /// Its keys.
    pub keys: Arc<dyn KeySource>,
}

/// Why a configured provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A file of keys cannot be read.
    #[error("{file} cannot be read")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What it says are keys are none.
    #[error("keys of provider {name:?} cannot be used")]
    Keys {
        /// The provider.
        name: String,
        /// Why.
        #[source]
        source: JwksError,
    },
}

impl Provider {
    /// The provider of a configuration block; reads its key files.
    ///
    /// # Errors
    /// When a file cannot be read or holds no keys.
    pub fn from_config(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            issuers: config.issuer.to_vec(),
            audiences: config.audiences.clone(),
            audience_claims: config
                .audience_claims
                .clone()
                .unwrap_or_else(|| texts(&["aud"])),
            algorithms: config
                .algorithms
                .clone()
                .unwrap_or_else(|| TokenAlgorithm::ALL.to_vec()),
            roles_claim: match &config.roles_claim {
                Some(claims) => claims.to_vec(),
                None => texts(&["realm_access.roles"]),
            },
            scopes_claim: match &config.scopes_claim {
                Some(claims) => claims.to_vec(),
                None => texts(&["scope", "scp"]),
            },
            subject_claim: config
                .subject_claim
                .clone()
                .unwrap_or_else(|| "sub".to_owned()),
            role_names: RoleNames::Mapped,
            keys: Arc::new(StaticKeys(Arc::new(read_keys(config)?))),
        })
    }
}

fn read_keys(config: &ProviderConfig) -> Result<KeySet, ProviderError> {
    let unusable = |source| ProviderError::Keys {
        name: config.name.clone(),
        source,
    };
    if let Some(json) = &config.jwks {
        return KeySet::from_jwks(json.as_bytes(), 0).map_err(unusable);
    }
    if let Some(file) = &config.jwks_file {
        return KeySet::from_jwks(&read_file(file)?, 0).map_err(unusable);
    }
    let mut keys = Vec::with_capacity(config.public_key_files.len());
    for file in &config.public_key_files {
        keys.push(VerificationKey::from_pem(&read_file(file)?).map_err(unusable)?);
    }
    KeySet::try_new(keys, 0).map_err(unusable)
}

fn read_file(file: &Path) -> Result<Vec<u8>, ProviderError> {
    std::fs::read(file).map_err(|source| ProviderError::Unreadable {
        file: file.display().to_string(),
        source,
    })
}
