//! What can be said about a configuration without reading anything.

use std::collections::BTreeSet;

use lamassu_core::permission::Role;

use super::{
    AuthConfig, AuthorizationConfig, ClientCertificateConfig, LOCAL_PROVIDER, Mappings, Pattern,
};

/// What is wrong with the block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The realm would break the header it is put into.
    #[error("authentication.realm holds a quote, a backslash or a control character")]
    Realm,
    /// A duration that must not be negative is.
    #[error("authentication.jwt.{key} is negative")]
    NegativeDuration {
        /// The key.
        key: &'static str,
    },
    /// A provider has no name, or the name of another one.
    #[error("authentication.jwt.providers: the name {name:?} is empty, reserved or used twice")]
    ProviderName {
        /// The name.
        name: String,
    },
    /// A provider has no keys, or keys from several places.
    #[error("provider {name:?} needs exactly one of jwks, jwks_file and public_key_files")]
    ProviderKeys {
        /// The provider.
        name: String,
    },
    /// Two providers take tokens of any issuer, so which one is meant is open.
    #[error("provider {name:?} has no issuer, and it is not the only one without")]
    SeveralWithoutIssuer {
        /// The second one.
        name: String,
    },
    /// Two providers take tokens of the same issuer.
    #[error("issuer {issuer:?} belongs to two providers")]
    SharedIssuer {
        /// The issuer.
        issuer: String,
    },
    /// One of several providers does not say what its own names mean.
    #[error(
        "provider {name:?} needs mappings of its own: those in authentication.authorization hold \
         only where it is the only provider"
    )]
    MappingsOfSeveral {
        /// The provider.
        name: String,
    },
    /// Client certificates are credentials, and it is not said whose.
    #[error(
        "authentication.client_certificate needs ca_cert_files, or a listener with mutual_tls in \
         validation mode strict"
    )]
    NoClientCa,
    /// A name in the mappings of certificates is no pattern.
    #[error(
        "authentication.client_certificate.role_mappings: {pattern:?} is empty or has more than \
         one *"
    )]
    Pattern {
        /// The text.
        pattern: String,
    },
    /// A fixed key has no name, or that of another one.
    #[error("authentication.api_keys: the name {name:?} is empty or used twice")]
    ApiKeyName {
        /// The name.
        name: String,
    },
    /// A fixed key cannot be one.
    #[error(
        "authentication.api_keys: {name:?} needs sha256, the digest of a key in 64 hex digits, and \
         a header that is not used otherwise"
    )]
    ApiKey {
        /// Its name.
        name: String,
    },
    /// A mapping names a role that does not exist.
    #[error("authentication maps {from:?} to the unknown role {role:?}")]
    UnknownRole {
        /// What is mapped.
        from: String,
        /// The name that is no built-in role.
        role: String,
    },
}

impl AuthConfig {
    /// Checks what can be checked without reading anything.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let breaks_header = |c: char| c == '"' || c == '\\' || c.is_control() || !c.is_ascii();
        if self.realm.contains(breaks_header) {
            return Err(ConfigError::Realm);
        }
        for (key, duration) in [
            ("clock_skew", self.jwt.clock_skew),
            ("max_token_age", self.jwt.max_token_age),
        ] {
            if time::Duration::from(duration).is_negative() {
                return Err(ConfigError::NegativeDuration { key });
            }
        }
        self.validate_providers()?;
        self.validate_mappings()?;
        self.client_certificate.validate()?;
        self.validate_api_keys()
    }

    /// The names of providers that accept any audience without saying so: each service that has
    /// a user's token of that provider can call here in the user's name.
    pub(crate) fn providers_without_audience(&self) -> impl Iterator<Item = &str> {
        let providers = self.jwt.providers.iter();
        providers
            .filter(|provider| provider.audiences.is_empty())
            .map(|provider| provider.name.as_str())
    }

    fn validate_api_keys(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::from([""]);
        for key in &self.api_keys {
            let name = key.name.clone();
            if !names.insert(&key.name) {
                return Err(ConfigError::ApiKeyName { name });
            }
            if key.header_name().is_none() || key.digest().is_none() {
                return Err(ConfigError::ApiKey { name });
            }
            validate_roles(&key.name, &key.roles)?;
        }
        Ok(())
    }

    fn validate_mappings(&self) -> Result<(), ConfigError> {
        let providers = &self.jwt.providers;
        let without = providers
            .iter()
            .find(|provider| provider.mappings.is_none());
        if let Some(provider) = without.filter(|_| providers.len() > 1) {
            let name = provider.name.clone();
            return Err(ConfigError::MappingsOfSeveral { name });
        }
        let mappings = providers
            .iter()
            .filter_map(|provider| provider.mappings.as_ref());
        mappings
            .chain([&self.authorization.mappings()])
            .try_for_each(Mappings::validate)
    }

    fn validate_providers(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::from([LOCAL_PROVIDER, ""]);
        let mut issuers = BTreeSet::new();
        let mut n_without_issuer = 0;
        for provider in &self.jwt.providers {
            let name = provider.name.clone();
            if !names.insert(&provider.name) {
                return Err(ConfigError::ProviderName { name });
            }
            let n_sources = usize::from(provider.jwks.is_some())
                + usize::from(provider.jwks_file.is_some())
                + usize::from(!provider.public_key_files.is_empty());
            if n_sources != 1 {
                return Err(ConfigError::ProviderKeys { name });
            }
            let own = provider.issuer.to_vec();
            n_without_issuer += usize::from(own.is_empty());
            if own.is_empty() && n_without_issuer > 1 {
                return Err(ConfigError::SeveralWithoutIssuer { name });
            }
            for issuer in own {
                if !issuers.insert(issuer.clone()) {
                    return Err(ConfigError::SharedIssuer { issuer });
                }
            }
        }
        Ok(())
    }
}

impl AuthorizationConfig {
    /// The mappings without the rest.
    pub(crate) fn mappings(&self) -> Mappings {
        Mappings {
            roles: self.role_mappings.clone(),
            subjects: self.subject_mappings.clone(),
            clients: self.client_mappings.clone(),
        }
    }
}

impl Mappings {
    fn validate(&self) -> Result<(), ConfigError> {
        let Self {
            roles,
            subjects,
            clients,
        } = self;
        let mut all = [roles, subjects, clients].into_iter().flatten();
        all.try_for_each(|(from, roles)| validate_roles(from, roles))
    }
}

impl ClientCertificateConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.enabled && self.ca_cert_files.is_empty() {
            return Err(ConfigError::NoClientCa);
        }
        for (text, roles) in &self.role_mappings {
            if Pattern::parse(text).is_none() {
                let pattern = text.clone();
                return Err(ConfigError::Pattern { pattern });
            }
            validate_roles(text, roles)?;
        }
        Ok(())
    }
}

fn validate_roles(from: &str, roles: &[String]) -> Result<(), ConfigError> {
    match roles.iter().find(|role| Role::from_name(role).is_none()) {
        Some(role) => Err(ConfigError::UnknownRole {
            from: from.to_owned(),
            role: role.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{AuthConfig, ProviderConfig};

    #[test]
    fn an_audience_that_is_not_written_is_worth_a_warning() {
        let mut config = AuthConfig::default();
        for (name, audiences) in [("a", &["api"][..]), ("b", &[]), ("c", &["*"])] {
            config.jwt.providers.push(ProviderConfig {
                name: name.to_owned(),
                audiences: audiences.iter().map(|&one| one.to_owned()).collect(),
                ..ProviderConfig::default()
            });
        }
        let without: Vec<_> = config.providers_without_audience().collect();
        assert_eq!(without, ["b"]);
    }
}
