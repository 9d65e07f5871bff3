//! Background work: CRLs that are due, and the comparison with the CA service.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_core::va::{RECONCILE_JOB, VaError};
use lamassu_db::{Db, DbError, Job, JobError, NextRun, Statement, WriteSet, readable};
use time::{Duration, OffsetDateTime};

use crate::files::{Series, Sweep};
use crate::metrics;
use crate::renew::Renewal;
use crate::service::VaService;
use crate::store::delta;
use crate::store::role::{self, StoredRole};

/// The job that makes CRLs; also its lease and its signal.
pub const CRL_JOB: &str = "va-crl";

/// From one comparison with the CA service to the next. Events keep the entries up to date; this is
/// for those that were set aside.
const RECONCILE_EVERY: Duration = Duration::DAY;

/// Roles, or shards, per query.
pub(crate) const BATCH: u32 = 100;

/// CRLs that are made at the same time; each is in memory as a whole.
pub(crate) const AT_ONCE: usize = 4;

/// A CRL that could not be made is tried again after this time,
const RETRY: Duration = Duration::seconds(30);

/// and after this time where the CA cannot sign at all, until somebody brings its key back.
const RETRY_WITHOUT_KEY: Duration = Duration::HOUR;

/// See [`CRL_JOB`].
#[derive(Debug)]
pub(crate) struct CrlJob {
    service: VaService,
    /// Whether what a crash left was swept since the start.
    swept: AtomicBool,
}

impl CrlJob {
    pub(crate) const fn new(service: VaService) -> Self {
        Self {
            service,
            swept: AtomicBool::new(false),
        }
    }

    /// Makes the CRL of one role. A failure is put off, so that it neither holds up the others
    /// nor is forgotten.
    async fn renew(&self, caller: &Caller, due: &StoredRole) -> Result<(), JobError> {
        let ski = &due.role.ca_ski;
        match self.service.renew(caller, ski, Renewal::IfDue).await {
            Ok(renewed) => {
                self.sweep(ski, &Series::complete(&renewed), Sweep::Behind)
                    .await;
                Ok(())
            }
            Err(error) => {
                let until = self.failed(due, &error);
                self.postpone(role::postpone(ski, until)).await
            }
        }
    }

    /// Makes the delta CRL of one role.
    async fn renew_delta(&self, caller: &Caller, due: &StoredRole) -> Result<(), JobError> {
        let ski = &due.role.ca_ski;
        match self.service.renew_delta(caller, ski).await {
            Ok(renewed) => {
                self.sweep(ski, &Series::delta(&renewed), Sweep::Behind)
                    .await;
                Ok(())
            }
            Err(error) => {
                let until = self.failed(due, &error);
                self.postpone(delta::postpone(ski, until)).await
            }
        }
    }

    /// Tells that a CRL was not made; gives when to try again.
    fn failed(&self, due: &StoredRole, error: &VaError) -> Option<OffsetDateTime> {
        let ca_ski = &due.role.ca_ski;
        let now = self.service.db.now();
        let until = retry_after(due.number(), error).map(|pause| now.saturating_add(pause));
        if until.is_some() {
            metrics::crl_failed();
            tracing::error!(ca_ski, error = cause(error), "crl not made");
        } else {
            tracing::info!(ca_ski, reason = cause(error), "no more crls of this ca");
        }
        until
    }

    async fn postpone(&self, statement: Statement) -> Result<(), JobError> {
        let mut set = WriteSet::new();
        set.execute(statement);
        self.service.db.commit(set).await?;
        Ok(())
    }

