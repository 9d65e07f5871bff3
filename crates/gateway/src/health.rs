//! Is the process alive, is it ready, and what does it run.
//!
//! Readiness speaks of the parts of this process only (database, engines, bus, issuer keys),
//! never of its peers: otherwise one slow service would take every other one out of rotation.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How old an answer of [`Readiness::report`] may be.
const MAX_AGE: Duration = Duration::from_secs(5);

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

type CheckFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type CheckFn = Box<dyn Fn() -> CheckFuture + Send + Sync>;

/// What was built, as `/health` of every service tells.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BuildInfo {
    /// The program's version.
    #[schemars(example = &"0.1.0")]
    pub version: String,
    /// The source revision, empty when unknown.
    #[schemars(example = &"1a2821a")]
    pub build: String,
    /// When it was built, RFC 3339, empty when unknown.
    #[schemars(example = &"2026-03-02T09:15:27Z")]
    pub build_time: String,
}

/// Body of `GET /health` of a service.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HealthReport {
    /// Whether the process is ready.
    pub health: bool,
    /// The program.
    #[serde(flatten)]
    pub build: BuildInfo,
}

/// Body of `GET /readyz`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct ReadinessReport {
    /// Whether every check passed and the process is not stopping.
    pub ready: bool,
    /// Per part `ok` or why not, in the order of registration.
    #[serde(serialize_with = "as_map")]
    pub checks: Vec<(&'static str, String)>,
}

/// The readiness of this process: named checks, run at most every five seconds.
#[derive(Debug)]
pub struct Readiness {
    checks: Vec<Check>,
    stopping: AtomicBool,
    cached: Mutex<Option<(Instant, ReadinessReport)>>,
}

struct Check {
    name: &'static str,
    run: CheckFn,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name)
    }
}

/// Collects the checks of a process.
#[derive(Debug, Default)]
pub struct ReadinessBuilder(Vec<Check>);

impl ReadinessBuilder {
    /// Adds a check. It answers why the part cannot work, in words that may be shown to anybody:
    /// the endpoint asks for no credential.
    #[must_use]
    pub fn check<F, Fut>(mut self, name: &'static str, run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let run: CheckFn = Box::new(move || Box::pin(run()));
        self.0.push(Check { name, run });
        self
    }

    /// The finished set.
    pub fn build(self) -> Arc<Readiness> {
        Arc::new(Readiness {
            checks: self.0,
            stopping: AtomicBool::new(false),
            cached: Mutex::new(None),
        })
    }
}

impl Readiness {
    /// Starts a set of checks.
    pub fn builder() -> ReadinessBuilder {
        ReadinessBuilder::default()
    }

    /// From now on not ready: the process drains.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The state of all parts, at most five seconds old. Checks run side by side; whoever asks
    /// meanwhile waits for the same run.
    pub async fn report(&self) -> ReadinessReport {
        let mut cached = self.cached.lock().await;
        let fresh = cached.as_ref().filter(|(at, _)| at.elapsed() < MAX_AGE);
        let mut report = match fresh {
            Some((_, report)) => report.clone(),
            None => {
                let report = self.run().await;
                *cached = Some((Instant::now(), report.clone()));
                report
            }
        };
        if self.stopping.load(Ordering::Acquire) {
            report.ready = false;
            report.checks.push(("process", "stopping".to_owned()));
        }
        report
    }

    async fn run(&self) -> ReadinessReport {
        let runs = self.checks.iter().map(|check| async move {
            let outcome = match timeout(CHECK_TIMEOUT, (check.run)()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(reason)) => Err(reason),
                Err(_elapsed) => Err("no answer in time".to_owned()),
            };
            (check.name, outcome)
        });
        let outcomes = join_all(runs).await;
        let ready = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
        let text = |outcome: Result<(), String>| outcome.err().unwrap_or_else(|| "ok".to_owned());
        let checks = outcomes
            .into_iter()
            .map(|(name, outcome)| (name, text(outcome)))
            .collect();
        ReadinessReport { ready, checks }
    }

    /// The answer of `/readyz`: 200, or 503 with `Retry-After`, with the report.
    pub async fn reply(&self) -> Response<Body> {
        let report = self.report().await;
        if report.ready {
            return Json(report).into_response();
        }
        // Until then the answer would be the same.
        let again = [(RETRY_AFTER, HeaderValue::from(MAX_AGE.as_secs()))];
        (StatusCode::SERVICE_UNAVAILABLE, again, Json(report)).into_response()
    }

    /// The body of a service's `/health`: always sent with 200, false while not ready.
    pub async fn health(&self, build: &BuildInfo) -> HealthReport {
        HealthReport {
            health: self.report().await.ready,
            build: build.clone(),
        }
    }
}

fn as_map<S: serde::Serializer>(
    checks: &[(&'static str, String)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(checks.iter().map(|(name, state)| (name, state)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{BuildInfo, Readiness};

    #[tokio::test]
    async fn a_failing_part_makes_the_process_unready() {
        let readiness = Readiness::builder()
            .check("storage", || async { Ok(()) })
            .check("event_bus", || async {
                Err("connection refused".to_owned())
            })
            .build();
        let json = serde_json::to_string(&readiness.report().await).unwrap();
        let expected =
            r#"{"ready":false,"checks":{"storage":"ok","event_bus":"connection refused"}}"#;
        assert_eq!(json, expected);
        let reply = readiness.reply().await;
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["retry-after"], "5");
    }

    #[tokio::test(start_paused = true)]
    async fn checks_run_at_most_every_five_seconds() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let readiness = Readiness::builder()
            .check("storage", move || {
                counted.fetch_add(1, Ordering::Relaxed);
                async { Ok(()) }
            })
            .build();
        for _ in 0..10 {
            assert_eq!(readiness.reply().await.status(), 200);
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(6)).await;
        readiness.report().await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_counts_as_failed() {
        let readiness = Readiness::builder()
            .check("engine", std::future::pending)
            .build();
        let report = readiness.report().await;
        assert_eq!(report.checks, [("engine", "no answer in time".to_owned())]);
    }

    #[tokio::test]
    async fn health_of_a_service_tells_what_was_built() {
        let build = BuildInfo {
            version: "3.8.0".to_owned(),
            build: "3f2c1ab".to_owned(),
            build_time: "2026-06-09T10:11:12Z".to_owned(),
        };
        let health = Readiness::builder().build().health(&build).await;
        let expected = r#"{"health":true,"version":"3.8.0","build":"3f2c1ab","build_time":"2026-06-09T10:11:12Z"}"#;
        assert_eq!(serde_json::to_string(&health).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_stopping_process_is_not_ready() {
        let readiness = Readiness::builder().build();
        assert!(readiness.report().await.ready);
        readiness.stop();
        assert!(!readiness.report().await.ready);
    }
}
