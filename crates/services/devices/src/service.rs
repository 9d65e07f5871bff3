//! The service: its ports, and the trait, one call per method.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device, DeviceError, DeviceService, DeviceStats,
};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_db::{Db, EventHandler, Job, MigrationError, Subscription, run_job};
use tokio_util::sync::CancellationToken;

use crate::certificate_events::{self, CertificateEvents};
use crate::config::{ConfigError, DevicesConfig};
use crate::group_query::GroupCache;
use crate::jobs::WindowsJob;
use crate::store::{CountBucket, DeviceStore, SCHEMA};

/// What the device manager needs.
#[derive(Clone, Debug)]
pub struct DevicesPorts {
    /// The database; its clock is the service's.
    pub db: Db,
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
}

/// The device manager; cheap to clone.
#[derive(Clone, Debug)]
pub struct DevicesService {
    pub(crate) db: Db,
    pub(crate) store: DeviceStore,
    pub(crate) bucket: CountBucket,
    pub(crate) groups: Arc<GroupCache>,
    pub(crate) max_group_depth: u32,
}

impl DevicesService {
    /// The service over these ports, its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn new(ports: DevicesPorts) -> Result<Self, StartError> {
        let DevicesPorts { db, config } = ports;
        config.validate()?;
        db.migrate(SCHEMA).await?;
        let store = DeviceStore::new(&db, config.events.v1_limit);
        Ok(Self {
            db,
            store,
            bucket: CountBucket::any(),
            groups: Arc::default(),
            max_group_depth: config.device_groups.max_depth,
        })
    }

    /// The job that moves identity slots through their renewal windows and expires them. Not run,
    /// no status changes by time.
    pub fn windows_job(&self) -> Arc<dyn Job> {
        Arc::new(WindowsJob::new(self.clone()))
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
        self.register(caller, request).await
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

    async fn bind_identity(
        &self,
        caller: &Caller,
        request: BindIdentity,
    ) -> Result<Device, DeviceError> {
        self.bind(caller, &request).await
    }
}
