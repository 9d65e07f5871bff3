//! `lamassu healthcheck`: asks a running server whether it is ready.
//!
//! Which one, its data directory tells, or else the configuration: the server that a start with
//! the same arguments would be.

use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lamassu_client::{ClientConfig, NoAuth, Peer, ProcessClient};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::StorageFailure;
use lamassu_db::system_caller;

use crate::address;
use crate::cli::Healthcheck;
use crate::config::Config;
use crate::serve;
use crate::whereabouts::{Whereabouts, trust_anchor};

/// How long the server may take to answer.
const DEADLINE: WireDuration = WireDuration::from_secs(5);

/// Succeeds when the server says that it is ready.
///
/// # Errors
/// One sentence: which server is asked, and why it is not ready.
pub(crate) async fn ask(arguments: &Healthcheck) -> Result<()> {
    let mut server = match &arguments.url {
        Some(url) => named(url, arguments)?,
        None => found(arguments)?,
    };
    server.timeout = DEADLINE;
    server.retries = 0;
    let place = format!(
        "{}://{}:{}",
        server.protocol.scheme(),
        server.hostname,
        server.port
    );
    let peer = Peer::new(&server, "", Arc::new(NoAuth))?;
    let caller = system_caller("healthcheck");
    let found = ProcessClient::new(&peer).readiness(&caller).await;
    let found = found
        .map_err(explained)
        .with_context(|| format!("{place} is not ready"))?;
    ensure!(
        found.ready,
        "{place} is not ready: {}",
        found.report.trim_end()
    );
    crate::print(&format!("{place} is ready"))
}

/// Why there is no answer; that nobody listens, in words of its own.
fn explained(failure: StorageFailure) -> anyhow::Error {
    let failure = anyhow::Error::new(failure);
    let mut causes = failure.chain().filter_map(|cause| cause.downcast_ref());
    if causes.any(|cause: &io::Error| cause.kind() == io::ErrorKind::ConnectionRefused) {
        return anyhow::anyhow!("connection refused: is the server running?");
    }
    failure
}

/// The server of an installation.
fn found(arguments: &Healthcheck) -> Result<ClientConfig> {
    let config = Config::for_healthcheck(arguments)?;
    let running = Whereabouts::running(&config.data_dir);
    let whereabouts =
        running.or_else(|| Whereabouts::configured(&config, &serve::listeners(&config)));
    whereabouts
        .and_then(|whereabouts| whereabouts.plain())
        .with_context(|| {
            format!(
                "no server runs on {}, and the configuration leaves the choice of its ports to it",
                config.data_dir.display()
            )
        })
}

/// The server at an address. Its certificate may be this installation's own.
fn named(url: &str, arguments: &Healthcheck) -> Result<ClientConfig> {
    let anchor = match url.starts_with("https://") {
        true => {
            let config = Config::for_healthcheck(arguments)?;
            Some(trust_anchor(&config.data_dir)).filter(|path| path.exists())
        }
        false => None,
    };
    let server = address::at(url, anchor)?;
    Ok(ClientConfig {
        base_path: "/".to_owned(),
        ..server
    })
}
