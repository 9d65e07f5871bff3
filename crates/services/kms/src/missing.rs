//! Keys that the database knows and their engine does not have: a directory that was not mounted, a
//! process that was moved without its files.
//!
//! Nothing else would tell before somebody needs such a key. So the rows are compared with what the
//! engines have, page by page beside the work: at the start, and again once the first keys that were
//! missing are there or gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lamassu_core::crypto_engine::{CryptoEngine, EngineError, KeyHandle};
use lamassu_core::ids::EngineId;
use lamassu_db::{CommitError, DbError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::service::{Kms, StartError};
use crate::store::handles_of_engine;

/// Keys per query.
const PAGE: u32 = 1_000;

/// How often it is looked whether what was missing is there again.
const INTERVAL: Duration = Duration::from_secs(10);

/// How old a look may be at an engine that lacks keys: some of those may have been deleted meanwhile.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Missing keys that are remembered by name.
const SAMPLE: usize = 100;

/// What was found in one engine.
#[derive(Clone, Debug)]
struct Found {
    at: Instant,
    n_keys: u32,
    n_missing: u32,
    /// The first of the missing ones.
    sample: Vec<KeyHandle>,
}

/// What was found in the engines at the last look.
#[derive(Debug, Default)]
pub(crate) struct MissingKeys(Mutex<BTreeMap<EngineId, Found>>);

/// Why it was not looked.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    OnePage,
    Everything,
}

impl MissingKeys {
    /// That an engine lacks each and every key, in words that may be shown.
    pub(crate) fn nothing_left(&self, engine: &EngineId) -> Option<String> {
        let all = self.lock();
        let found = all.get(engine)?;
        let nothing = found.n_missing > 0 && found.n_missing == found.n_keys;
        nothing.then(|| "it has none of the keys that the database knows".to_owned())
    }

    fn of(&self, engine: &EngineId) -> Option<Found> {
        self.lock().get(engine).cloned()
    }

    /// Takes note, and tells what has changed.
    fn note(&self, engine: &dyn CryptoEngine, found: Found) {
        let id = &engine.info().id;
        let (n_missing, n_keys) = (found.n_missing, found.n_keys);
        metrics::missing(id, n_missing);
        let before = self.lock().insert(id.clone(), found);
        let before = before.map_or(0, |before| before.n_missing);
        if n_missing == before {
            return;
        }
        if n_missing == 0 {
            tracing::info!(engine_id = %id, "missing keys are there again");
        } else {
            tracing::warn!(
                engine_id = %id,
                missing = n_missing,
                keys = n_keys,
                place = engine.place(),
                "keys missing: the database knows them and the engine does not have them"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EngineId, Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kms {
    /// Looks for the first keys of each engine, so that one that has lost all of them is known before
    /// the first request.
    pub(crate) async fn look_for_some_keys(&self) -> Result<(), StartError> {
        for engine in self.engines.opened() {
            match self.look(engine.as_ref(), Extent::OnePage).await {
                Ok(found) if found.n_missing == found.n_keys => {
                    self.missing.note(engine.as_ref(), found);
                }
                Ok(_) => {}
                Err(LookError::Db(error)) => return Err(CommitError::Db(error).into()),
                Err(LookError::Engine(error)) => not_looked(engine.as_ref(), &error),
            }
        }
        Ok(())
    }

    /// Looks for all keys of each engine, and then for what was missing, until `shutdown`.
    pub(crate) async fn look_for_keys_until(&self, shutdown: &CancellationToken) {
        let mut is_first = true;
        loop {
            let looking = self.look_for_keys(is_first);
            if shutdown.run_until_cancelled(looking).await.is_none() {
                return;
            }
            is_first = false;
            let due = sleep_until(Instant::now() + INTERVAL);
            if shutdown.run_until_cancelled(due).await.is_none() {
                return;
            }
        }
    }

    async fn look_for_keys(&self, is_first: bool) {
        for engine in self.engines.opened() {
            let engine = engine.as_ref();
            if !is_first && !self.has_changed(engine).await {
                continue;
            }
            match self.look(engine, Extent::Everything).await {
                Ok(found) => self.missing.note(engine, found),
                Err(error) => not_looked(engine, &error),
            }
        }
    }

    /// Whether an engine that lacked keys may lack fewer.
    async fn has_changed(&self, engine: &dyn CryptoEngine) -> bool {
        let Some(found) = self.missing.of(&engine.info().id) else {
            return true;
        };
        if found.n_missing == 0 {
            return false;
        }
        if found.at.elapsed() > MAX_AGE {
            return true;
        }
        let still = engine.missing(found.sample.clone()).await;
        still.is_ok_and(|still| still != found.sample)
    }

    async fn look(&self, engine: &dyn CryptoEngine, extent: Extent) -> Result<Found, LookError> {
        let id = &engine.info().id;
        let mut found = Found {
            at: Instant::now(),
            n_keys: 0,
            n_missing: 0,
            sample: Vec::new(),
        };
        let mut after = String::new();
        loop {
            let page = handles_of_engine(&self.db, id, &after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            let next = last.as_str().to_owned();
            let n_keys = page.len();
            let mut missing = engine.missing(page).await?;
            if !missing.is_empty() {
                // Not those that were deleted or moved away meanwhile.
                let page = handles_of_engine(&self.db, id, &after, PAGE).await?;
                missing.retain(|handle| page.contains(handle));
            }
            found.n_keys = found.n_keys.saturating_add(count(n_keys));
            found.n_missing = found.n_missing.saturating_add(count(missing.len()));
            let room = SAMPLE.saturating_sub(found.sample.len());
            found.sample.extend(missing.into_iter().take(room));
            if extent == Extent::OnePage {
                return Ok(found);
            }
            after = next;
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn not_looked(engine: &dyn CryptoEngine, error: &(dyn std::error::Error + 'static)) {
    tracing::debug!(engine_id = %engine.info().id, error, "keys not compared");
}
