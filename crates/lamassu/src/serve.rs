//! `lamassu serve`: from configuration to a running platform and back.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lamassu_auth::Auth;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_core::dms::{DmsService as _, SweepScope};
use lamassu_core::pem::CertificateDer;
use lamassu_db::{Db, system_caller};
use lamassu_dms::DmsManager;
use lamassu_gateway::config::MetricsConfig;
use lamassu_gateway::{
    BoundGateway, Gateway, GatewayConfig, GatewayParts, MetricsExporter, Readiness,
};
use lamassu_kms::Kms;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::assembly::{self, Platform};
use crate::config::Config;
use crate::openapi;
use crate::services::{GATEWAY, MOUNTED};
use crate::starting::Door;
use crate::storage;
use crate::tls_anchor;
use crate::whereabouts::{self, Whereabouts};

/// How long what still runs may take to end, each kind.
const GRACE: Duration = Duration::from_secs(30);

/// Runs the platform until it is told to stop.
///
/// # Errors
/// One sentence: why it did not start.
pub(crate) async fn serve(config: Config) -> Result<()> {
    let begun = Instant::now();
    let metrics = MetricsExporter::install()?;
    describe_metrics();
    let clock: SharedClock = Arc::new(SystemClock);
    if let Some(path) = storage::unused_sqlite(&config) {
        warn!(
            path = %path.display(),
            "the SQLite database in the data directory is not used: storage.provider is postgres, \
             and its rows do not come along"
        );
    }
    let directory = whereabouts::own(config.data_dir.clone())?;
    let parts = Arc::new(OnceLock::new());
    let readiness = readiness(&parts);
    let listeners = bind(&config, &clock, &readiness, metrics).await?;
    let announced = Whereabouts::of(&config, &listeners)
        .map(|whereabouts| whereabouts.announce(&config.data_dir));
    let announcement = Announcement::of(&config, &listeners);
    let system_ca = system_ca(&config, announcement.trust_anchor.as_deref())?;
    let stop = Stop::on_signals()?;

    // The ports answer from here on, if only that the platform is not open yet.
    let door = Door::default();
    let listening = TaskTracker::new();
    for listener in listeners {
        listening.spawn(listener.serve(door.router(), stop.asked.clone()));
    }
    listening.close();
    let opening = async {
        let db = storage::open_patiently(&config, directory.clone(), &clock).await?;
        Platform::open(&config, db, Arc::clone(&clock), system_ca).await
    };
    // Whatever is given up half way is what a crash could leave.
    let platform = tokio::select! {
        opened = Box::pin(opening) => opened?,
        () = stop.asked.cancelled() => {
            info!("stopped while starting");
            return Ok(());
        }
    };
    // Nobody else can have set it.
    drop(parts.set(Parts {
        db: platform.db.clone(),
        auth: Arc::clone(&platform.auth),
        kms: platform.kms().cloned(),
    }));
    if config.storage.is_shared()
        && let Some(anchor) = &announcement.trust_anchor
    {
        tls_anchor::compare(&platform.db, anchor).await;
    }
    let begin = platform.db.now();
    let (requests, background) = (TaskTracker::new(), TaskTracker::new());
    let stack = platform.stack(&config, &readiness, &requests);
    let site = openapi::site(&stack.route_table())?;
    door.open(stack.site(site).build()?);
    let limits = config.storage.log_limits();
    platform.start_background(limits, &background, &stop.asked);
    let (stopping, is_shared) = (stop.asked.clone(), config.storage.is_shared());
    let sweeping = sweep(
        platform.kms().cloned(),
        platform.dms().cloned(),
        begin,
        is_shared,
    );
    background.spawn(async move { stopping.run_until_cancelled(sweeping).await });
    announcement.print(&config, begun)?;

    let ended = async {
        listening.wait().await;
        settle(&requests, "requests").await;
        settle(&background, "background work").await;
        platform.db.close().await;
        drop(announced);
        drop(directory);
    };
    tokio::select! {
        () = ended => info!("stopped"),
        () = stop.insisted.cancelled() => warn!("stopped at once, as asked twice"),
    }
    Ok(())
}

