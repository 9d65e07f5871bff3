//! The service: what it stands on, and one line per call.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lamassu_core::ca::CaService;
use lamassu_core::caller::Caller;
use lamassu_core::kms::KmsService;
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::va::{self as api, Crl, CrlOptions, CrlShard, OcspAnswer, VaError, VaRole};
use lamassu_db::{
    Db, DbError, Dialect, EventHandler, Job, MigrationError, Subscription, instant, restored_at,
    run_job,
};
use moka::sync::Cache;
use object_store::ObjectStore;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::authorities::AuthorityTable;
use crate::ca_events::{self, CaEvents};
use crate::ca_failure::no_ca_data;
use crate::config::{VaConfig, VaConfigError};
use crate::delegates::Delegates;
use crate::files::CrlFiles;
use crate::jobs::{CrlJob, ReconcileJob};
use crate::presigned::PresignedAnswers;
use crate::store;

/// What the service stands on.
#[derive(Debug)]
pub struct VaPorts {
    /// The database; its clock is the service's.
    pub db: Db,
    /// Who knows CAs and certificates.
    pub ca: Arc<dyn CaService>,
    /// Where that is: what another process changes is not heard of before the change is answered.
    pub ca_place: CaPlace,
    /// Who holds the keys.
    pub kms: Arc<dyn KmsService>,
    /// Where CRL files go: [`local_blobs`](crate::local_blobs), or any other store.
    pub blobs: Arc<dyn ObjectStore>,
    /// The configuration.
    pub config: VaConfig,
}

/// Where the CA service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaPlace {
    /// In this process, on the same database.
    Here,
    /// In another process, perhaps on another database.
    Elsewhere,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not one to run with.
    #[error(transparent)]
    Config(#[from] VaConfigError),
    /// The tables cannot be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The database does not answer.
    #[error(transparent)]
    Storage(#[from] DbError),
}

/// The validation authority; cheap to clone.
#[derive(Clone, Debug)]
pub struct VaService {
    pub(crate) db: Db,
    pub(crate) ca: Arc<dyn CaService>,
    pub(crate) kms: Arc<dyn KmsService>,
    pub(crate) config: Arc<VaConfig>,
    pub(crate) authorities: Arc<AuthorityTable>,
    pub(crate) files: CrlFiles,
    /// No CRL gets a number below this; 0 unless the database was restored from a backup.
    pub(crate) number_floor: u64,
    /// OCSP answers that were signed before.
    pub(crate) presigned: Arc<PresignedAnswers>,
    /// The certificates of delegated OCSP responders.
    pub(crate) delegates: Arc<Delegates>,
    /// DER of the CRLs that were fetched lately, by the digest of the DER.
    pub(crate) served: Cache<String, Bytes>,
}

impl VaService {
    /// The service over these ports, its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn new(ports: VaPorts) -> Result<Self, StartError> {
        let VaPorts {
            db,
            ca,
            ca_place,
            kms,
            blobs,
            config,
        } = ports;
        config.validate()?;
        db.migrate(store::SCHEMA).await?;
        let number_floor = restored_at(&db).await?.map_or(0, numbers_since);
        let served = Cache::builder()
            .max_capacity(config.crl.cache_bytes)
            .weigher(|_, der: &Bytes| u32::try_from(der.len()).unwrap_or(u32::MAX))
            .build();
        let cache_bytes = config.ocsp.cache_bytes;
        let is_shared = ca_place == CaPlace::Elsewhere || db.dialect() == Dialect::Postgres;
        let presigned = Arc::new(PresignedAnswers::new(cache_bytes, is_shared));
        db.watch_commits(Arc::clone(&presigned) as _);
        let delegates = Arc::new(Delegates::new(Arc::clone(&presigned)));
        db.watch_commits(Arc::clone(&delegates) as _);
        Ok(Self {
            db,
            presigned,
            delegates,
            authorities: Arc::new(AuthorityTable::new(Arc::clone(&ca))),
            ca,
            kms,
            files: CrlFiles::new(blobs, config.crl.keep_last_n),
            config: Arc::new(config),
            number_floor,
            served,
        })
    }

    /// The reader of the CA service's events and what it does with them.
    pub fn ca_subscription(&self) -> (Subscription, Arc<dyn EventHandler>) {
        let handler = Arc::new(CaEvents::new(self.clone()));
        (ca_events::subscription(&self.db), handler)
    }

    /// The job that makes CRLs when they are due.
    pub fn crl_job(&self) -> Arc<dyn Job> {
        Arc::new(CrlJob::new(self.clone()))
    }

    /// The job that compares the revoked entries with the CA service, when a process takes that over, and daily.
    pub fn reconcile_job(&self) -> Arc<dyn Job> {
        Arc::new(ReconcileJob::new(self.clone()))
    }

    /// All background work of the service, until `shutdown`; what is in progress is finished.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let (subscription, handler) = self.ca_subscription();
        tokio::join!(
            subscription.run(handler, shutdown),
            run_job(&self.db, self.crl_job(), shutdown),
            run_job(&self.db, self.shard_job(), shutdown),
            run_job(&self.db, self.final_crl_job(), shutdown),
            run_job(&self.db, self.reconcile_job(), shutdown),
            self.keep_answers(shutdown),
        );
    }

    /// `thisUpdate` of what is signed at `now`.
    pub(crate) fn back_dated(&self, now: OffsetDateTime) -> OffsetDateTime {
        let back_dating = Duration::from(self.config.validation.back_dating);
        now.saturating_sub(back_dating)
    }

    /// The certificate of a CA, DER.
    async fn ca_der(&self, caller: &Caller, ski: &str) -> Result<Bytes, VaError> {
        let ski = ski.to_ascii_lowercase();
        let authority = self.authorities.by_ski(caller, &ski).await;
        let authority = authority.map_err(no_ca_data)?.ok_or(VaError::CaNotFound)?;
        Ok(authority.certificate.as_der().clone())
    }
}

