//! The reaper: finishes what a crash or an engine's failure left half done.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::KmsError;
use lamassu_db::{Attempt, Job, JobError, NextRun, WriteSet};
use time::{Duration, OffsetDateTime};

use crate::metrics;
use crate::service::Kms;
use crate::store::{Leftover, LeftoverState, Unsettled, UnsettledState, claim_leftover};

/// Name of the reaper: its lease, its signal, its caller in events.
pub const REAPER_JOB: &str = "kms-reaper";

/// Age at which a key in the making is one that a crash left.
const PENDING_GRACE: Duration = Duration::minutes(10);

/// Age at which a deletion is one that nobody is finishing.
const DELETING_GRACE: Duration = Duration::minutes(1);

/// When a key that its engine did not let go is tried again.
const RETRY: Duration = Duration::seconds(10);

/// How often it looks, at least: another process may have crashed.
const INTERVAL: Duration = Duration::minutes(10);

/// Keys per run; more are left to the next one, which follows at once.
const BATCH: u32 = 200;

/// Removes keys that were in the making for too long, and finishes deletions.
#[derive(Debug)]
pub(crate) struct Reaper(Arc<Kms>);

impl Reaper {
    pub(crate) const fn new(kms: Arc<Kms>) -> Self {
        Self(kms)
    }

    /// Settles everything that is due, of all engines, and has the job come back to what failed.
    pub(crate) async fn settle_all(&self, caller: &Caller) -> Result<(), JobError> {
        let now = self.0.db.now();
        let mut next = now + INTERVAL;
        for engine in self.0.engines.ids() {
            let mut engine_next = now;
            while engine_next <= now {
                engine_next = self.reap_engine(caller, engine, now).await?;
            }
            next = next.min(engine_next);
        }
        if next < now + INTERVAL {
            self.0.db.wake(REAPER_JOB);
        } else {
            // All of it is settled; a clock that is set back must not make new work look like it.
            self.0.abandon_nothing();
        }
        Ok(())
    }

    /// When what was begun at `since` is finished by somebody else: at once, if whoever began is known
    /// to be gone.
    fn due(&self, since: OffsetDateTime, grace: Duration) -> OffsetDateTime {
        if self.0.abandoned_until().is_some_and(|end| since <= end) {
            since
        } else {
            since + grace
        }
    }

    /// What is due in one engine; gives the next due time. Keys that cannot be settled are tried again;
    /// the others are not held up.
    async fn reap_engine(
        &self,
        caller: &Caller,
        engine: &EngineId,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, JobError> {
        let unsettled = self.0.store.unsettled_of_engine(engine, BATCH).await?;
        let mut next = now + INTERVAL;
        let mut n_reaped = 0;
        let mut failures = Vec::new();
        for key in &unsettled {
            let due = self.due(key.since, grace(key.state));
            if due > now {
                next = next.min(due);
                continue;
            }
            match self.reap(caller, key).await {
                Ok(()) => {
                    n_reaped += 1;
                    tracing::info!(engine_id = %engine, "unsettled key removed");
                }
                Err(lost) if lost.is_race() => {}
                Err(error) => {
                    failures.push(error);
                    next = next.min(now + RETRY);
                }
            }
        }
        told(engine, &failures, "unsettled keys left");
        let next = next.min(self.reap_leftovers(engine, now).await?);
        Ok(if n_reaped == BATCH { now } else { next })
    }

    /// Removes what moves left behind in one engine; gives the next due time.
    async fn reap_leftovers(
        &self,
        engine: &EngineId,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, JobError> {
        let leftovers = self.0.store.leftovers_of_engine(engine, BATCH).await?;
        let mut next = now + INTERVAL;
        let mut n_reaped = 0;
        let mut failures = Vec::new();
        for leftover in &leftovers {
            let due = self.due(leftover.since, grace_of_leftover(leftover.state));
            if due > now {
                next = next.min(due);
                continue;
            }
            match self.reap_leftover(leftover, now).await {
                Ok(()) => {
                    n_reaped += 1;
                    tracing::info!(engine_id = %engine, "what a move left removed");
                }
                Err(lost) if lost.is_race() => {}
                Err(error) => {
                    failures.push(error);
                    next = next.min(now + RETRY);
                }
            }
        }
        told(engine, &failures, "what moves left stays");
        Ok(if n_reaped == BATCH { now } else { next })
    }

    /// A move that may still run is told first: it cannot use any more what is removed here.
    async fn reap_leftover(
        &self,
        leftover: &Leftover,
        now: OffsetDateTime,
    ) -> Result<(), Attempt<KmsError>> {
        match leftover.state {
            LeftoverState::Moving => {
                let mut set = WriteSet::new();
                claim_leftover(&mut set, &leftover.handle, now);
                self.0.db.commit(set).await?;
            }
            LeftoverState::Leaving => {}
        }
        let engine = self.0.engines.holder(&leftover.engine_id)?;
        self.0.try_forget_leftover(engine, &leftover.handle).await?;
        metrics::reaped();
        Ok(())
    }

    async fn reap(&self, caller: &Caller, key: &Unsettled) -> Result<(), Attempt<KmsError>> {
        let engine = self.0.engines.holder(&key.engine_id)?;
        match key.state {
            UnsettledState::Pending => self.0.remove_pending(engine, &key.handle).await?,
            UnsettledState::Deleting => {
                let named = key
                    .key_id
                    .as_ref()
                    .map_or_else(KeyRef::default, KeyRef::from);
                let deleted = engine.delete(&key.handle).await;
                deleted.map_err(|error| crate::engines::refused(&key.engine_id, error))?;
                self.0
                    .finish_deletion(caller, &named, &key.handle, &key.engine_id)
                    .await?;
            }
        }
        metrics::reaped();
        Ok(())
    }
}

#[async_trait]
impl Job for Reaper {
    fn name(&self) -> &'static str {
        REAPER_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        self.0.store.merge_counts().await?;
        let mut next = now + INTERVAL;
        for engine in self.0.engines.ids() {
            next = next.min(self.reap_engine(caller, engine, now).await?);
        }
        Ok(NextRun::At(next))
    }
}

/// Logs the last failure for all of them: a token that is away fails for each.
fn told(engine: &EngineId, failures: &[Attempt<KmsError>], what: &'static str) {
    if let Some(last) = failures.last() {
        let error = last as &(dyn std::error::Error + 'static);
        tracing::warn!(engine_id = %engine, keys = failures.len(), error, "{what}");
    }
}

/// How long a key may be half done before somebody else finishes it.
const fn grace(state: UnsettledState) -> Duration {
    match state {
        UnsettledState::Pending => PENDING_GRACE,
        UnsettledState::Deleting => DELETING_GRACE,
    }
}

/// The same of what moves leave.
const fn grace_of_leftover(state: LeftoverState) -> Duration {
    match state {
        LeftoverState::Moving => PENDING_GRACE,
        LeftoverState::Leaving => DELETING_GRACE,
    }
}