    /// Removes files that nobody needs. A failure leaves them for the next time.
    async fn sweep(&self, ca_ski: &str, series: &Series, sweep: Sweep) {
        if let Err(error) = self.service.files.sweep(series, sweep).await {
            tracing::warn!(
                ca_ski,
                error = &error as &(dyn std::error::Error + 'static),
                "crl files not swept"
            );
        }
    }

    /// After a restore, relying parties may hold CRLs that this database does not know of: each CA
    /// makes one above them at once.
    async fn supersede_lost_crls(&self, now: OffsetDateTime) -> Result<(), JobError> {
        if self.service.number_floor > 0 {
            let mut set = WriteSet::new();
            set.execute(role::make_due_below(self.service.number_floor, now));
            self.service.db.commit(set).await?;
        }
        Ok(())
    }

    /// Roles that never had a CRL were given up for want of a key, which may be here by now.
    async fn try_again_without_crl(&self, now: OffsetDateTime) -> Result<(), JobError> {
        let mut set = WriteSet::new();
        set.execute(role::make_first_due(now));
        self.service.db.commit(set).await?;
        Ok(())
    }

    /// Removes what crashes left behind in the folder of any role.
    async fn sweep_all(&self) -> Result<(), JobError> {
        let mut after = String::new();
        loop {
            let roles = role::page(&self.service.db, &after, BATCH).await?;
            match roles.last() {
                Some((last, _)) => after.clone_from(last),
                None => return Ok(()),
            }
            for (ski, role) in roles {
                let Some(role) = readable(role) else { continue };
                for series in [Series::complete(&role), Series::delta(&role)] {
                    self.sweep(&ski, &series, Sweep::BehindAndAhead).await;
                }
            }
        }
    }
}

/// Clients are told that there is no CRL; the log is told why.
pub(crate) fn cause(error: &VaError) -> &(dyn std::error::Error + 'static) {
    match error {
        VaError::CrlNotFound(Some(cause)) => cause.as_ref(),
        other => other,
    }
}

/// When it is worth trying again; never where the CA is gone, or has never had a key here: then
/// the next start, another CA with its key, or whoever asks for the CRL, makes one.
pub(crate) fn retry_after(newest: u64, error: &VaError) -> Option<Duration> {
    match error {
        VaError::CaNotFound => None,
        VaError::CrlNotFound(_) if newest == 0 => None,
        error if error.kind() == ErrorKind::NotFound => Some(RETRY_WITHOUT_KEY),
        _ => Some(RETRY),
    }
}

/// What is due and can be read. What cannot is put off by its key, so that it neither holds up the others nor is
/// looked at all the time.
pub(crate) async fn readable_of<K, T>(
    db: &Db,
    due: Vec<(K, Result<T, DbError>)>,
    postpone: impl Fn(&K, OffsetDateTime) -> Statement,
) -> Result<Vec<T>, JobError> {
    let until = db.now().saturating_add(RETRY);
    let mut found = Vec::with_capacity(due.len());
    let mut set = WriteSet::new();
    for (key, read) in due {
        match readable(read) {
            Some(read) => found.push(read),
            None => {
                set.execute(postpone(&key, until));
            }
        }
    }
    if !set.is_empty() {
        db.commit(set).await?;
    }
    Ok(found)
}

/// When the job runs again.
pub(crate) fn next_run(next_due: Option<OffsetDateTime>, now: OffsetDateTime) -> NextRun {
    next_due.map_or(NextRun::WhenWoken, |due| NextRun::At(due.max(now)))
}

#[async_trait]
impl Job for CrlJob {
    fn name(&self) -> &'static str {
        CRL_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        if !self.swept.load(Ordering::Acquire) {
            self.sweep_all().await?;
            self.supersede_lost_crls(now).await?;
            self.try_again_without_crl(now).await?;
            self.swept.store(true, Ordering::Release);
        }
        // Roles that became due again meanwhile wait for the next run.
        let db = &self.service.db;
        let due = role::due(db, now, BATCH).await?;
        let due = readable_of(db, due, |ski, until| role::postpone(ski, Some(until))).await?;
        // Several at a time: an engine that is slow to answer holds up few others.
        let renewals: Vec<_> = due.iter().map(|role| self.renew(caller, role)).collect();
        stream::iter(renewals)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        // With the complete ones that were just made.
        let due = delta::due(db, db.now(), BATCH).await?;
        let due = readable_of(db, due, |ski, until| delta::postpone(ski, Some(until))).await?;
        let renewals: Vec<_> = due
            .iter()
            .map(|role| self.renew_delta(caller, role))
            .collect();
        stream::iter(renewals)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let overview = role::overview(db).await?;
        if let (Some(oldest), Some(expiry)) = (overview.oldest, overview.first_expiry) {
            metrics::crl_overview(now - oldest, expiry - now);
        }
        Ok(next_run(overview.next_due, now))
    }
}

/// See [`RECONCILE_JOB`].
#[derive(Debug)]
pub(crate) struct ReconcileJob {
    service: VaService,
}

impl ReconcileJob {
    pub(crate) const fn new(service: VaService) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for ReconcileJob {
    fn name(&self) -> &'static str {
        RECONCILE_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        self.service.reconcile_all(caller).await?;
        Ok(NextRun::At(now.saturating_add(RECONCILE_EVERY)))
    }
}