/// The first CRL number after a restore: its time in microseconds.
///
/// Nobody knows which numbers were published after the backup was taken, perhaps also after an
/// earlier restore of the same backup. But CRLs of one CA take longer than a microsecond each, so at
/// no time any number was above the microseconds that had passed by then: what was published before
/// a restore is below its time, however often that happens. The numbers stay below 2^53, so JSON
/// readers that know only floating point read them right until the year 2255.
fn numbers_since(restored_at: OffsetDateTime) -> u64 {
    u64::try_from(instant::to_micros(restored_at)).unwrap_or_default()
}

#[async_trait]
impl api::VaService for VaService {
    async fn ocsp(&self, caller: &Caller, request: Bytes) -> OcspAnswer {
        self.answer_ocsp(caller, request).await
    }

    async fn crl(&self, caller: &Caller, ca_ski: &str) -> Result<Crl, VaError> {
        self.newest_crl(caller, ca_ski).await
    }

    async fn delta_crl(&self, _: &Caller, ca_ski: &str) -> Result<Crl, VaError> {
        self.newest_delta(ca_ski).await
    }

    async fn shard_crl(
        &self,
        caller: &Caller,
        ca_ski: &str,
        shard: CrlShard,
    ) -> Result<Crl, VaError> {
        self.newest_of_shard(caller, ca_ski, shard).await
    }

    async fn import_crl(
        &self,
        caller: &Caller,
        ca_ski: &str,
        crl: Bytes,
    ) -> Result<VaRole, VaError> {
        self.take_crl(caller, ca_ski, crl).await
    }

    async fn ca_certificate(&self, caller: &Caller, ca_ski: &str) -> Result<Bytes, VaError> {
        self.ca_der(caller, ca_ski).await
    }

    async fn role(&self, _: &Caller, ca_ski: &str) -> Result<VaRole, VaError> {
        let stored = self.stored_role(&ca_ski.to_ascii_lowercase()).await?;
        stored
            .map(|stored| stored.role)
            .ok_or(VaError::RoleNotFound)
    }

    async fn set_role_options(
        &self,
        caller: &Caller,
        ca_ski: &str,
        options: CrlOptions,
    ) -> Result<VaRole, VaError> {
        self.replace_options(caller, ca_ski, &options).await
    }

    async fn roles(&self, _: &Caller, request: &ListRequest) -> Result<Page<VaRole>, VaError> {
        self.list_roles(request).await
    }
}
