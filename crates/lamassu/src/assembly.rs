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
use lamassu_core::device::{DeviceManager, DeviceService};
use lamassu_core::dms::DmsService;
use lamassu_core::ids::EngineId;
use lamassu_core::kms::KmsService;
use lamassu_core::pem::CertificateDer;
use lamassu_db::{DataDir, Db, Job, LogLimits, TrimLog, run_job};
use lamassu_devices::{DevicesPorts, DevicesService, Owners};
use lamassu_dms::{DmsManager, DmsPorts};
use lamassu_gateway::{BuildInfo, Readiness};
use lamassu_http::{AddressLimit, MountedRoute, Routes, Stack};
use lamassu_kms::{Kms, KmsPorts};
use lamassu_va::{CaPlace, VaPorts, VaService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::peers::Peers;
use crate::services::GATEWAY;
use crate::{engines, event_routes, health_routes, storage, version};

/// The services that run in this process, and the way to those that run elsewhere.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) db: Db,
    clock: SharedClock,
    pub(crate) auth: Arc<Auth>,
    here: Here,
    reach: Reach,
}

/// What runs in this process.
#[derive(Debug, Default)]
struct Here {
    kms: Option<Arc<Kms>>,
    ca: Option<Arc<lamassu_ca::CaService>>,
    devices: Option<Arc<DevicesService>>,
    dms: Option<Arc<DmsManager>>,
    va: Option<Arc<VaService>>,
}

/// What this process answers for: its own services and, behind a gateway, all others.
#[derive(Debug, Default)]
struct Reach {
    kms: Option<Arc<dyn KmsService>>,
    ca: Option<Arc<dyn CaService>>,
    devices: Option<Arc<dyn DeviceManager>>,
    dms: Option<Arc<dyn DmsService>>,
    va: Option<Arc<dyn lamassu_core::va::VaService>>,
}