/// Opens the ports: those of the gateway, that of the services, or both.
async fn bind(
    config: &Config,
    clock: &SharedClock,
    readiness: &Arc<Readiness>,
    metrics: MetricsExporter,
) -> Result<Vec<BoundGateway>> {
    let is_gateway = config.services.has(GATEWAY);
    let parts = GatewayParts {
        data_dir: config.data_dir.clone(),
        clock: Arc::clone(clock),
        readiness: Arc::clone(readiness),
        build: assembly::build_info(),
        services: if is_gateway {
            MOUNTED.to_vec()
        } else {
            config.services.mounted()
        },
        metrics: Some(metrics),
    };
    let mut bound = Vec::new();
    for listener in listeners(config) {
        bound.push(Gateway::bind(listener, parts.clone()).await?);
    }
    Ok(bound)
}

/// What a process listens at: the gateway, the services, or both in this order.
pub(crate) fn listeners(config: &Config) -> Vec<GatewayConfig> {
    let is_gateway = config.services.has(GATEWAY);
    let mut listeners = Vec::new();
    if is_gateway {
        listeners.push(config.gateway.clone());
    }
    if config.has_service_listener() {
        let metrics = if is_gateway {
            MetricsConfig { listen: None }
        } else {
            config.gateway.metrics.clone()
        };
        listeners.push(config.server.listener(&config.gateway, metrics));
    }
    listeners
}

/// What the services listen at where they have a listener of their own.
pub(crate) fn services_listener(config: &Config) -> GatewayConfig {
    let metrics = MetricsConfig { listen: None };
    config.server.listener(&config.gateway, metrics)
}

/// Waits for what is still running, but not for ever.
async fn settle(tasks: &TaskTracker, what: &str) {
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        warn!(what, running = tasks.len(), "cut at shutdown");
    }
}

/// Keys that were in the making, and what crashed between the two commits of an enrollment: all of
/// it where nobody else runs. Requests are served meanwhile; what they began after `begin` is left
/// alone.
async fn sweep(
    kms: Option<Arc<Kms>>,
    dms: Option<Arc<DmsManager>>,
    begin: OffsetDateTime,
    is_shared: bool,
) {
    if let Some(kms) = kms
        && !is_shared
        && let Err(error) = kms.settle_unfinished(begin).await
    {
        // The reaper comes to them later.
        warn!(
            error = &error as &dyn std::error::Error,
            "keys that the last run left half done not settled"
        );
    }
    let Some(dms) = dms else {
        return;
    };
    let caller = system_caller("start");
    let scope = if is_shared {
        SweepScope::Stale
    } else {
        SweepScope::All
    };
    match dms.sweep_enrollments(&caller, scope).await {
        Ok(0) => {}
        Ok(handled) => info!(handled, "enrollments of the last run settled"),
        // The job of the DMS manager tries again in a minute.
        Err(error) => warn!(
            error = &error as &dyn std::error::Error,
            "enrollments of the last run not settled"
        ),
    }
}

/// The parts of the process that readiness speaks of; there once they are open.
struct Parts {
    db: Db,
    auth: Arc<Auth>,
    /// Where it runs in this process.
    kms: Option<Arc<Kms>>,
}

fn readiness(parts: &Arc<OnceLock<Parts>>) -> Arc<Readiness> {
    let (for_storage, for_engines) = (Arc::clone(parts), Arc::clone(parts));
    let for_issuer = Arc::clone(parts);
    Readiness::builder()
        .check("storage", move || {
            let parts = Arc::clone(&for_storage);
            async move {
                let ping = parts.get().ok_or("starting")?.db.ping().await;
                ping.map_err(|error| error.to_string())
            }
        })
        .check("crypto_engines", move || {
            let parts = Arc::clone(&for_engines);
            async move { parts.get().ok_or("starting")?.check_engines().await }
        })
        .check("token_issuer", move || {
            let parts = Arc::clone(&for_issuer);
            async move { parts.get().ok_or("starting")?.check_issuer().await }
        })
        .build()
}

impl Parts {
    async fn check_engines(&self) -> Result<(), String> {
        match &self.kms {
            Some(kms) => kms.check_engines().await,
            None => Ok(()),
        }
    }

    /// The local issuer has a key that signs.
    async fn check_issuer(&self) -> Result<(), String> {
        let minted = self
            .auth
            .issuer()
            .mint("readiness", &[], time::Duration::SECOND)
            .await;
        minted.map(drop).map_err(|error| error.to_string())
    }
}

