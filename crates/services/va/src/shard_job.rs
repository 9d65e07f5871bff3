//! The job that makes the CRLs of shards: one of its own, so that a revocation never waits for a
//! complete CRL, which may be long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _};
use lamassu_core::caller::Caller;
use lamassu_core::va::VaError;
use lamassu_db::{Job, JobError, NextRun, WriteSet};
use time::OffsetDateTime;

use crate::files::{Series, Sweep};
use crate::jobs::{AT_ONCE, BATCH, cause, next_run, readable_of, retry_after};
use crate::metrics;
use crate::renew::Renewal;
use crate::service::VaService;
use crate::store::shard::{self, StoredShard};

/// The job that makes CRLs of shards; also its lease and its signal.
pub const SHARD_JOB: &str = "va-crl-shards";

/// See [`SHARD_JOB`].
#[derive(Debug)]
struct ShardJob {
    service: VaService,
    /// Whether what a restore left, and what was given up, was looked after since the start.
    begun: AtomicBool,
}

impl VaService {
    /// The job that makes the CRLs of shards when they are due.
    pub fn shard_job(&self) -> Arc<dyn Job> {
        Arc::new(ShardJob {
            service: self.clone(),
            begun: AtomicBool::new(false),
        })
    }
}

impl ShardJob {
    /// Makes the CRL of one shard; gives whose it is and what failed, if it fails.
    async fn renew(&self, caller: &Caller, due: &StoredShard) -> Option<(String, VaError)> {
        let name = (due.ca_ski.as_str(), due.shard);
        match self.service.renew_shard(caller, name, Renewal::IfDue).await {
            Ok(renewed) => {
                self.sweep(&renewed).await;
                None
            }
            Err(error) => {
                if !matches!(error, VaError::CaNotFound) {
                    metrics::crl_failed();
                }
                Some((due.ca_ski.clone(), error))
            }
        }
    }

    /// Puts off what is due of a CA, and tells of it once: what keeps one shard without CRL keeps the others, too.
    async fn put_off(
        &self,
        ca_ski: &str,
        error: &VaError,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        match error {
            VaError::CaNotFound => tracing::debug!(ca_ski, "no more crls of shards"),
            error => tracing::error!(ca_ski, error = cause(error), "crls of shards not made"),
        }
        let [first, next] = [0, 1].map(|newest| {
            let pause = retry_after(newest, error);
            pause.map(|pause| self.service.db.now().saturating_add(pause))
        });
        let mut set = WriteSet::new();
        set.execute(shard::put_off(ca_ski, first, next, now));
        self.service.db.commit(set).await?;
        Ok(())
    }

    /// Removes files that nobody needs: older ones, and what a crash left under the number of the newest
    /// one. A failure leaves them for the next time.
    async fn sweep(&self, stored: &StoredShard) {
        let series = Series::shard(stored);
        let swept = self.service.files.sweep(&series, Sweep::Behind);
        if let Err(error) = swept.await {
            tracing::warn!(
                ca_ski = stored.ca_ski,
                shard = %stored.shard,
                error = &error as &(dyn std::error::Error + 'static),
                "crl files not swept"
            );
        }
    }

    /// As for complete CRLs: those that a restore forgot are superseded, and what was given up for
    /// want of a key is tried again.
    async fn make_due(&self, now: OffsetDateTime) -> Result<(), JobError> {
        let mut set = WriteSet::new();
        set.execute(shard::make_first_due(now));
        if self.service.number_floor > 0 {
            set.execute(shard::make_due_below(self.service.number_floor, now));
        }
        self.service.db.commit(set).await?;
        Ok(())
    }
}

#[async_trait]
impl Job for ShardJob {
    fn name(&self) -> &'static str {
        SHARD_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        if !self.begun.load(Ordering::Acquire) {
            self.make_due(now).await?;
            self.begun.store(true, Ordering::Release);
        }
        let db = &self.service.db;
        let due = readable_of(db, shard::due(db, now, BATCH).await?, shard::postpone).await?;
        let renewals: Vec<_> = due.iter().map(|shard| self.renew(caller, shard)).collect();
        let failures: BTreeMap<String, VaError> = stream::iter(renewals)
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        for (ca_ski, error) in &failures {
            self.put_off(ca_ski, error, now).await?;
        }
        let overview = shard::overview(db).await?;
        let left = overview.first_expiry.map(|expiry| expiry - now);
        metrics::shard_overview(overview.count, left);
        Ok(next_run(overview.next_due, now))
    }
}
