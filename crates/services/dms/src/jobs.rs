//! The sweep of enrollments and the end of approvals, every minute; the end of what nobody needs any
//! more, every hour.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::dms::{DmsService, SweepScope};
use lamassu_db::{Db, Job, JobError, NextRun, WriteSet};
use time::{Duration, OffsetDateTime};

use crate::refused::{self, Trimmed};
use crate::repeat::MAX_WINDOW;
use crate::service::DmsManager;
use crate::store;

/// How often abandoned enrollments are looked for.
const EVERY: Duration = Duration::minutes(1);

/// How often old rows are looked for.
const CLEAN_EVERY: Duration = Duration::hours(1);
/// How long enrollment passwords are listed that are of no use any more.
const KEPT: Duration = Duration::days(90);

/// Removes enrollment passwords that ended long ago, and refusals beyond what the log keeps.
#[derive(Debug)]
pub(crate) struct Clean(pub(crate) Db);

#[async_trait]
impl Job for Clean {
    fn name(&self) -> &'static str {
        "dms-clean"
    }

    async fn run(&self, _: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let mut set = WriteSet::new();
        set.execute(store::password::delete_ended(now.saturating_sub(KEPT)));
        set.execute(store::repeat::delete_before(now.saturating_sub(MAX_WINDOW)));
        self.0.commit(set).await?;
        Ok(NextRun::At(match refused::trim(&self.0, now).await? {
            Trimmed::Some => now,
            Trimmed::Nothing => now.saturating_add(CLEAN_EVERY),
        }))
    }
}

/// Gives up and forgets approvals.
#[derive(Debug)]
pub(crate) struct ApprovalEnds(pub(crate) Arc<DmsManager>);

#[async_trait]
impl Job for ApprovalEnds {
    fn name(&self) -> &'static str {
        "dms-approval-ends"
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        self.0.tidy_approvals(caller).await?;
        Ok(NextRun::At(now.saturating_add(EVERY)))
    }
}

/// Sweeps stale enrollments.
#[derive(Debug)]
pub(crate) struct Sweep(pub(crate) Arc<DmsManager>);

#[async_trait]
impl Job for Sweep {
    fn name(&self) -> &'static str {
        "dms-enrollment-sweep"
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        self.0.sweep_enrollments(caller, SweepScope::Stale).await?;
        Ok(NextRun::At(now.saturating_add(EVERY)))
    }
}