impl Platform {
    /// Opens the services of this process over the database, and clients for what they need of
    /// others.
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
        let peers = Peers::new(config, auth.issuer(), &clock);
        let services = &config.services;
        let mut here = Here::default();
        if services.has("kms") {
            let engines = config.engines();
            let opened = tokio::task::block_in_place(|| engines::open(&engines))?;
            here.kms = Some(open_kms(&db, opened, engines.default_id).await?);
        }
        let kms = |source: &str| match &here.kms {
            Some(kms) => Ok(Arc::clone(kms) as Arc<dyn KmsService>),
            None => peers.kms(source),
        };
        if services.has("ca") {
            let ports = CaPorts {
                db: db.clone(),
                kms: kms("service/ca")?,
                others: if config.storage.is_shared() {
                    OthersRunning::Maybe
                } else {
                    // The data directory's lock is held.
                    OthersRunning::No
                },
                config: config.ca.clone(),
            };
            here.ca = Some(Arc::new(lamassu_ca::CaService::new(ports).await?));
        }
        let ca = |source: &str| match &here.ca {
            Some(ca) => Ok(Arc::clone(ca) as Arc<dyn CaService>),
            None => peers.ca(source),
        };
        if services.has("devmanager") {
            let ports = DevicesPorts {
                db: db.clone(),
                ca: ca("service/devmanager")?,
                config: config.devmanager.clone(),
            };
            here.devices = Some(Arc::new(DevicesService::new(ports).await?));
        }
        let devices = |source: &str| match &here.devices {
            Some(devices) => Ok(Arc::clone(devices) as Arc<dyn DeviceService>),
            None => peers.devices(source).map(|devices| devices as _),
        };
        if services.has("dmsmanager") {
            let ports = DmsPorts {
                db: db.clone(),
                ca: ca("service/ra")?,
                devices: devices("service/ra")?,
                system_ca: Arc::new(system_ca),
                config: config.est.clone(),
            };
            here.dms = Some(Arc::new(DmsManager::new(ports).await?));
        }
        if let Some(devices) = &here.devices
            && let Some(owners) = owners(&here, &peers)?
        {
            devices.ask_for_owners(owners);
        }
        if services.has("va") {
            let ports = VaPorts {
                db: db.clone(),
                ca: ca("service/va")?,
                ca_place: match here.ca {
                    Some(_) => CaPlace::Here,
                    None => CaPlace::Elsewhere,
                },
                kms: kms("service/va")?,
                blobs: config.open_crl_store()?,
                config: config.va.clone(),
            };
            here.va = Some(Arc::new(VaService::new(ports).await?));
        }
        let reach = Reach::open(&here, &peers, services.has(GATEWAY))?;
        Ok(Self {
            db,
            clock,
            auth,
            here,
            reach,
        })
    }

    /// The key manager, if it runs here.
    pub(crate) fn kms(&self) -> Option<&Arc<Kms>> {
        self.here.kms.as_ref()
    }

    /// The DMS manager, if it runs here.
    pub(crate) fn dms(&self) -> Option<&Arc<DmsManager>> {
        self.here.dms.as_ref()
    }

    /// All routes of the process, behind authentication.
    pub(crate) fn stack(
        &self,
        config: &Config,
        readiness: &Arc<Readiness>,
        tasks: &TaskTracker,
    ) -> Stack {
        let mut stack = Stack::new(Arc::clone(&self.auth) as _, tasks.clone())
            .admission(config.requests)
            .mount("/api", &lamassu_auth::routes(Arc::clone(&self.auth)))
            .mount("/api/events", &event_routes::routes(self.db.clone()));
        let query = config.query;
        let mut mounted: Vec<(&str, Routes)> = Vec::new();
        if let Some(kms) = &self.reach.kms {
            mounted.push(("kms", lamassu_kms::routes(Arc::clone(kms), query)));
        }
        if let Some(ca) = &self.reach.ca {
            mounted.push(("ca", lamassu_ca::routes(Arc::clone(ca), query)));
        }
        if let Some(devices) = &self.reach.devices {
            let clock = Arc::clone(&self.clock);
            let routes = lamassu_devices::routes(Arc::clone(devices), clock, query);
            mounted.push(("devmanager", routes));
        }
        if let Some(dms) = &self.reach.dms {
            mounted.push(("dmsmanager", lamassu_dms::routes(Arc::clone(dms), query)));
            let est = lamassu_dms::est_routes(Arc::clone(dms), config.est.clone())
                .limited(AddressLimit::per_second(config.est.rate_limit));
            for prefix in ["/api/dmsmanager", "/api", ""] {
                stack = stack.mount(prefix, &est);
            }
        }
        if let Some(va) = &self.reach.va {
            let routes = lamassu_va::routes(Arc::clone(va), Arc::clone(&self.clock), query);
            let limit = config.requests.max_validations_per_second;
            let routes = routes.limited(AddressLimit::per_second(limit));
            mounted.push(("va", routes));
        }
        let health = health_routes::routes(Arc::clone(readiness), build_info());
        let alone = mounted.len() == 1 && !config.services.has(GATEWAY);
        for (service, routes) in &mounted {
            let prefix = format!("/api/{service}");
            stack = stack
                .mount(&prefix, routes)
                .mount(&prefix, &health)
                .mount(&prefix, &lamassu_auth::service_routes());
            if alone {
                // As a service of the reference answers: without a prefix.
                stack = stack
                    .mount("", routes)
                    .mount("", &health)
                    .mount("", &lamassu_auth::service_routes());
            }
        }
        stack
    }

    /// Starts everything that runs beside requests; it ends after `shutdown`.
    pub(crate) fn start_background(
        &self,
        limits: LogLimits,
        background: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let jobs: [Arc<dyn Job>; 2] = [
            Arc::new(KeyRotation(Arc::clone(self.auth.issuer()))),
            Arc::new(TrimLog::new(&self.db, limits)),
        ];
        for job in jobs {
            let (db, stop) = (self.db.clone(), shutdown.clone());
            background.spawn(async move { run_job(&db, job, &stop).await });
        }
        let here = &self.here;
        if let Some(kms) = here.kms.clone() {
            let stop = shutdown.clone();
            background.spawn(async move { kms.run(&stop).await });
        }
        if let Some(ca) = here.ca.clone() {
            let stop = shutdown.clone();
            background.spawn(async move { ca.run(&stop).await });
        }
        if let Some(devices) = here.devices.clone() {
            let stop = shutdown.clone();
            background.spawn(async move { devices.run(&stop).await });
        }
        if let Some(dms) = here.dms.clone() {
            let stop = shutdown.clone();
            background.spawn(async move { dms.run(&stop).await });
        }
        if let Some(va) = here.va.clone() {
            let stop = shutdown.clone();
            background.spawn(async move { va.run(&stop).await });
        }
    }
}

impl Reach {
    /// The services of this process; those of others, too, where it is the way to them.
    fn open(here: &Here, peers: &Peers<'_>, is_gateway: bool) -> Result<Self> {
        let mut reach = Self {
            kms: here.kms.clone().map(|kms| kms as _),
            ca: here.ca.clone().map(|ca| ca as _),
            devices: here.devices.clone().map(|devices| devices as _),
            dms: here.dms.clone().map(|dms| dms as _),
            va: here.va.clone().map(|va| va as _),
        };
        if is_gateway {
            // Calls are passed on in the name of whoever made them.
            let source = "";
            if reach.kms.is_none() {
                reach.kms = Some(peers.kms(source)?);
            }
            if reach.ca.is_none() {
                reach.ca = Some(peers.ca(source)?);
            }
            if reach.devices.is_none() {
                reach.devices = Some(peers.devices(source)?);
            }
            if reach.dms.is_none() {
                reach.dms = Some(peers.dms(source)?);
            }
            if reach.va.is_none() {
                reach.va = Some(peers.va(source)?);
            }
        }
        Ok(reach)
    }
}

/// Where the device manager asks for DMSs: in this process, or where the configuration says.
fn owners(here: &Here, peers: &Peers<'_>) -> Result<Option<Owners>> {
    if let Some(dms) = &here.dms {
        let dms: Arc<dyn DmsService> = Arc::clone(dms) as _;
        return Ok(Some(Owners::Here(Arc::downgrade(&dms))));
    }
    let named = peers.knows_dms().then(|| peers.dms("service/devmanager"));
    Ok(named.transpose()?.map(Owners::Elsewhere))
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
    let data = DataDir::open(config.data_dir.clone())?;
    let db = storage::open(&config, data, &clock).await?;
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
