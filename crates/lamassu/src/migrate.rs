//! `lamassu migrate`: tables are brought up to date, and nothing else is opened or made.
//!
//! So it needs the database only: no crypto engine, no CRL directory, no other process. The data
//! directory is locked where the database is in it; with PostgreSQL there may be none, and other
//! processes may run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use lamassu_auth::LocalIssuer;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_db::{Db, Schema, held_leases, mark_restored};
use tokio::time::Instant;

use crate::cli::Migrate;
use crate::config::Config;
use crate::storage;

/// The tables of each service, in the order of their dependencies.
const SCHEMAS: [Schema; 5] = [
    lamassu_kms::SCHEMA,
    lamassu_ca::SCHEMA,
    lamassu_devices::SCHEMA,
    lamassu_dms::SCHEMA,
    lamassu_va::SCHEMA,
];

/// Between two looks at leases.
const PAUSE: Duration = Duration::from_millis(500);

/// Brings every table up to date; notes that the rows are those of a dump if they are.
///
/// # Errors
/// One sentence: there is no installation, the database does not open or is of a newer version, or,
/// where it was restored, a process works on it already.
pub(crate) async fn run(config: &Config, arguments: &Migrate) -> Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    let db = storage::open_for_migration(config, &clock).await?;
    // The issuer's table, with its first key: processes that start together find one.
    LocalIssuer::open(&db, clock).await?;
    for schema in SCHEMAS {
        db.migrate(schema).await?;
    }
    if arguments.restored {
        require_nobody(&db).await?;
        mark_restored(&db, db.now()).await?;
    }
    db.close().await;
    if arguments.restored {
        crate::print("numbers of CRLs go on above all that were published")?;
    }
    crate::print("the database is up to date")
}

/// Refuses a database that a process works on: it would go on publishing numbers that the mark is not
/// above. Whoever works renews leases; those that came with a dump end.
async fn require_nobody(db: &Db) -> Result<()> {
    let found = held_leases(db).await?;
    if !found.is_empty() {
        tracing::info!(
            leases = found.len(),
            "waiting for the leases of processes that have ended"
        );
    }
    let mut held = found.clone();
    while !held.is_empty() {
        let alive = held.iter().find(|lease| !found.contains(lease));
        ensure!(
            alive.is_none(),
            "a process works on this database ({}): stop all of them before --restored",
            alive.map_or("", |lease| &lease.holder)
        );
        tokio::time::sleep_until(Instant::now() + PAUSE).await;
        held = held_leases(db).await?;
    }
    Ok(())
}
