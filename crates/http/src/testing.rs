//! For the tests of services: authenticators, since those tests are about rules and not about
//! credentials, and a recorder that tells which metrics appeared.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// A metrics recorder that remembers which metrics were touched, how far the counters came, and
/// what was described; install it for the current thread with
/// `metrics::set_default_local_recorder`.
#[derive(Debug, Default)]
pub struct SeenMetrics {
    touched: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    help: Mutex<BTreeMap<String, String>>,
}

impl SeenMetrics {
    /// Each metric as `name label=value label=value`, sorted.
    pub fn lines(&self) -> Vec<String> {
        self.counts().into_keys().collect()
    }

    /// The same, with what the counters count; gauges and histograms have 0.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |count: &Arc<AtomicU64>| count.load(Ordering::Relaxed);
        touched
            .iter()
            .map(|(line, value)| (line.clone(), count(value)))
            .collect()
    }

    /// The help text of each metric that has one.
    pub fn help(&self) -> BTreeMap<String, String> {
        let help = self.help.lock().unwrap_or_else(PoisonError::into_inner);
        help.clone()
    }

    fn describe(&self, name: &KeyName, text: &SharedString) {
        let mut help = self.help.lock().unwrap_or_else(PoisonError::into_inner);
        help.insert(name.as_str().to_owned(), text.to_string());
    }

    fn touch(&self, key: &Key) -> Arc<AtomicU64> {
        let mut labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort();
        let line = format!("{} {}", key.name(), labels.join(" "));
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(touched.entry(line).or_default())
    }
}

impl Recorder for SeenMetrics {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.touch(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.touch(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.touch(key);
        Histogram::noop()
    }
}
