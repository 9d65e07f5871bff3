//! Putting the platform together: storage, engines, services, routes, background work.
//!
//! Here, and only here, it is decided which implementation stands behind which port.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use lamassu_auth::{Auth, KeyRotation};
use lamassu_ca::{CaPorts, OthersRunning};
use lamassu_core::ca::CaService;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_core::device::DeviceService;
use lamassu_core::dms::DmsService;
use lamassu_core::ids::EngineId;
use lamassu_core::kms::KmsService;
use lamassu_core::pem::CertificateDer;
use lamassu_db::{DataDir, Db, Job, LogLimits, SqliteOptions, TrimLog, run_job};
use lamassu_devices::{DevicesPorts, DevicesService};
use lamassu_dms::{DmsManager, DmsPorts};
use lamassu_gateway::{BuildInfo, Readiness};
use lamassu_http::{MountedRoute, Stack};
use lamassu_kms::{Kms, KmsPorts};
use lamassu_va::{VaPorts, VaService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::services::MOUNTED;
use crate::{engines, health_routes, version};

/// Every service of this process, over one database.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) db: Db,
    clock: SharedClock,
    pub(crate) auth: Arc<Auth>,
    /// The crypto engines that opened, for the readiness check.
    pub(crate) engines: Vec<Arc<dyn CryptoEngine>>,
    pub(crate) kms: Arc<Kms>,
    ca: Arc<lamassu_ca::CaService>,
    devices: Arc<DevicesService>,
    pub(crate) dms: Arc<DmsManager>,
    va: Arc<VaService>,
}

/// Opens the database of a configuration's data directory, which this process then owns.
///
/// # Errors
/// One sentence: the directory is in use, of a newer version, or cannot be written.
pub(crate) async fn open_storage(config: &Config, clock: &SharedClock) -> Result<Db> {
    let directory = DataDir::open(config.data_dir.clone())?;
    Ok(Db::open_sqlite(directory, SqliteOptions::default(), Arc::clone(clock)).await?)
}

impl Platform {
    /// Opens every service over the database.
    ///
    /// # Errors
    /// One sentence: what does not open, and why.
    pub(crate) async fn open(
        config: &Config,
        db: Db,
        clock: SharedClock,
        system_ca: Option<CertificateDer>,
    ) -> Result<Self> {
        let auth = Auth::open(&config.authentication, &db, Arc::clone(&clock)).await?;
        let engines = config.engines();
        let opened = tokio::task::block_in_place(|| engines::open(&engines))?;
        let held = opened.engines.clone();
        let kms = open_kms(&db, opened, engines.default_id).await?;
        let kms_port: Arc<dyn KmsService> = Arc::clone(&kms) as _;
        let ca = Arc::new(
            lamassu_ca::CaService::new(CaPorts {
                db: db.clone(),
                kms: Arc::clone(&kms_port),
                // The data directory's lock is held.
                others: OthersRunning::No,
                config: config.ca.clone(),
            })
            .await?,
        );
        let ca_port: Arc<dyn CaService> = Arc::clone(&ca) as _;
        let devices = DevicesService::new(DevicesPorts {
            db: db.clone(),
            config: config.devmanager.clone(),
        })
        .await?;
        let devices = Arc::new(devices);
        let devices_port: Arc<dyn DeviceService> = Arc::clone(&devices) as _;
        let dms = Arc::new(
            DmsManager::new(DmsPorts {
                db: db.clone(),
                ca: Arc::clone(&ca_port),
                devices: devices_port,
                system_ca: Arc::new(system_ca),
                config: config.est.clone(),
            })
            .await?,
        );
        let va = VaService::new(VaPorts {
            db: db.clone(),
            ca: ca_port,
            kms: kms_port,
            blobs: lamassu_va::local_blobs(&config.crl_directory()?)?,
            config: config.va.clone(),
        })
        .await?;
        Ok(Self {
            db,
            clock,
            auth,
            engines: held,
            kms,
            ca,
            devices,
            dms,
            va: Arc::new(va),
        })
    }

