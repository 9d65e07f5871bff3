//! Keys that the database knows and their engine does not have: a directory that was not mounted, a
//! process that was moved without its files.
//!
//! Nothing else would tell before somebody needs such a key. So the rows are compared with what the
//! engines have, page by page beside the work: at the start, and again once the first keys that were
//! missing are there or gone. Whether they are is asked ever more rarely. Each missing key is told by
//! name once, as far as they are few.

use std::collections::{BTreeMap, BTreeSet};
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

/// How soon it is looked whether what was missing is there again, at first and in the end.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LAST_PAUSE: Duration = Duration::from_secs(60);

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
pub(crate) struct MissingKeys {
    found: Mutex<BTreeMap<EngineId, Found>>,
    /// Those that the log has named.
    named: Mutex<BTreeMap<EngineId, BTreeSet<KeyHandle>>>,
}

/// When an engine is looked at next.
#[derive(Clone, Copy, Debug)]
struct Pace {
    due: Instant,
    pause: Duration,
}

impl Pace {
    /// After a look that found something else than the one before.
    fn changed() -> Self {
        Self::after(FIRST_PAUSE)
    }

    /// After one that found the same, or nothing because the engine or the database failed.
    fn unchanged(self) -> Self {
        Self::after(self.pause.saturating_mul(2).min(LAST_PAUSE))
    }

    fn after(pause: Duration) -> Self {
        let due = Instant::now() + pause;
        Self { due, pause }
    }
}

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

/// Whether an engine lacks other keys than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Changed,
    Same,
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
        } else if n_missing < before {
            tracing::info!(engine_id = %id, missing = n_missing, "some missing keys are there again");
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

    /// Those of the missing keys of an engine that the log has not named, which it does now. What is
    /// there again is named again when it goes once more.
    fn unnamed(&self, engine: &EngineId, found: &Found) -> Vec<KeyHandle> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let named = named.entry(engine.clone()).or_default();
        if found.n_missing <= count(SAMPLE) {
            named.retain(|handle| found.sample.contains(handle));
        }
        let fresh = found
            .sample
            .iter()
            .filter(|handle| !named.contains(*handle));
        let fresh: Vec<KeyHandle> = fresh.cloned().collect();
        named.extend(fresh.iter().cloned());
        fresh
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EngineId, Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
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
                Err(LookError::Db(error @ DbError::Corrupt { .. })) => {
                    not_looked(engine.as_ref(), &error);
                }
                Err(LookError::Db(error)) => return Err(CommitError::Db(error).into()),
                Err(LookError::Engine(error)) => not_looked(engine.as_ref(), &error),
            }
        }
        Ok(())
    }

    /// Looks for all keys of each engine, and then for what was missing, until `shutdown`.
    pub(crate) async fn look_for_keys_until(&self, shutdown: &CancellationToken) {
        let mut paces = BTreeMap::new();
        loop {
            let looking = self.look_for_keys(&mut paces);
            if shutdown.run_until_cancelled(looking).await.is_none() {
                return;
            }
            let due = paces.values().map(|pace: &Pace| pace.due).min();
            let due = sleep_until(due.unwrap_or_else(|| Instant::now() + LAST_PAUSE));
            if shutdown.run_until_cancelled(due).await.is_none() {
                return;
            }
        }
    }

    async fn look_for_keys(&self, paces: &mut BTreeMap<EngineId, Pace>) {
        for engine in self.engines.opened() {
            let engine = engine.as_ref();
            let id = &engine.info().id;
            let pace = match paces.get(id).copied() {
                None => {
                    self.compare(engine).await;
                    Pace::changed()
                }
                Some(pace) if pace.due > Instant::now() => continue,
                Some(pace) if !self.may_have_changed(engine).await => pace.unchanged(),
                Some(pace) => match self.compare(engine).await {
                    Compared::Changed => Pace::changed(),
                    Compared::Same => pace.unchanged(),
                },
            };
            paces.insert(id.clone(), pace);
        }
    }

    /// Compares all keys of an engine, and tells of those that the log has not named.
    async fn compare(&self, engine: &dyn CryptoEngine) -> Compared {
        let id = &engine.info().id;
        let found = match self.look(engine, Extent::Everything).await {
            Ok(found) => found,
            Err(error) => {
                not_looked(engine, &error);
                return Compared::Same;
            }
        };
        let before = self.missing.of(id);
        let unnamed = self.missing.unnamed(id, &found);
        match self.store.key_ids(&unnamed).await {
            Ok(keys) => {
                for key_id in keys {
                    tracing::warn!(engine_id = %id, %key_id, "key missing");
                }
            }
            Err(error) => not_looked(engine, &error),
        }
        let is_same = before.is_some_and(|before| before.sample == found.sample);
        self.missing.note(engine, found);
        if is_same {
            Compared::Same
        } else {
            Compared::Changed
        }
    }

    /// Whether an engine that lacked keys may lack fewer.
    async fn may_have_changed(&self, engine: &dyn CryptoEngine) -> bool {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lamassu_core::crypto_engine::KeyHandle;
    use lamassu_core::ids::EngineId;
    use tokio::time::Instant;

    use super::{Found, MissingKeys, Pace};

    fn found(names: &[&str]) -> Found {
        let handles = names.iter().map(|name| KeyHandle::try_new(name).unwrap());
        Found {
            at: Instant::now(),
            n_keys: 9,
            n_missing: names.len().try_into().unwrap(),
            sample: handles.collect(),
        }
    }

    #[test]
    fn a_missing_key_is_named_once_and_again_when_it_was_there_between() {
        let missing = MissingKeys::default();
        let unnamed = |engine: &str, names: &[&str]| {
            let handles = missing.unnamed(&EngineId::from(engine), &found(names));
            let texts = handles.iter().map(|handle| handle.as_str().to_owned());
            texts.collect::<Vec<_>>()
        };
        assert_eq!(unnamed("a", &["one", "two"]), ["one", "two"]);
        assert_eq!(unnamed("a", &["one", "two", "three"]), ["three"]);
        assert_eq!(unnamed("b", &["one"]), ["one"]);
        assert_eq!(unnamed("a", &["two"]), [""; 0]);
        assert_eq!(unnamed("a", &["one", "two"]), ["one"]);
    }

    #[test]
    fn what_stays_missing_is_asked_for_ever_more_rarely() {
        let mut pace = Pace::changed();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            pauses.push(pace.pause);
            pace = pace.unchanged();
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60].map(Duration::from_secs));
        assert_eq!(Pace::changed().pause, Duration::from_secs(10));
    }
}
