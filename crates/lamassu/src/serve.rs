//! `lamassu serve`: from configuration to a running platform and back.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lamassu_auth::Auth;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_core::dms::{DmsService as _, SweepScope};
use lamassu_core::pem::CertificateDer;
use lamassu_db::{Db, system_caller};
use lamassu_gateway::{BoundGateway, Gateway, GatewayParts, MetricsExporter, Readiness};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::assembly::{self, Platform};
use crate::config::Config;
use crate::openapi;
use crate::services::MOUNTED;

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
    let db = assembly::open_storage(&config, &clock).await?;
    let parts = Arc::new(OnceLock::new());
    let readiness = readiness(&db, &parts);
    let gateway = Gateway::bind(
        config.gateway.clone(),
        GatewayParts {
            data_dir: config.data_dir.clone(),
            clock: Arc::clone(&clock),
            readiness: Arc::clone(&readiness),
            build: assembly::build_info(),
            services: MOUNTED.to_vec(),
            metrics: Some(metrics),
        },
    )
    .await?;
    let system_ca = system_ca(&config, &gateway)?;
    let platform = Platform::open(&config, db, clock, system_ca).await?;
    // Nobody else can have set it.
    drop(parts.set(Parts {
        auth: Arc::clone(&platform.auth),
        engines: platform.engines.clone(),
    }));
    sweep(&platform).await;

    let (requests, background) = (TaskTracker::new(), TaskTracker::new());
    let stop = Stop::on_signals()?;
    let stack = platform.stack(&config, &readiness, &requests);
    let site = openapi::site(&stack.route_table())?;
    let router = stack.site(site).build()?;
    platform.start_background(&background, &stop.asked);
    announce(&config, &gateway, begun)?;

    let asked = stop.asked.clone();
    let ended = async {
        gateway.serve(router, asked).await;
        settle(&requests, "requests").await;
        settle(&background, "background work").await;
        platform.db.close().await;
    };
    tokio::select! {
        () = ended => info!("stopped"),
        () = stop.insisted.cancelled() => warn!("stopped at once, as asked twice"),
    }
    Ok(())
}

/// Waits for what is still running, but not for ever.
async fn settle(tasks: &TaskTracker, what: &str) {
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        warn!(what, running = tasks.len(), "cut at shutdown");
    }
}

/// Keys that were in the making, and what crashed between the two commits of an enrollment; nobody
/// else runs, so all of it.
async fn sweep(platform: &Platform) {
    if let Err(error) = platform.kms.settle_unfinished().await {
        // The reaper comes to them later.
        warn!(
            error = &error as &dyn std::error::Error,
            "keys that the last run left half done not settled"
        );
    }
    let caller = system_caller("start");
    match platform
        .dms
        .sweep_enrollments(&caller, SweepScope::All)
        .await
    {
        Ok(0) => {}
        Ok(handled) => info!(handled, "enrollments of the last run settled"),
        // The job of the DMS manager tries again in a minute.
        Err(error) => warn!(
            error = &error as &dyn std::error::Error,
            "enrollments of the last run not settled"
        ),
    }
}

/// The parts of the process that readiness speaks of beside storage; there once they are open.
struct Parts {
    auth: Arc<Auth>,
    engines: Vec<Arc<dyn CryptoEngine>>,
}

fn readiness(db: &Db, parts: &Arc<OnceLock<Parts>>) -> Arc<Readiness> {
    let db = db.clone();
    let (for_engines, for_issuer) = (Arc::clone(parts), Arc::clone(parts));
    Readiness::builder()
        .check("storage", move || {
            let db = db.clone();
            async move { db.ping().await.map_err(|error| error.to_string()) }
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
    /// Every engine answers what it holds.
    async fn check_engines(&self) -> Result<(), String> {
        for engine in &self.engines {
            if let Err(error) = engine.list(None, 1).await {
                return Err(format!("{}: {error}", engine.info().id));
            }
        }
        Ok(())
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
fn system_ca(config: &Config, gateway: &BoundGateway) -> Result<Option<CertificateDer>> {
    let read = |path: &Path| -> Result<CertificateDer> {
        let text =
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let der = lamassu_x509::pem::pem_to_der(&text)
            .with_context(|| format!("{} holds no certificate", path.display()))?;
        Ok(CertificateDer::from_der(der))
    };
    match (&config.downstream_cert_file, gateway.trust_anchor_file()) {
        (Some(path), _) => read(path).map(Some),
        (None, Some(path)) => read(&path).map(Some),
        (None, None) => Ok(None),
    }
}

/// Tells where to reach the platform and how to log in, on standard output.
fn announce(config: &Config, gateway: &BoundGateway, begun: Instant) -> Result<()> {
    let mut text = format!(
        "lamassu {} is ready ({:.2} s)\n",
        crate::version::VERSION,
        begun.elapsed().as_secs_f64()
    );
    if let Some(address) = gateway.https_addr() {
        text.push_str(&format!(
            "  HTTPS    https://localhost:{}    management API and EST\n",
            address.port()
        ));
    }
    if let Some(address) = gateway.http_addr() {
        text.push_str(&format!(
            "  HTTP     http://localhost:{}    OCSP, CRLs, CA certificates, health\n",
            address.port()
        ));
    }
    if let Some(address) = gateway.metrics_addr() {
        text.push_str(&format!("  metrics  http://{address}/metrics\n"));
    }
    if let Some(path) = gateway.trust_anchor_file() {
        text.push_str(&format!(
            "  trust    {}    give it to curl as --cacert\n",
            path.display()
        ));
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "lamassu".into());
    text.push_str(&format!(
        "  log in   {} token --data-dir {}    prints a bearer token\n",
        program.display(),
        config.data_dir.display()
    ));
    let mut output = std::io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("standard output cannot be written")
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
    lamassu_kms::describe_metrics();
    lamassu_ca::describe_metrics();
    lamassu_devices::describe_metrics();
    lamassu_dms::describe_metrics();
    lamassu_va::describe_metrics();
}
