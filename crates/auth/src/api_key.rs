//! Fixed keys in a header, for callers that know neither tokens nor certificates.
//!
//! The configuration holds digests, so that who reads it cannot call. Keys are random and long, not
//! chosen by people: one plain SHA-256 is enough, and a comparison of digests tells nothing about
//! the key.

use http::{HeaderMap, HeaderName};
use lamassu_core::caller::Principal;
use lamassu_core::permission::Role;
use lamassu_crypto::HashAlgorithm;
use lamassu_http::{Authority, Identity};

use crate::config::ApiKeyConfig;
use crate::refusal::Refusal;
use crate::roles::named_roles;

/// The keys of a configuration.
#[derive(Debug)]
pub(crate) struct ApiKeys(Vec<ApiKey>);

#[derive(Debug)]
struct ApiKey {
    header: HeaderName,
    digest: Vec<u8>,
    subject: String,
    roles: Vec<Role>,
}

impl ApiKeys {
    /// What is no header or no digest, which validation refuses beforehand, lets nobody in.
    pub(crate) fn new(configs: &[ApiKeyConfig]) -> Self {
        let keys = configs.iter().filter_map(|config| {
            Some(ApiKey {
                header: config.header_name()?,
                digest: config.digest()?,
                subject: config.subject().to_owned(),
                roles: named_roles(&config.roles),
            })
        });
        Self(keys.collect())
    }

    /// Whose key is in the headers; `None` when there is none.
    pub(crate) fn identity(&self, headers: &HeaderMap) -> Result<Option<Identity>, Refusal> {
        let mut refusal = None;
        for key in &self.0 {
            let mut values = headers.get_all(&key.header).iter();
            match (values.next(), values.next()) {
                (None, _) => {}
                (Some(value), None)
                    if HashAlgorithm::Sha256.digest(value.as_bytes()) == key.digest =>
                {
                    return Ok(Some(key.identity()));
                }
                // Proxies might look at different ones.
                (Some(_), _) => refusal = Some(Refusal::ApiKey),
            }
        }
        refusal.map_or(Ok(None), Err)
    }
}

impl ApiKey {
    fn identity(&self) -> Identity {
        Identity {
            principal: Principal::ApiKey {
                subject: self.subject.clone(),
            },
            authority: Authority::Granted {
                roles: self.roles.clone(),
                scopes: Vec::new(),
            },
            expires_at: None,
        }
    }
}
