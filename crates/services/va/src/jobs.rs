//! Background work: CRLs that are due, and the comparison with the CA service at start.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_core::va::VaError;
use lamassu_db::{Job, JobError, NextRun, WriteSet};
use time::{Duration, OffsetDateTime};

use crate::files::Sweep;
use crate::metrics;
use crate::renew::Renewal;
use crate::service::VaService;
use crate::store::role::{self, StoredRole};

/// The job that makes CRLs; also its lease and its signal.
pub const CRL_JOB: &str = "va-crl";

/// The job that compares the revoked entries with the CA service; runs once at each start.
pub const RECONCILE_JOB: &str = "va-reconcile";

/// Roles per query.
const BATCH: u32 = 100;

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
                self.sweep(&renewed, Sweep::Behind).await;
                Ok(())
            }
            Err(error) => {
                metrics::crl_failed();
                tracing::error!(
                    ca_ski = ski,
                    error = &error as &(dyn std::error::Error + 'static),
                    "crl not made"
                );
                let mut set = WriteSet::new();
                let until = self.service.db.now().saturating_add(retry_after(&error));
                set.execute(role::postpone(ski, until));
                self.service.db.commit(set).await?;
                Ok(())
            }
        }
    }

    /// Removes files that nobody needs. A failure leaves them for the next time.
    async fn sweep(&self, role: &StoredRole, sweep: Sweep) {
        if let Err(error) = self.service.files.sweep(role, sweep).await {
            tracing::warn!(
                ca_ski = role.role.ca_ski,
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

    /// Removes what crashes left behind in the folder of any role.
    async fn sweep_all(&self) -> Result<(), JobError> {
        let mut after = String::new();
        loop {
            let roles = role::page(&self.service.db, &after, BATCH).await?;
            for role in &roles {
                self.sweep(role, Sweep::BehindAndAhead).await;
            }
            match roles.last() {
                Some(last) => after.clone_from(&last.role.ca_ski),
                None => return Ok(()),
            }
        }
    }
}

fn retry_after(error: &VaError) -> Duration {
    if error.kind() == ErrorKind::NotFound {
        RETRY_WITHOUT_KEY
    } else {
        RETRY
    }
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
            self.swept.store(true, Ordering::Release);
        }
        // Roles that became due again meanwhile wait for the next run.
        let due = role::due(&self.service.db, now, BATCH).await?;
        for role in &due {
            self.renew(caller, role).await?;
        }
        let overview = role::overview(&self.service.db).await?;
        if let (Some(oldest), Some(expiry)) = (overview.oldest, overview.first_expiry) {
            metrics::crl_overview(now - oldest, expiry - now);
        }
        Ok(overview.next_due.map_or(NextRun::WhenWoken, NextRun::At))
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

    async fn run(&self, caller: &Caller, _: OffsetDateTime) -> Result<NextRun, JobError> {
        self.service.reconcile_all(caller).await?;
        Ok(NextRun::WhenWoken)
    }
}
