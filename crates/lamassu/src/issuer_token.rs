//! `lamassu token`: a bearer token of the local issuer, beside a running server or without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lamassu_auth::LocalIssuer;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_core::duration::WireDuration;
use lamassu_core::permission::Role;
use lamassu_db::Db;
use secrecy::ExposeSecret as _;

use crate::cli::Token;
use crate::config::Config;
use crate::storage;

/// Prints a token.
pub(crate) async fn print(arguments: &Token) -> Result<()> {
    let config = Config::load(&arguments.installation)?;
    let role = Role::from_name(&arguments.role).with_context(|| {
        let names: Vec<_> = Role::ALL.into_iter().map(Role::name).collect();
        format!(
            "there is no role {:?}; there are {}",
            arguments.role,
            names.join(", ")
        )
    })?;
    let ttl: WireDuration = arguments.ttl.parse().context("--ttl")?;
    ensure!(
        !ttl.is_negative() && !ttl.is_zero(),
        "--ttl must be above zero"
    );
    let (_db, issuer) = issuer_beside(&config, &(Arc::new(SystemClock) as _)).await?;
    let minted = issuer.mint(&arguments.subject, &[role], ttl.into()).await?;
    crate::print(minted.token.expose_secret())
}

/// How long a server that starts for the first time may take until its database has tables.
const STARTING: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(200);

/// The issuer of an installation, and its database, beside a process that may be running on it, and may just be
/// making its tables.
///
/// # Errors
/// One sentence: there is no installation, or it has no issuer.
pub(crate) async fn issuer_beside(
    config: &Config,
    clock: &SharedClock,
) -> Result<(Db, LocalIssuer)> {
    let deadline = Instant::now() + STARTING;
    loop {
        let db = storage::open_beside(config, Arc::clone(clock))
            .await
            .context("no token")?;
        match LocalIssuer::open_existing(&db, Arc::clone(clock)).await {
            Ok(issuer) => return Ok((db, issuer)),
            Err(error) if Instant::now() > deadline => {
                db.close().await;
                return Err(error).context(
                    "no token: this installation has no issuer; has its server started \
                     (`lamassu healthcheck`)?",
                );
            }
            Err(_) => db.close().await,
        }
        tokio::time::sleep_until((Instant::now() + LOOK).into()).await;
    }
}
