//! The service: its ports, and the trait, one call per method.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::ca::CaService;
use lamassu_core::caller::Caller;
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device, DeviceError, DeviceService, DeviceStats, EnrollingDevice,
    IdentityReplacement,
};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::query::ListRequest;
use lamassu_db::{
    Db, DbError, EventHandler, Job, MigrationError, RefusalLog, Subscription, run_job,
};
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::certificate_events::{self, CertificateEvents};
use crate::config::{ConfigError, DevicesConfig};
use crate::follow_up::CertificatesJob;
use crate::group_action_job::ActionsJob;
use crate::group_renewal::RenewalJob;
use crate::group_watch::GroupCache;
use crate::jobs::WindowsJob;
use crate::owners::KnownOwners;
use crate::store::{CountBucket, DeviceStore, SCHEMA};
use crate::values::{IndexedPath, ValuesJob};

/// What the device manager needs.
#[derive(Clone, Debug)]
pub struct DevicesPorts {
    /// The database; its clock is the service's.
    pub db: Db,
    /// The CA service, which certificates of devices belong to.
    pub ca: Arc<dyn CaService>,
    /// The configuration.
    pub config: DevicesConfig,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not one to run with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tables cannot be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The groups of devices cannot be read.
    #[error("device groups cannot be read")]
    Groups(#[source] DbError),
}

/// The device manager; cheap to clone.
#[derive(Clone, Debug)]
pub struct DevicesService {
    pub(crate) db: Db,
    pub(crate) store: DeviceStore,
    pub(crate) bucket: CountBucket,
    pub(crate) ca: Arc<dyn CaService>,
    /// Within which time changes by the same caller are one history entry.
    pub(crate) coalesce: Duration,
    pub(crate) retain_history: bool,
    pub(crate) groups: Arc<GroupCache>,
    pub(crate) max_group_depth: u32,
    /// Where in metadata devices are found by value.
    pub(crate) indexed: Arc<[IndexedPath]>,
    pub(crate) refusals: Arc<RefusalLog>,
    pub(crate) owners: KnownOwners,
}

/// How many refused changes a minute go into the audit log.
const REFUSALS_PER_MINUTE: u32 = 600;

/// A device as it was asked for, in the audit log.
pub(crate) fn named(id: &DeviceId) -> String {
    format!("device/{id}")
}

impl DevicesService {
    /// The service over these ports, its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn new(ports: DevicesPorts) -> Result<Self, StartError> {
        let DevicesPorts { db, ca, config } = ports;
        config.validate()?;
        db.migrate(SCHEMA).await?;
        let store = DeviceStore::new(&db, config.events.v1_limit);
        let service = Self {
            refusals: Arc::new(RefusalLog::new(&db, REFUSALS_PER_MINUTE)),
            owners: KnownOwners::default(),
            db,
            store,
            bucket: CountBucket::any(),
            ca,
            coalesce: config.events.coalesce.into(),
            retain_history: config.events.retain_after_delete,
            groups: Arc::default(),
            max_group_depth: config.device_groups.max_depth,
            indexed: config.indexed_paths()?.into(),
        };
        service.current_groups().await.map_err(StartError::Groups)?;
        Ok(service)
    }

    /// The job that moves identity slots through their renewal windows and expires them. Not run,
    /// no status changes by time.
    pub fn windows_job(&self) -> Arc<dyn Job> {
        Arc::new(WindowsJob::new(self.clone()))
    }

    /// The job that has certificates follow their devices. Not run, they stay as they are.
    pub fn certificates_job(&self) -> Arc<dyn Job> {
        Arc::new(CertificatesJob::new(self.clone()))
    }

    /// The job that keeps what devices are found by. Not run, filters find the same by looking longer.
    pub fn values_job(&self) -> Arc<dyn Job> {
        Arc::new(ValuesJob::new(self.clone()))
    }

    /// The job that does what was asked for with all members of groups. Not run, nothing is done.
    pub fn actions_job(&self) -> Arc<dyn Job> {
        Arc::new(ActionsJob::new(self.clone()))
    }

    /// The job that has renewal windows follow the policies of groups. Not run, they stay as they were when
    /// the certificates were bound.
    pub fn renewal_job(&self) -> Arc<dyn Job> {
        Arc::new(RenewalJob::new(self.clone()))
    }

    /// The reader of certificate events and what it does with them.
    pub fn certificate_subscription(&self) -> (Subscription, Arc<dyn EventHandler>) {
        let handler = CertificateEvents::new(self.clone());
        (
            certificate_events::subscription(&self.db),
            Arc::new(handler),
        )
    }

    /// All background work of the service, until `shutdown`; what is in progress is finished.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let (subscription, handler) = self.certificate_subscription();
        tokio::join!(
            subscription.run(handler, shutdown),
            run_job(&self.db, self.windows_job(), shutdown),
            run_job(&self.db, self.certificates_job(), shutdown),
            run_job(&self.db, self.values_job(), shutdown),
            run_job(&self.db, self.actions_job(), shutdown),
            run_job(&self.db, self.renewal_job(), shutdown),
            self.watch_groups(shutdown),
        );
    }
}

#[async_trait]
impl DeviceService for DevicesService {
    async fn create_device(
        &self,
        caller: &Caller,
        request: CreateDevice,
    ) -> Result<Device, DeviceError> {
        let change = ("device.create", named(&request.id));
        self.refusals
            .watch(caller, change, self.register(caller, request))
            .await
    }

    async fn device(&self, _caller: &Caller, id: &DeviceId) -> Result<Device, DeviceError> {
        self.read(id).await
    }

    async fn devices(
        &self,
        _caller: &Caller,
        owner: Option<&DmsId>,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceError> {
        self.list(owner, request).await
    }

    async fn stats(
        &self,
        _caller: &Caller,
        request: &ListRequest,
    ) -> Result<DeviceStats, DeviceError> {
        self.count(request).await
    }

    async fn patch_metadata(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patches: Vec<PatchOperation>,
    ) -> Result<Device, DeviceError> {
        let change = ("device.metadata.update", named(id));
        self.refusals
            .watch(caller, change, self.patch_v1(caller, id, &patches))
            .await
    }

    async fn replace_identity(
        &self,
        caller: &Caller,
        id: &DeviceId,
        slot: IdentityReplacement,
    ) -> Result<Device, DeviceError> {
        let change = ("device.identity.update", named(id));
        self.refusals
            .watch(caller, change, self.replace(caller, id, &slot))
            .await
    }

    async fn decommission(&self, caller: &Caller, id: &DeviceId) -> Result<Device, DeviceError> {
        let change = ("device.decommission", named(id));
        self.refusals
            .watch(caller, change, self.decommission_v1(caller, id))
            .await
    }

    async fn delete_device(&self, caller: &Caller, id: &DeviceId) -> Result<(), DeviceError> {
        let change = ("device.delete", named(id));
        self.refusals
            .watch(caller, change, self.delete_v1(caller, id))
            .await
    }

    async fn enrolling_device(
        &self,
        _caller: &Caller,
        id: &DeviceId,
        create: Option<&CreateDevice>,
    ) -> Result<EnrollingDevice, DeviceError> {
        self.read_enrolling(id, create).await
    }

    async fn bind_identity(
        &self,
        caller: &Caller,
        request: BindIdentity,
    ) -> Result<Device, DeviceError> {
        self.bind(caller, &request).await
    }
}
