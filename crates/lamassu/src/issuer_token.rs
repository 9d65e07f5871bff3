//! `lamassu token`: a bearer token of the local issuer, beside a running server or without one.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lamassu_auth::LocalIssuer;
use lamassu_core::clock::SystemClock;
use lamassu_core::duration::WireDuration;
use lamassu_core::permission::Role;
use lamassu_db::Db;
use secrecy::ExposeSecret as _;

use crate::cli::Token;
use crate::config::Config;

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
    ensure!(
        matches!(
            config.data_dir.join("lamassu.db").try_exists(),
            Ok(true) | Err(_)
        ),
        "there is no installation in {}; `lamassu serve` makes one",
        config.data_dir.display()
    );
    let db = Db::open_sqlite_beside(&config.data_dir, Arc::new(SystemClock))
        .with_context(|| format!("no token: {} cannot be read", config.data_dir.display()))?;
    let issuer = LocalIssuer::open_existing(&db, Arc::new(SystemClock)).await?;
    let minted = issuer.mint(&arguments.subject, &[role], ttl.into()).await?;
    crate::print(minted.token.expose_secret())
}
