//! Settles operations that never finished: destroys keys without owner, marks keys with one.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_db::{Job, JobError, NextRun, WriteSet};
use time::{Duration, OffsetDateTime};

use crate::service::CaService;
use crate::store::intent;
use crate::store::operation::{self, Remainder, Stale};

/// No operation takes longer: the slowest key is made in a few minutes.
const LONGEST: Duration = Duration::minutes(10);

/// How long a completed re-enrollment is remembered. The repeat of a lost answer is asked for
/// within minutes.
const REMEMBERED: Duration = Duration::days(1);

/// Operations per query.
const BATCH: u32 = 64;

/// Whether other processes may work on the same database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OthersRunning {
    /// They may: an operation counts as abandoned by its age only.
    Maybe,
    /// They do not: whatever began before this process is abandoned.
    No,
}

/// The job that cleans up after operations which a crash, or a key management service that was
/// down, left unfinished. It also forgets completed enrollments whose time is over, and
/// indexes certificates that nobody has.
#[derive(Debug)]
pub(crate) struct AbandonedOperations {
    service: Arc<CaService>,
}

impl AbandonedOperations {
    pub(crate) const NAME: &'static str = "ca-abandoned-operations";

    /// The job for this service.
    pub(crate) const fn new(service: Arc<CaService>) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for AbandonedOperations {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let service = &self.service;
        let by_age = now - LONGEST;
        let before = service
            .predecessors_end
            .map_or(by_age, |end| end.max(by_age));
        let mut failed = None;
        let mut last = None;
        loop {
            let stale = operation::stale(&service.db, before, last.as_ref(), BATCH).await?;
            for Stale { id, left, .. } in &stale {
                let settled = match left {
                    Ok(Remainder::Discard) => service.discard(caller, id).await,
                    Ok(Remainder::Bind(left)) => service.mark_used(caller, id, left).await,
                    Err(error) => Err(StorageFailure::from(error.clone()).into()),
                };
                match settled {
                    Ok(()) => tracing::info!(operation_id = %id, "abandoned operation settled"),
                    // One whose engine is not there, or that cannot be read, does not keep the others waiting.
                    Err(error) => failed = Some(error),
                }
            }
            last = stale.into_iter().last();
            if last.is_none() {
                break;
            }
        }
        let mut set = WriteSet::new();
        set.execute(intent::remove_completed(now - REMEMBERED));
        service.db.commit(set).await?;
        // What a program of an older version has stored meanwhile.
        service.index_certificates().await?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let next = operation::oldest(&service.db)
            .await?
            .map_or(now + REMEMBERED, |oldest| {
                // Microseconds are the finest the store has: a tick later it is old enough.
                (oldest + LONGEST + Duration::microseconds(1)).max(now)
            });
        Ok(NextRun::At(next))
    }
}
