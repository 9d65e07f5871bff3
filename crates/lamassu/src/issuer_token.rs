//! `lamassu token`: a bearer token of the local issuer, beside a running server or without one.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lamassu_auth::LocalIssuer;
use lamassu_core::clock::SystemClock;
use lamassu_core::duration::WireDuration;
use lamassu_core::permission::Role;
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
    let db = storage::open_beside(&config, Arc::new(SystemClock))
        .await
        .context("no token")?;
    let issuer = LocalIssuer::open_existing(&db, Arc::new(SystemClock)).await?;
    let minted = issuer.mint(&arguments.subject, &[role], ttl.into()).await?;
    crate::print(minted.token.expose_secret())
}
