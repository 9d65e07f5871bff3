//! Where the server certificate comes from, and how it stays fresh.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lamassu_core::clock::SharedClock;
use lamassu_x509::Certificate;
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::pem_files;
use super::server_certificate::ServerCertificate;
use super::server_config::provider;
use crate::config::GatewayConfig;
use crate::environment::Environment;
use crate::error::GatewayError;
use crate::metrics::record_certificate_expiry;
use crate::self_tls::{OwnTls, ServerNames};

/// How often files and names are looked at. One look is two small file reads.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The server certificate with its origin.
#[derive(Debug)]
pub(crate) struct CertificateSource {
    origin: Arc<Origin>,
    clock: SharedClock,
    certificate: Arc<ServerCertificate>,
}

#[derive(Debug)]
enum Origin {
    /// The operator's files; whoever renews them replaces the files.
    Files {
        cert_file: PathBuf,
        key_file: PathBuf,
        environment: Option<Environment>,
    },
    /// The installation's own CA.
    Own { tls: OwnTls, domains: Vec<String> },
}

impl Origin {
    /// The certificate as it should be now. Does file I/O.
    fn load(&self, clock: &SharedClock) -> Result<Arc<CertifiedKey>, GatewayError> {
        let provider = provider();
        match self {
            Self::Files {
                cert_file,
                key_file,
                environment,
            } => {
                pem_files::check_key_mode(key_file, *environment)?;
                pem_files::certified_key(&provider, cert_file, key_file)
            }
            Self::Own { tls, domains } => {
                tls.server_certificate(&provider, &ServerNames::of_this_host(domains), clock.now())
            }
        }
    }
}

impl CertificateSource {
    /// Reads the configured files, or makes the installation's own certificate.
    ///
    /// # Errors
    ///
    /// One of the file errors of [`GatewayError`].
    pub(crate) async fn open(
        config: &GatewayConfig,
        data_dir: &Path,
        clock: SharedClock,
    ) -> Result<Self, GatewayError> {
        let origin = match (config.tls.cert_file.clone(), config.tls.key_file.clone()) {
            (Some(cert_file), Some(key_file)) => Origin::Files {
                cert_file,
                key_file,
                environment: config.environment,
            },
            (Some(_) | None, None) | (None, Some(_)) => Origin::Own {
                tls: OwnTls::in_data_dir(data_dir),
                domains: config.domains.clone(),
            },
        };
        let origin = Arc::new(origin);
        let first = load(Arc::clone(&origin), Arc::clone(&clock)).await?;
        record_expiry(&first, &clock);
        Ok(Self {
            origin,
            clock,
            certificate: ServerCertificate::new(first),
        })
    }

    /// What the listener shows.
    pub(crate) fn certificate(&self) -> Arc<ServerCertificate> {
        Arc::clone(&self.certificate)
    }

    /// The trust anchor's file, where the installation made it.
    pub(crate) fn trust_anchor_file(&self) -> Option<PathBuf> {
        match &*self.origin {
            Origin::Own { tls, .. } => Some(tls.trust_anchor_file()),
            Origin::Files { .. } => None,
        }
    }

    /// Looks again every minute and shows what changed, until `stop`. A failure keeps the
    /// certificate that is shown.
    pub(crate) async fn keep_fresh(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match load(Arc::clone(&self.origin), Arc::clone(&self.clock)).await {
                Ok(next) => self.show(next),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    error!(error, "server certificate was not renewed");
                }
            }
        }
    }

    fn show(&self, next: Arc<CertifiedKey>) {
        record_expiry(&next, &self.clock);
        if next.cert != self.certificate.current().cert {
            self.certificate.replace(next);
            info!("server certificate replaced");
        }
    }
}

async fn load(origin: Arc<Origin>, clock: SharedClock) -> Result<Arc<CertifiedKey>, GatewayError> {
    let loaded = tokio::task::spawn_blocking(move || origin.load(&clock)).await;
    loaded.unwrap_or_else(|panicked| Err(GatewayError::SelfIssue(Box::new(panicked))))
}

fn record_expiry(shown: &CertifiedKey, clock: &SharedClock) {
    let end_entity = shown
        .cert
        .first()
        .and_then(|der| Certificate::from_der(der.to_vec()).ok());
    if let Some(certificate) = end_entity {
        record_certificate_expiry(certificate.not_after() - clock.now());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use lamassu_core::clock::{ManualClock, SharedClock};
    use time::OffsetDateTime;
    use time::macros::datetime;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::CertificateSource;
    use crate::config::GatewayConfig;

    const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    /// Changes something and waits until the running server shows another certificate.
    async fn shows_another_after(
        config: &GatewayConfig,
        dir: &Path,
        clock: &Arc<ManualClock>,
        change: impl FnOnce(),
    ) {
        let shared: SharedClock = Arc::clone(clock) as _;
        let source = CertificateSource::open(config, dir, shared).await.unwrap();
        let shown = source.certificate();
        let first = shown.current();
        let stop = CancellationToken::new();
        let task = tokio::spawn(source.keep_fresh(stop.clone()));
        change();
        while shown.current().cert == first.cert {
            // Time is paused: this lets it jump to the next look.
            drop(timeout(Duration::from_secs(1), std::future::pending::<()>()).await);
        }
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_server_shows_the_renewed_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let config = GatewayConfig::default();
        let later = || clock.advance(time::Duration::days(340));
        shows_another_after(&config, dir.path(), &clock, later).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_server_shows_replaced_files() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::at(START));
        for dir in [&dir, &other] {
            let shared: SharedClock = Arc::clone(&clock) as _;
            let config = GatewayConfig::default();
            CertificateSource::open(&config, dir.path(), shared)
                .await
                .unwrap();
        }
        let mut config = GatewayConfig::default();
        config.tls.cert_file = Some(dir.path().join("tls/server.pem"));
        config.tls.key_file = Some(dir.path().join("tls/server.key"));
        let replace = || {
            for file in ["tls/server.key", "tls/server.pem"] {
                fs::copy(other.path().join(file), dir.path().join(file)).unwrap();
            }
        };
        shows_another_after(&config, dir.path(), &clock, replace).await;
    }
}
