//! Do the engines work? Asked of them at most every few seconds, however many ask us.

use std::time::Duration;

use futures_util::future::join_all;
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_core::kms::{EngineDescription, EngineHealth, EngineStatus};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::engines::describe_unopened;
use crate::metrics;
use crate::service::Kms;

/// How old an answer may be.
const MAX_AGE: Duration = Duration::from_secs(5);

/// How long an engine may take to say that it works.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the engines said last, in their order.
#[derive(Debug, Default)]
pub(crate) struct EnginesHealth(Mutex<Option<(Instant, Vec<EngineHealth>)>>);

impl EnginesHealth {
    /// The health of these engines. Whoever asks while they are being asked waits for the same
    /// answer.
    async fn of(&self, engines: &[std::sync::Arc<dyn CryptoEngine>]) -> Vec<EngineHealth> {
        let mut last = self.0.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < MAX_AGE
        {
            return health.clone();
        }
        let health = join_all(engines.iter().map(|engine| ask(engine.as_ref()))).await;
        *last = Some((Instant::now(), health.clone()));
        health
    }
}

async fn ask(engine: &dyn CryptoEngine) -> EngineHealth {
    let error = match timeout(PATIENCE, engine.health()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_elapsed) => Some("no answer in time".to_owned()),
    };
    metrics::engine_up(&engine.info().id, error.is_none());
    EngineHealth {
        status: match error {
            None => EngineStatus::Ok,
            Some(_) => EngineStatus::Failing,
        },
        error,
    }
}

impl Kms {
    /// The engines in the order of the configuration, those that did not open behind the others.
    pub(crate) async fn describe_engines(&self) -> Vec<EngineDescription> {
        let opened = self.engines.opened();
        let health = self.health.of(opened).await;
        let opened = opened.iter().zip(health);
        let described = opened.map(|(engine, health)| self.engines.describe(engine.info(), health));
        let unopened = self.engines.unopened().iter().map(describe_unopened);
        described.chain(unopened).collect()
    }

    /// Whether every engine that opened works and has a key of those that it should have, for readiness. Those that did not open are counted and
    /// shown; the others work without them.
    ///
    /// # Errors
    ///
    /// Which one does not, and why, in words that may be shown.
    pub async fn check_engines(&self) -> Result<(), String> {
        for engine in self.engines.unopened() {
            metrics::engine_up(&engine.id, false);
        }
        let opened = self.engines.opened();
        let health = self.health.of(opened).await;
        let failing = opened.iter().zip(health).find_map(|(engine, health)| {
            let id = &engine.info().id;
            let error = health.error.or_else(|| self.missing.nothing_left(id))?;
            Some(format!("{id}: {error}"))
        });
        failing.map_or(Ok(()), Err)
    }
}
