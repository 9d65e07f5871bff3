//! The service: what it stands on, and what it does by itself.

mod calls;

use std::sync::Arc;

use lamassu_core::ca::Certificate;
use lamassu_core::ids::ProfileId;
use lamassu_core::kms::KmsService;
use lamassu_db::list::warn_without_search_index;
use lamassu_db::{
    CommitError, Db, DbError, EventHandler, Job, MigrationError, RefusalLog, Subscription,
    WriteSet, run_job,
};
use lamassu_x509::lint::LintPolicy;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::bound_events::{self, BoundEvents};
use crate::cache::Ready;
use crate::config::{CaConfig, CaConfigError};
use crate::jobs::{
    AbandonedOperations, Cascades, CertificateExpiry, CertificateUpkeep, OthersRunning,
    Revocations, is_due_soon,
};
use crate::moved_keys::{self, MovedKeys};
use crate::store::certificate::{Beside, CertificateId};
use crate::store::{self, certificate};
use crate::windows::next_window;

/// What the service stands on.
#[derive(Debug)]
pub struct CaPorts {
    /// The database; its clock is the service's.
    pub db: Db,
    /// Who holds the keys.
    pub kms: Arc<dyn KmsService>,
    /// Whether other processes may work on the same database.
    pub others: OthersRunning,
    /// The configuration.
    pub config: CaConfig,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not one to run with.
    #[error(transparent)]
    Config(#[from] CaConfigError),
    /// The tables cannot be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// Certificates of before could not be indexed.
    #[error("certificates could not be indexed")]
    Index(#[from] CommitError),
    /// The indexes could not be looked at.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// How many refused changes a minute go into the audit log.
const REFUSALS_PER_MINUTE: u32 = 600;

/// Certificate authorities, certificates and issuance profiles.
#[derive(Debug)]
pub struct CaService {
    pub(crate) db: Db,
    pub(crate) kms: Arc<dyn KmsService>,
    pub(crate) config: CaConfig,
    pub(crate) ready: Ready,
    pub(crate) lint: LintPolicy,
    /// Operations that began before this are abandoned whatever their age; `None` where others
    /// may be at them.
    pub(crate) predecessors_end: Option<OffsetDateTime>,
    pub(crate) refusals: RefusalLog,
}

impl CaService {
    /// The service over these ports, its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn new(ports: CaPorts) -> Result<Self, StartError> {
        let CaPorts {
            db,
            kms,
            others,
            config,
        } = ports;
        config.validate()?;
        let lint = config.lint_policy()?;
        db.migrate(store::SCHEMA).await?;
        warn_without_search_index(&db, "certificate_text").await?;
        warn_without_search_index(&db, "certificate_serial_text").await?;
        let domains = config.va_server_domains.clone();
        let ready = Ready::new(db.clone(), Arc::clone(&kms), domains, config.cached_issuers);
        let predecessors_end = match others {
            OthersRunning::Maybe => None,
            OthersRunning::No => Some(db.now()),
        };
        let service = Self {
            refusals: RefusalLog::new(&db, REFUSALS_PER_MINUTE),
            db,
            kms,
            config,
            ready,
            lint,
            predecessors_end,
        };
        service.index_certificates().await?;
        Ok(service)
    }

    /// The job that follows certificates in time: tells when they are about to end, and sets them
    /// to `EXPIRED`.
    pub fn expiry_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(CertificateExpiry::new(Arc::clone(self)))
    }

    /// The job that settles operations which never finished.
    pub fn operations_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(AbandonedOperations::new(Arc::clone(self)))
    }

    /// The job that keeps up counts and names of certificates.
    pub fn upkeep_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(CertificateUpkeep::new(Arc::clone(self)))
    }

    /// The job that goes on with what goes down from CAs.
    pub fn cascades_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(Cascades::new(Arc::clone(self)))
    }

    /// The job that carries on with the revocation of many certificates.
    pub fn revocations_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(Revocations::new(Arc::clone(self)))
    }

    /// The reader of bindings and what it does with them.
    pub fn bound_subscription(&self) -> (Subscription, Arc<dyn EventHandler>) {
        let handler = BoundEvents {
            db: self.db.clone(),
        };
        (bound_events::subscription(&self.db), Arc::new(handler))
    }

    /// The reader of keys that move to another engine, and what it does with them.
    pub fn moved_subscription(&self) -> (Subscription, Arc<dyn EventHandler>) {
        let handler = MovedKeys {
            db: self.db.clone(),
        };
        (moved_keys::subscription(&self.db), Arc::new(handler))
    }

    /// All background work of the service, until `shutdown`; what is in progress is finished.
    pub async fn run(self: &Arc<Self>, shutdown: &CancellationToken) {
        let (bound, bind) = self.bound_subscription();
        let (moved, follow) = self.moved_subscription();
        let expiry = async {
            if self.config.certificate_monitoring_job.enabled {
                run_job(&self.db, self.expiry_job(), shutdown).await;
            }
        };
        tokio::join!(
            bound.run(bind, shutdown),
            moved.run(follow, shutdown),
            run_job(&self.db, self.operations_job(), shutdown),
            run_job(&self.db, self.upkeep_job(), shutdown),
            run_job(&self.db, self.cascades_job(), shutdown),
            run_job(&self.db, self.revocations_job(), shutdown),
            expiry,
        );
    }

    /// Adds a new certificate to a write set that no stored profile made; see
    /// [`insert_issued`](Self::insert_issued).
    pub(crate) fn insert_certificate(
        &self,
        set: &mut WriteSet,
        id: &CertificateId,
        new: &Certificate,
        now: OffsetDateTime,
    ) {
        self.insert_issued(set, id, new, None, now);
    }

    /// Adds a new certificate to a write set, and wakes the expiry job when it is short-lived.
    pub(crate) fn insert_issued(
        &self,
        set: &mut WriteSet,
        id: &CertificateId,
        new: &Certificate,
        profile: Option<&ProfileId>,
        now: OffsetDateTime,
    ) {
        let beside = Beside {
            profile,
            next_window: self.next_window(new, now),
            now,
        };
        certificate::insert(set, id, new, beside);
        self.wake_if_due_soon(set, new, now);
    }

    /// When the next default window of a certificate begins.
    pub(crate) fn next_window(
        &self,
        certificate: &Certificate,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        next_window(&self.config.expiration_windows, certificate, now)
    }

    /// Wakes the expiry job after a write set that leaves it less time than it sleeps.
    pub(crate) fn wake_if_due_soon(
        &self,
        set: &mut WriteSet,
        certificate: &Certificate,
        now: OffsetDateTime,
    ) {
        if self.config.certificate_monitoring_job.enabled
            && is_due_soon(certificate, &self.config.expiration_windows, now)
        {
            set.wake(CertificateExpiry::NAME);
        }
    }
}
