//! A validation authority over the real CA service and KMS, and how it is asked.

mod asking;
mod authority;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::Router;
use lamassu_ca::{CaConfig, CaPorts, CaService, OthersRunning};
use lamassu_client::{CaClient, KmsClient, Peer, VaClient, testing};
use lamassu_core::clock::{Clock, ManualClock, SharedClock, SystemClock};
use lamassu_core::ids::EngineId;
use lamassu_core::kms::KmsService;
use lamassu_core::query::QueryLimits;
use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_db::{Db, Dialect, Job, NextRun, params, sql, system_caller};
use lamassu_http::testing::AllowAll;
use lamassu_http::{Routes, Stack};
use lamassu_kms::{Kms, KmsPorts};
use lamassu_testing::{TestDatabase, newest_event};
use lamassu_va::{
    Blobs, CA_SUBSCRIPTION, CaPlace, VaConfig, VaPorts, VaService, local_blobs, routes,
};
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::asking::{
    Answer, cert_id, default_options, get, percent_encoded_base64, post_ocsp, send, url_safe,
};
pub(crate) use self::authority::Ca;

/// The services on one database. Background work runs when a test says so: [`World::settle`].
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) va: VaService,
    pub(crate) router: Router,
    pub(crate) ca: Arc<CaService>,
    kms: Arc<dyn KmsService>,
    ca_router: Router,
    shutdown: CancellationToken,
    blobs: Blobs,
    /// Where CRL files are, unless somewhere else.
    dir: Option<TempDir>,
    database: TestDatabase,
    /// Where a KMS without keys keeps what it does not have.
    elsewhere: TestDatabase,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_config(VaConfig::default()).await
    }

    pub(crate) async fn with_config(config: VaConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = local_blobs(&dir.path().join("blobs")).unwrap();
        let mut world = Self::over(blobs, config).await;
        world.dir = Some(dir);
        world
    }

    /// A world whose CRL files are in this store.
    pub(crate) async fn over(blobs: Blobs, config: VaConfig) -> Self {
        // Both services name the same addresses, as one program has it.
        let va_server_domains = config.va_domains.clone();
        // openssl has no other clock than the machine's.
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let database = TestDatabase::fresh();
        let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
        let kms = kms(&db).await;
        let ports = CaPorts {
            db: db.clone(),
            kms: Arc::clone(&kms),
            others: OthersRunning::No,
            config: CaConfig {
                va_server_domains,
                ..CaConfig::default()
            },
        };
        let ca = Arc::new(CaService::new(ports).await.unwrap());
        let va = va(&db, &ca, Arc::clone(&kms), &blobs, config).await;
        let ca_routes = lamassu_ca::routes(Arc::clone(&ca) as _, QueryLimits::default());
        let ca_router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
            .mount("", &ca_routes)
            .build()
            .unwrap();
        Self {
            router: router(&va, &clock).await,
            db,
            clock,
            va,
            ca,
            kms,
            ca_router,
            shutdown: CancellationToken::new(),
            blobs,
            dir: None,
            database,
            elsewhere: TestDatabase::fresh(),
        }
    }

    /// A world that reads the log from now on, as a running process does.
    pub(crate) async fn running() -> Self {
        let world = Self::new().await;
        world.follow_events();
        world
    }

    /// Starts reading the log.
    pub(crate) fn follow_events(&self) {
        self.follow_events_with(&self.va);
    }

    /// Lets this process read the log.
    pub(crate) fn follow_events_with(&self, va: &VaService) {
        let (subscription, handler) = va.ca_subscription();
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { subscription.run(handler, &shutdown).await });
    }

    /// Waits until all events are handled, then makes the CRLs that are due.
    pub(crate) async fn settle(&self) {
        self.catch_up().await;
        self.run_crl_job().await;
    }

    /// Waits until all events are handled.
    pub(crate) async fn catch_up(&self) {
        let head = newest_event(&self.db).await;
        let reached = self.db.caught_up(CA_SUBSCRIPTION, head);
        tokio::time::timeout(StdDuration::from_secs(20), reached)
            .await
            .expect("the events are handled");
    }

    pub(crate) async fn run_crl_job(&self) -> NextRun {
        let job: Arc<dyn Job> = self.va.crl_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap()
    }

    pub(crate) async fn run_shard_job(&self) -> NextRun {
        let job = self.va.shard_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap()
    }

    pub(crate) async fn run_final_crl_job(&self) -> NextRun {
        let job = self.va.final_crl_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap()
    }

    /// Lets the CA service go on with what it has to do below deleted CAs.
    pub(crate) async fn run_cascades(&self) {
        let job = self.ca.cascades_job();
        job.run(&system_caller("test"), self.db.now())
            .await
            .unwrap();
    }

    pub(crate) async fn reconcile(&self) {
        let (job, now) = (self.va.reconcile_job(), self.db.now());
        let next = job.run(&system_caller("test"), now).await.unwrap();
        // It reads every revoked certificate: not again because nobody woke it.
        assert_eq!(next, NextRun::At(now + time::Duration::DAY));
    }

    /// Another connection to the database, where it takes several writers.
    pub(crate) async fn beside(&self) -> Option<Db> {
        if self.db.dialect() == Dialect::Sqlite {
            return None;
        }
        let clock = Arc::clone(&self.clock) as SharedClock;
        Some(self.database.open(&clock).await)
    }

    /// The same service under another configuration, over a KMS that has no keys.
    pub(crate) async fn without_keys_and_with(&self, config: VaConfig) -> Router {
        let other = self
            .elsewhere
            .open(&(Arc::clone(&self.clock) as SharedClock))
            .await;
        let kms = kms(&other).await;
        let va = va(&self.db, &self.ca, kms, &self.blobs, config).await;
        router(&va, &self.clock).await
    }

    /// The same service in another process, with caches of its own.
    pub(crate) async fn replica(&self) -> (VaService, Router) {
        self.replica_with(VaConfig::default()).await
    }

    pub(crate) async fn replica_with(&self, config: VaConfig) -> (VaService, Router) {
        let kms = Arc::clone(&self.kms);
        let va = va(&self.db, &self.ca, kms, &self.blobs, config).await;
        let router = router(&va, &self.clock).await;
        (va, router)
    }

    /// A validation authority with a database of its own, over the CA service of this one.
    pub(crate) async fn on_its_own_database(&self) -> Router {
        self.on_its_own_database_with(VaConfig::default()).await
    }

    pub(crate) async fn on_its_own_database_with(&self, config: VaConfig) -> Router {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let ports = VaPorts {
            db: self.elsewhere.open(&clock).await,
            ca: ca_client(&self.ca).await,
            ca_place: CaPlace::Elsewhere,
            kms: Arc::clone(&self.kms),
            blobs: Arc::clone(&self.blobs),
            config,
        };
        router(&VaService::new(ports).await.unwrap(), &self.clock).await
    }

    /// [`service_without_keys`](Self::service_without_keys) over HTTP.
    pub(crate) async fn without_keys(&self) -> Router {
        router(&self.service_without_keys().await, &self.clock).await
    }

    /// The same service over a KMS in another process, which is away.
    pub(crate) async fn with_kms_away(&self) -> VaService {
        let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let config = testing::loopback(port);
        let peer = Peer::new(&config, "service/va", testing::service_token()).unwrap();
        let kms = Arc::new(KmsClient::new(&peer));
        va(&self.db, &self.ca, kms, &self.blobs, VaConfig::default()).await
    }

    /// The same service over a KMS that has no keys.
    pub(crate) async fn service_without_keys(&self) -> VaService {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let other = self.elsewhere.open(&clock).await;
        let kms = kms(&other).await;
        va(&self.db, &self.ca, kms, &self.blobs, VaConfig::default()).await
    }

    /// The same service over a KMS whose database is away.
    pub(crate) async fn without_kms(&self) -> Router {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let other = self.elsewhere.open(&clock).await;
        let kms = kms(&other).await;
        let va = va(&self.db, &self.ca, kms, &self.blobs, VaConfig::default()).await;
        other.close().await;
        router(&va, &self.clock).await
    }

    /// A file in the store of CRLs.
    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.dir.as_ref().unwrap().path().join("blobs").join(name)
    }

    /// The folder of a CA's CRL files.
    pub(crate) fn crl_folder(&self, ca: &Ca) -> PathBuf {
        let dir = self.dir.as_ref().unwrap();
        dir.path().join("blobs/pki/va/crl").join(&ca.ski)
    }

    /// The names of a CA's CRL files, sorted.
    pub(crate) fn crl_files(&self, ca: &Ca) -> Vec<String> {
        let entries = std::fs::read_dir(self.crl_folder(ca)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// How often this operation is in the audit log.
    pub(crate) async fn audited(&self, operation: &str) -> usize {
        let query = sql(
            "SELECT operation FROM audit_log WHERE operation = $1",
            params![operation],
        );
        self.db.rows(query).await.unwrap().len()
    }

    /// Types and payloads of this service's events so far.
    pub(crate) async fn events(&self) -> Vec<(String, String, Value)> {
        let query = sql(
            "SELECT event_type, subject, body FROM event_log WHERE event_type LIKE 'va.%' \
             ORDER BY seq",
            params![],
        );
        let rows = self.db.rows(query).await.unwrap();
        rows.iter()
            .map(|row| {
                let body: Value =
                    serde_json::from_str(&row.get::<String>("body").unwrap()).unwrap();
                (
                    row.get("event_type").unwrap(),
                    row.get("subject").unwrap(),
                    body["data"].clone(),
                )
            })
            .collect()
    }
}

async fn kms(db: &Db) -> Arc<dyn KmsService> {
    let config = SoftwareConfig {
        id: "memory-1".to_owned(),
        metadata: serde_json::Map::new(),
    };
    let ports = KmsPorts {
        db: db.clone(),
        engines: vec![Arc::new(SoftwareEngine::new(config, KeyGenerator::new(1)))],
        default_engine: EngineId::from("memory-1"),
        unavailable: Vec::new(),
    };
    let kms = Arc::new(Kms::new(ports).await.unwrap());
    if !testing::is_remote() {
        return kms;
    }
    let routes = lamassu_kms::routes(kms, QueryLimits::default());
    let peer = testing::serve("/api/kms", &routes).await.unwrap();
    Arc::new(KmsClient::new(&peer))
}

/// The CA service, or its client in front of it.
async fn ca_client(ca: &Arc<CaService>) -> Arc<dyn lamassu_core::ca::CaService> {
    let ca = Arc::<CaService>::clone(ca);
    if !testing::is_remote() {
        return ca;
    }
    let routes = lamassu_ca::routes(ca, QueryLimits::default());
    let peer = testing::serve("/api/ca", &routes).await.unwrap();
    Arc::new(CaClient::new(&peer))
}

/// The service, or its client in front of it.
async fn reached(va: &VaService, clock: &Arc<ManualClock>) -> Arc<dyn lamassu_core::va::VaService> {
    let va = Arc::new(va.clone());
    if !testing::is_remote() {
        return va;
    }
    let routes = routes(va, Arc::clone(clock) as SharedClock, QueryLimits::default());
    let peer = testing::serve("/api/va", &routes).await.unwrap();
    Arc::new(VaClient::new(&peer))
}

async fn va(
    db: &Db,
    ca: &Arc<CaService>,
    kms: Arc<dyn KmsService>,
    blobs: &Blobs,
    config: VaConfig,
) -> VaService {
    let ports = VaPorts {
        db: db.clone(),
        ca: ca_client(ca).await,
        ca_place: CaPlace::Here,
        kms,
        blobs: Arc::clone(blobs),
        config,
    };
    VaService::new(ports).await.unwrap()
}

/// The routes under other limits.
pub(crate) async fn routes_of(
    va: &VaService,
    clock: &Arc<ManualClock>,
) -> impl Fn(QueryLimits) -> Routes + Send + Sync + use<> {
    let service = reached(va, clock).await;
    let clock = Arc::clone(clock) as SharedClock;
    move |limits| routes(Arc::clone(&service), Arc::clone(&clock), limits)
}

async fn router(va: &VaService, clock: &Arc<ManualClock>) -> Router {
    let routes = routes_of(va, clock).await(QueryLimits::default());
    Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .mount("", &routes)
        .mount("/api/va", &routes)
        .build()
        .unwrap()
}

pub(crate) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap()
}
