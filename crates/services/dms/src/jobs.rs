//! The sweep of enrollments and the end of approvals, every minute.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::dms::{DmsService, SweepScope};
use lamassu_db::{Job, JobError, NextRun};
use time::{Duration, OffsetDateTime};

use crate::service::DmsManager;

/// How often abandoned enrollments are looked for.
const EVERY: Duration = Duration::minutes(1);

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