    /// All routes of the process, behind authentication.
    pub(crate) fn stack(
        &self,
        config: &Config,
        readiness: &Arc<Readiness>,
        tasks: &TaskTracker,
    ) -> Stack {
        let kms = lamassu_kms::routes(Arc::clone(&self.kms) as Arc<dyn KmsService>, config.query);
        let ca = lamassu_ca::routes(Arc::clone(&self.ca) as Arc<dyn CaService>, config.query);
        let devices = lamassu_devices::routes(
            Arc::clone(&self.devices) as Arc<dyn DeviceService>,
            config.query,
        );
        let dms = Arc::clone(&self.dms) as Arc<dyn DmsService>;
        let est = lamassu_dms::est_routes(Arc::clone(&dms), config.est.clone());
        let va: Arc<dyn lamassu_core::va::VaService> = Arc::clone(&self.va) as _;
        let va = lamassu_va::routes(va, Arc::clone(&self.clock), config.query);
        let mut stack = Stack::new(Arc::clone(&self.auth) as _, tasks.clone())
            .mount("/api", &lamassu_auth::routes(Arc::clone(&self.auth)))
            .mount("/api/kms", &kms)
            .mount("/api/ca", &ca)
            .mount("/api/devmanager", &devices)
            .mount("/api/dmsmanager", &lamassu_dms::routes(dms, config.query))
            .mount("/api/dmsmanager", &est)
            .mount("/api", &est)
            .mount("", &est)
            .mount("/api/va", &va);
        let health = health_routes::routes(Arc::clone(readiness), build_info());
        for service in MOUNTED {
            let prefix = format!("/api/{service}");
            stack = stack
                .mount(&prefix, &health)
                .mount(&prefix, &lamassu_auth::service_routes());
        }
        stack
    }

    /// Starts everything that runs beside requests; it ends after `shutdown`.
    pub(crate) fn start_background(&self, background: &TaskTracker, shutdown: &CancellationToken) {
        let jobs: [Arc<dyn Job>; 2] = [
            Arc::new(KeyRotation(Arc::clone(self.auth.issuer()))),
            Arc::new(TrimLog::new(&self.db, LogLimits::default())),
        ];
        for job in jobs {
            let (db, stop) = (self.db.clone(), shutdown.clone());
            background.spawn(async move { run_job(&db, job, &stop).await });
        }
        let (kms, stop) = (Arc::clone(&self.kms), shutdown.clone());
        background.spawn(async move { kms.run(&stop).await });
        let (ca, stop) = (Arc::clone(&self.ca), shutdown.clone());
        background.spawn(async move { ca.run(&stop).await });
        let (devices, stop) = (Arc::clone(&self.devices), shutdown.clone());
        background.spawn(async move { devices.run(&stop).await });
        let (dms, stop) = (Arc::clone(&self.dms), shutdown.clone());
        background.spawn(async move { dms.run(&stop).await });
        let (va, stop) = (Arc::clone(&self.va), shutdown.clone());
        background.spawn(async move { va.run(&stop).await });
    }
}

async fn open_kms(db: &Db, opened: engines::Opened, default_engine: EngineId) -> Result<Arc<Kms>> {
    let kms = Kms::new(KmsPorts {
        db: db.clone(),
        engines: opened.engines,
        default_engine,
        unavailable: opened.unavailable,
    })
    .await?;
    Ok(Arc::new(kms))
}

/// What `/health` tells of this program.
pub(crate) fn build_info() -> BuildInfo {
    BuildInfo {
        version: version::VERSION.to_owned(),
        build: version::BUILD.to_owned(),
        build_time: version::BUILD_TIME.to_owned(),
    }
}

/// Brings every table up to date, and nothing else.
///
/// # Errors
/// As a start.
pub(crate) async fn migrate(config: &Config) -> Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    let db = open_storage(config, &clock).await?;
    let platform = Platform::open(config, db, clock, None).await?;
    platform.db.close().await;
    crate::print("the database is up to date")
}

/// The routes of the program, without an installation: an empty one is made and thrown away.
///
/// # Errors
/// The temporary directory cannot be written.
pub(crate) async fn route_table() -> Result<Vec<MountedRoute>> {
    let directory = Throwaway::new()?;
    let config = Config {
        data_dir: directory.0.clone(),
        ..Config::default()
    };
    let clock: SharedClock = Arc::new(SystemClock);
    let db = open_storage(&config, &clock).await?;
    let platform = Platform::open(&config, db, clock, None).await?;
    let table = platform
        .stack(&config, &Readiness::builder().build(), &TaskTracker::new())
        .route_table();
    platform.db.close().await;
    Ok(table)
}

/// A directory that is removed with this value.
#[derive(Debug)]
struct Throwaway(PathBuf);

impl Throwaway {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lamassu-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // What cannot be removed is in the system's own place for such things.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
