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

    /// Settles everything that a process which is gone left half done, however young it is: what was
    /// begun up to `begin`.
    pub(crate) async fn settle_all(
        &self,
        caller: &Caller,
        begin: OffsetDateTime,
    ) -> Result<(), JobError> {
        for engine in self.0.engines.ids() {
            while self
                .reap_engine(caller, engine, begin, Patience::None)
                .await?
                <= begin
            {}
        }
        Ok(())
    }

    /// What is due in one engine; gives the next due time. A key that cannot be settled is logged
    /// and tried again; the others are not held up.
    async fn reap_engine(
        &self,
        caller: &Caller,
        engine: &EngineId,
        now: OffsetDateTime,
        patience: Patience,
    ) -> Result<OffsetDateTime, JobError> {
        let unsettled = self.0.store.unsettled_of_engine(engine, BATCH).await?;
        let mut next = now + INTERVAL;
        let mut n_reaped = 0;
        for key in &unsettled {
            let due = key.since + patience.with(key.state);
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
                    tracing::warn!(engine_id = %engine, error = &error as &(dyn std::error::Error + 'static), "unsettled key left");
                    next = now + DELETING_GRACE;
                }
            }
        }
        let next = next.min(self.reap_leftovers(engine, now, patience).await?);
        Ok(if n_reaped == BATCH { now } else { next })
    }

    /// Removes what moves left behind in one engine; gives the next due time.
    async fn reap_leftovers(
        &self,
        engine: &EngineId,
        now: OffsetDateTime,
        patience: Patience,
    ) -> Result<OffsetDateTime, JobError> {
        let leftovers = self.0.store.leftovers_of_engine(engine, BATCH).await?;
        let mut next = now + INTERVAL;
        let mut n_reaped = 0;
        for leftover in &leftovers {
            let due = leftover.since + patience.with_leftover(leftover.state);
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
                    tracing::warn!(engine_id = %engine, error = &error as &(dyn std::error::Error + 'static), "what a move left stays");
                    next = now + DELETING_GRACE;
                }
            }
        }
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
            next = next.min(
                self.reap_engine(caller, engine, now, Patience::Grace)
                    .await?,
            );
        }
        Ok(NextRun::At(next))
    }
}

/// How long a key may be half done before somebody else finishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// As long as whoever began may still be at it.
    Grace,
    /// Not at all: whoever began is gone.
    None,
}

impl Patience {
    const fn with(self, state: UnsettledState) -> Duration {
        match (self, state) {
            (Self::Grace, UnsettledState::Pending) => PENDING_GRACE,
            (Self::Grace, UnsettledState::Deleting) => DELETING_GRACE,
            (Self::None, UnsettledState::Pending | UnsettledState::Deleting) => Duration::ZERO,
        }
    }

    const fn with_leftover(self, state: LeftoverState) -> Duration {
        match (self, state) {
            (Self::Grace, LeftoverState::Moving) => PENDING_GRACE,
            (Self::Grace, LeftoverState::Leaving) => DELETING_GRACE,
            (Self::None, LeftoverState::Moving | LeftoverState::Leaving) => Duration::ZERO,
        }
    }
}
