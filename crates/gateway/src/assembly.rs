//! Putting the gateway together: bind first, then serve.
//!
//! Binding is apart from serving, so that a taken port or an unreadable key is known before any
//! service starts, and so that the ports chosen for 0 can be printed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use lamassu_core::clock::SharedClock;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{GatewayConfig, PlainHttpMode};
use crate::error::GatewayError;
use crate::front::{Front, Hsts};
use crate::health::{BuildInfo, Readiness};
use crate::hygiene::ForwardedClientCertificateConfig;
use crate::listener::{Listener, StopSignals, bind};
use crate::metrics::{MetricsExporter, UPKEEP_INTERVAL};
use crate::plain_http::PlainHttpPolicy;
use crate::status_page::StatusPage;
use crate::tls::certificate_source::CertificateSource;
use crate::tls::client_trust;
use crate::tls::server_config::server_config;

/// The gateway before it is bound.
#[derive(Debug)]
pub struct Gateway;

/// What the gateway needs of the rest of the process.
#[derive(Clone, Debug)]
pub struct GatewayParts {
    /// The installation's directory; the gateway keeps its own certificate in `tls` below it.
    pub data_dir: PathBuf,
    /// The time, for certificates.
    pub clock: SharedClock,
    /// The checks behind `/readyz`.
    pub readiness: Arc<Readiness>,
    /// What the status page tells.
    pub build: BuildInfo,
    /// Names of the services that run here, as in `/api/<name>/`.
    pub services: Vec<&'static str>,
    /// The recorder of the process; `None` for no metrics endpoint.
    pub metrics: Option<MetricsExporter>,
}

impl Gateway {
    /// Binds all ports and reads, makes or renews the server certificate.
    ///
    /// # Errors
    ///
    /// Any [`GatewayError`]; its text is one sentence for the operator.
    pub async fn bind(
        config: GatewayConfig,
        parts: GatewayParts,
    ) -> Result<BoundGateway, GatewayError> {
        config.validate()?;
        let http = match config.http_port {
            Some(port) => Some(bind(config.listen_address, port).await?),
            None => None,
        };
        let https = match config.https_port {
            Some(port) => Some(Https::bind(&config, &parts, port).await?),
            None => None,
        };
        let metrics = match (config.metrics.listen, parts.metrics.clone()) {
            (Some(address), Some(exporter)) => bind_metrics(address, exporter).await,
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        Ok(BoundGateway {
            config,
            parts,
            http,
            https,
            metrics,
        })
    }
}

/// The HTTPS listener with its certificate.
#[derive(Debug)]
struct Https {
    socket: TcpListener,
    tls: Arc<ServerConfig>,
    source: CertificateSource,
}

impl Https {
    async fn bind(
        config: &GatewayConfig,
        parts: &GatewayParts,
        port: u16,
    ) -> Result<Self, GatewayError> {
        let socket = bind(config.listen_address, port).await?;
        let source =
            CertificateSource::open(config, &parts.data_dir, Arc::clone(&parts.clock)).await?;
        let clients = client_trust::verifier(&config.tls)?;
        let tls = Arc::new(server_config(&config.tls, source.certificate(), clients)?);
        Ok(Self {
            socket,
            tls,
            source,
        })
    }
}

/// The loopback listener for Prometheus; metrics are no reason not to start.
async fn bind_metrics(
    address: SocketAddr,
    exporter: MetricsExporter,
) -> Option<(TcpListener, MetricsExporter)> {
    match bind(Some(address.ip()), address.port()).await {
        Ok(socket) => Some((socket, exporter)),
        Err(error) => {
            warn!(
                %error,
                %address,
                "metrics endpoint is off: give gateway.metrics.listen an address that is free, or \
                 null for no metrics"
            );
            None
        }
    }
}

/// A gateway whose ports are open and not yet served.
#[derive(Debug)]
pub struct BoundGateway {
    config: GatewayConfig,
    parts: GatewayParts,
    http: Option<TcpListener>,
    https: Option<Https>,
    metrics: Option<(TcpListener, MetricsExporter)>,
}

impl BoundGateway {
    /// Address and port of plain HTTP.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
            .as_ref()
            .and_then(|socket| socket.local_addr().ok())
    }