/// The certificate that devices need to trust this server: the configured file's first one, or
/// the trust anchor of the certificate that the installation made for itself.
fn system_ca(config: &Config, trust_anchor: Option<&Path>) -> Result<Option<CertificateDer>> {
    let read = |path: &Path| -> Result<CertificateDer> {
        let text =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let der = lamassu_x509::pem::pem_to_der(&text)
            .with_context(|| format!("{} holds no certificate", path.display()))?;
        Ok(CertificateDer::from_der(der))
    };
    match (&config.downstream_cert_file, trust_anchor) {
        (Some(path), _) => read(path).map(Some),
        (None, Some(path)) => read(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// Where the platform is reached.
struct Announcement {
    /// The services of a process that runs only some, and their address.
    services: Option<(String, SocketAddr)>,
    https: Option<SocketAddr>,
    http: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    trust_anchor: Option<PathBuf>,
}

impl Announcement {
    fn of(config: &Config, listeners: &[BoundGateway]) -> Self {
        let is_gateway = config.services.has(GATEWAY);
        let gateway = listeners.first().filter(|_| is_gateway);
        let of_services = listeners.get(usize::from(is_gateway));
        let address = of_services.and_then(|one| one.http_addr().or_else(|| one.https_addr()));
        Self {
            services: address.map(|address| (config.services.mounted().join(", "), address)),
            https: gateway.and_then(BoundGateway::https_addr),
            http: gateway.and_then(BoundGateway::http_addr),
            metrics: listeners.iter().find_map(BoundGateway::metrics_addr),
            trust_anchor: listeners.iter().find_map(BoundGateway::trust_anchor_file),
        }
    }

    /// Tells where to reach the platform and how to log in, on standard output.
    fn print(&self, config: &Config, begun: Instant) -> Result<()> {
        let mut text = format!(
            "lamassu {} is ready ({:.2} s)\n",
            crate::version::VERSION,
            begun.elapsed().as_secs_f64()
        );
        if let Some((services, address)) = &self.services {
            text.push_str(&format!("  services {address}    {services}\n"));
        }
        if let Some(address) = self.https {
            text.push_str(&format!(
                "  HTTPS    https://localhost:{}    management API and EST\n",
                address.port()
            ));
        }
        if let Some(address) = self.http {
            text.push_str(&format!(
                "  HTTP     http://localhost:{}    OCSP, CRLs, CA certificates, health\n",
                address.port()
            ));
        }
        match (self.metrics, config.gateway.metrics.listen) {
            (Some(address), _) => {
                text.push_str(&format!("  metrics  http://{address}/metrics\n"));
            }
            (None, Some(address)) => {
                text.push_str(&format!("  metrics  off, {address} is taken\n"));
            }
            (None, None) => {}
        }
        if let Some(path) = &self.trust_anchor {
            text.push_str(&format!(
                "  trust    {}    give it to curl as --cacert\n",
                path.display()
            ));
        }
        let program = std::env::current_exe().unwrap_or_else(|_| "lamassu".into());
        let file = config.file.as_ref();
        let file = file.map(|path| format!(" --config {}", path.display()));
        text.push_str(&format!(
            "  log in   {} token{} --data-dir {}    prints a bearer token\n",
            program.display(),
            file.unwrap_or_default(),
            config.data_dir.display()
        ));
        let mut output = std::io::stdout().lock();
        let printed = output.write_all(text.as_bytes());
        match printed.and_then(|()| output.flush()) {
            // Nobody wants to know; that is no reason not to serve.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            printed => printed.context("standard output cannot be written"),
        }
    }
}

/// How the process is asked to stop: politely by the first signal, insistently by the second.
struct Stop {
    asked: CancellationToken,
    insisted: CancellationToken,
}

impl Stop {
    /// Listens for SIGTERM and SIGINT from now on.
    fn on_signals() -> Result<Self> {
        let mut terminate = signal(SignalKind::terminate()).context("signals cannot be handled")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be handled")?;
        let stop = Self {
            asked: CancellationToken::new(),
            insisted: CancellationToken::new(),
        };
        let (asked, insisted) = (stop.asked.clone(), stop.insisted.clone());
        // Lives as long as the process: there is nothing to wait for.
        tokio::spawn(async move {
            for token in [asked, insisted] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                info!("stopping");
                token.cancel();
            }
        });
        Ok(stop)
    }
}

fn describe_metrics() {
    lamassu_db::describe_metrics();
    lamassu_http::describe_metrics();
    lamassu_auth::describe_metrics();
    lamassu_client::describe_metrics();
    lamassu_kms::describe_metrics();
    lamassu_ca::describe_metrics();
    lamassu_devices::describe_metrics();
    lamassu_dms::describe_metrics();
    lamassu_va::describe_metrics();
}
