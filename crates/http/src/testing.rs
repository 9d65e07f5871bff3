//! For the tests of services: authenticators, since those tests are about rules and not about
//! credentials, and a recorder that tells which metrics appeared.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::request::Parts;
use lamassu_core::caller::Principal;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::{Permission, Role};

use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::identity::{Authenticator, Authority, Identity};
use crate::refusal::AuthRefusal;

/// Lets everybody do everything, as nobody in particular.
#[derive(Clone, Copy, Debug)]
pub struct AllowAll;

#[async_trait]
impl Authenticator for AllowAll {
    async fn authenticate(&self, _: &Parts) -> Result<Identity, AuthRefusal> {
        Ok(Identity {
            authority: Authority::Everything,
            ..Identity::anonymous()
        })
    }

    async fn refuse(&self, _: &Parts, _: &Identity, permission: Permission) -> AuthRefusal {
        forbidden(permission)
    }
}

/// Believes `Authorization: Bearer ROLE`: the token *is* the name of a built-in role and the
/// subject alike. For tests only, which is why no configuration can choose it.
#[derive(Clone, Copy, Debug)]
pub struct TokenNamesRole;

#[async_trait]
impl Authenticator for TokenNamesRole {
    async fn authenticate(&self, request: &Parts) -> Result<Identity, AuthRefusal> {
        let role = request
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .and_then(Role::from_name);
        let Some(role) = role else {
            return Err(AuthRefusal {
                kind: ErrorKind::Unauthenticated,
                code: "token_missing",
                text: "authentication required".to_owned(),
                challenge: Some("Bearer realm=\"test\"".to_owned()),
                retry_after: None,
            });
        };
        Ok(Identity {
            principal: Principal::Token {
                subject: role.name().to_owned(),
                provider: "test".into(),
            },
            authority: Authority::Granted {
                roles: vec![role],
                scopes: Vec::new(),
            },
            expires_at: None,
        })
    }

    async fn refuse(&self, _: &Parts, _: &Identity, permission: Permission) -> AuthRefusal {
        forbidden(permission)
    }
}

fn forbidden(permission: Permission) -> AuthRefusal {
    AuthRefusal {
        kind: ErrorKind::Forbidden,
        code: "insufficient_permissions",
        text: "insufficient permissions".to_owned(),
        challenge: Some(format!(
            "Bearer realm=\"test\", error=\"insufficient_scope\", scope=\"{permission}\""
        )),
        retry_after: None,
    }
}

/// A metrics recorder that remembers which counters were touched; install it for the current
/// thread with `metrics::set_default_local_recorder`.
#[derive(Debug, Default)]
pub struct CounterNames(Mutex<BTreeSet<String>>);

impl CounterNames {
    /// Each counter as `name label=value label=value`, sorted.
    pub fn lines(&self) -> Vec<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().cloned().collect()
    }
}

impl Recorder for CounterNames {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort();
        let line = format!("{} {}", key.name(), labels.join(" "));
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(line);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