    /// Address and port of HTTPS.
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https
            .as_ref()
            .and_then(|https| https.socket.local_addr().ok())
    }

    /// Address and port of the metrics endpoint; `None` where the port was taken.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics
            .as_ref()
            .and_then(|(socket, _)| socket.local_addr().ok())
    }

    /// The file with the trust anchor of the server certificate, where the installation made
    /// that certificate itself.
    pub fn trust_anchor_file(&self) -> Option<PathBuf> {
        self.https
            .as_ref()
            .and_then(|https| https.source.trust_anchor_file())
    }

    /// The file with the server certificate, where the operator gave one.
    pub fn certificate_file(&self) -> Option<PathBuf> {
        self.config.tls.cert_file.clone()
    }

    /// Serves `services` until `shutdown` is cancelled and what was in flight is done or cut.
    ///
    /// The gateway answers `GET` of `/`, `/livez`, `/readyz` and `/healthz` itself; every other
    /// request reaches the router with its target as it came.
    pub async fn serve(self, services: Router, shutdown: CancellationToken) {
        let stop = StopSignals {
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let connections = TaskTracker::new();
        let upkeep = TaskTracker::new();
        let timeouts = self.config.timeouts.clone();
        let readiness = Arc::clone(&self.parts.readiness);
        self.start(services, &stop, &connections, &upkeep);

        shutdown.cancelled().await;
        readiness.stop();
        tokio::time::sleep_until(Instant::now() + timeouts.shutdown_delay).await;
        stop.drain.cancel();
        connections.close();
        upkeep.close();
        if timeout(timeouts.shutdown, connections.wait())
            .await
            .is_err()
        {
            warn!(open = connections.len(), "requests were cut at shutdown");
        }
        stop.cut.cancel();
        connections.wait().await;
        upkeep.wait().await;
        info!("gateway stopped");
    }

    fn start(
        self,
        services: Router,
        stop: &StopSignals,
        connections: &TaskTracker,
        upkeep: &TaskTracker,
    ) {
        let front = Arc::new(self.front(services));
        let Self {
            config,
            parts,
            http,
            https,
            metrics,
        } = self;
        let listener = |socket, tls, front| Listener {
            socket,
            tls,
            front,
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
            stop: stop.clone(),
        };
        if let Some(socket) = http {
            let listener = listener(socket, None, Arc::clone(&front));
            connections.spawn(listener.run(connections.clone()));
        }
        if let Some(Https {
            socket,
            tls,
            source,
        }) = https
        {
            upkeep.spawn(source.keep_fresh(stop.drain.clone()));
            let listener = listener(socket, Some(tls), front);
            connections.spawn(listener.run(connections.clone()));
        }
        if let Some((socket, exporter)) = metrics {
            upkeep.spawn(run_upkeep(exporter.clone(), stop.drain.clone()));
            let front = Arc::new(metrics_front(&parts, exporter));
            connections.spawn(listener(socket, None, front).run(connections.clone()));
        }
    }

    fn front(&self, services: Router) -> Front {
        let https_port = self.https_addr().map(|address| address.port());
        let default_host = self.config.domains.first().cloned();
        Front {
            services,
            forwarded: self.config.forwarded_client_certificate.clone(),
            plain_http: PlainHttpPolicy::new(
                self.config.plain_http_mode(),
                https_port,
                default_host,
            ),
            hsts: if self.config.sends_hsts() {
                Hsts::Send
            } else {
                Hsts::Omit
            },
            readiness: Arc::clone(&self.parts.readiness),
            status_page: StatusPage::new(&self.parts.build, &self.parts.services),
        }
    }
}

fn metrics_front(parts: &GatewayParts, exporter: MetricsExporter) -> Front {
    Front {
        services: Router::new().route("/metrics", get(async move || exporter.render())),
        forwarded: ForwardedClientCertificateConfig::default(),
        plain_http: PlainHttpPolicy::new(PlainHttpMode::Everything, None, None),
        hsts: Hsts::Omit,
        readiness: Arc::clone(&parts.readiness),
        status_page: StatusPage::new(&parts.build, &parts.services),
    }
}

async fn run_upkeep(exporter: MetricsExporter, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => exporter.upkeep(),
        }
    }
}
