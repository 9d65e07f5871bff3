//! Settles operations that never finished: destroys keys without owner, marks keys with one.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{Job, JobError, NextRun, WriteSet};
use time::{Duration, OffsetDateTime};

use crate::service::CaService;
use crate::store::intent;
use crate::store::operation::{self, Remainder};

/// No operation takes longer: the slowest key is made in a few minutes.
const LONGEST: Duration = Duration::minutes(10);

/// How long a completed re-enrollment is remembered. The repeat of a lost answer is asked for
/// within minutes.
const REMEMBERED: Duration = Duration::days(1);

/// Operations handled per run.
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
        for (operation, remainder) in operation::stale(&service.db, before, BATCH).await? {
            let done = match &remainder {
                Remainder::Discard => service.discard(caller, &operation).await,
                Remainder::Bind(left) => service.mark_used(caller, &operation, left).await,
            };
            done?;
            tracing::info!(operation_id = %operation, "abandoned operation settled");
        }
        let mut set = WriteSet::new();
        set.execute(intent::remove_completed(now - REMEMBERED));
        service.db.commit(set).await?;
        // What a program of an older version has stored meanwhile.
        service.index_certificates().await?;
        let next = operation::oldest(&service.db)
            .await?
            .map_or(now + REMEMBERED, |oldest| {
                // Microseconds are the finest the store has: a tick later it is old enough.
                (oldest + LONGEST + Duration::microseconds(1)).max(now)
            });
        Ok(NextRun::At(next))
    }
}
