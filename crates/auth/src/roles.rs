//! From what a token says to what it may do.

use std::collections::{BTreeMap, HashMap};

use lamassu_core::permission::Role;
use lamassu_http::{Authority, ScopeGrant};

use crate::claims::Claims;
use crate::config::{AuthorizationConfig, Mappings, ProviderConfig};
use crate::provider::{Provider, RoleNames};

/// The mappings of a configuration, by the name of the provider whose tokens they are for.
#[derive(Clone, Debug)]
pub(crate) struct RoleMapping {
    by_provider: HashMap<String, ProviderMapping>,
    scope_prefix: String,
}

/// The mappings of one provider, with role names read once.
#[derive(Clone, Debug)]
struct ProviderMapping {
    by_role: HashMap<String, Vec<Role>>,
    by_subject: HashMap<String, Vec<Role>>,
    by_client: HashMap<String, Vec<Role>>,
}

impl RoleMapping {
    /// Names that are no built-in role grant nothing; validation refuses them beforehand, as it
    /// does the lack of mappings where there are several providers.
    pub(crate) fn new(providers: &[ProviderConfig], config: &AuthorizationConfig) -> Self {
        let of_provider = |provider: &ProviderConfig| {
            let mapping = match &provider.mappings {
                Some(mappings) => ProviderMapping::new(mappings),
                None => ProviderMapping::new(&config.mappings()),
            };
            (provider.name.clone(), mapping)
        };
        Self {
            by_provider: providers.iter().map(of_provider).collect(),
            scope_prefix: config.scope_prefix.clone(),
        }
    }

    /// The union of what roles, subject, client and scopes grant; each role once.
    pub(crate) fn authority(
        &self,
        provider: &Provider,
        subject: &str,
        claims: &Claims,
    ) -> Authority {
        let names = claims.first_list(&provider.roles_claim).unwrap_or_default();
        let mut roles: Vec<Role> = match provider.role_names {
            RoleNames::BuiltIn => names.into_iter().filter_map(Role::from_name).collect(),
            RoleNames::Mapped => self
                .by_provider
                .get(&*provider.name)
                .map(|mapping| mapping.roles(&names, subject, claims))
                .unwrap_or_default(),
        };
        roles.sort_by_key(|role| role.name());
        roles.dedup();
        let scopes = self.scopes(provider, claims);
        Authority::Granted { roles, scopes }
    }

    fn scopes(&self, provider: &Provider, claims: &Claims) -> Vec<ScopeGrant> {
        let texts = claims
            .first_list(&provider.scopes_claim)
            .unwrap_or_default();
        texts
            .iter()
            .flat_map(|text| text.split(' '))
            .filter_map(|scope| scope.strip_prefix(&*self.scope_prefix))
            .filter_map(ScopeGrant::parse)
            .collect()
    }
}

impl ProviderMapping {
    fn new(mappings: &Mappings) -> Self {
        Self {
            by_role: read(&mappings.roles),
            by_subject: read(&mappings.subjects),
            by_client: read(&mappings.clients),
        }
    }

    fn roles(&self, names: &[&str], subject: &str, claims: &Claims) -> Vec<Role> {
        let client = claims.text("azp").or_else(|| claims.text("client_id"));
        let by_role = names.iter().filter_map(|&name| self.by_role.get(name));
        let by_subject = self.by_subject.get(subject);
        let by_client = client.and_then(|client| self.by_client.get(client));
        by_role
            .chain(by_subject)
            .chain(by_client)
            .flatten()
            .copied()
            .collect()
    }
}

fn read(mappings: &BTreeMap<String, Vec<String>>) -> HashMap<String, Vec<Role>> {
    let mappings = mappings.iter();
    mappings
        .map(|(from, names)| (from.clone(), named_roles(names)))
        .collect()
}

/// The built-in roles of these names; what is none grants nothing.
pub(crate) fn named_roles(names: &[String]) -> Vec<Role> {
    let roles = names.iter().filter_map(|name| Role::from_name(name));
    roles.collect()
}
