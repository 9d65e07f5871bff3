//! `lamassu migrate`: tables are brought up to date, and nothing else is opened or made.
//!
//! So it needs the database only: no crypto engine, no CRL directory, no other process. The data
//! directory is locked where the database is in it; with PostgreSQL there may be none, and other
//! processes may run.

use std::sync::Arc;

use anyhow::Result;
use lamassu_auth::LocalIssuer;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_db::{Schema, mark_restored};

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

/// Brings every table up to date; notes that the rows are those of a dump if they are.
///
/// # Errors
/// One sentence: the database does not open, or is of a newer version.
pub(crate) async fn run(config: &Config, arguments: &Migrate) -> Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    let db = storage::open_for_migration(config, &clock).await?;
    // The issuer's table, with its first key: processes that start together find one.
    LocalIssuer::open(&db, clock).await?;
    for schema in SCHEMAS {
        db.migrate(schema).await?;
    }
    if arguments.restored {
        mark_restored(&db, db.now()).await?;
    }
    db.close().await;
    if arguments.restored {
        crate::print("numbers of CRLs go on above all that were published")?;
    }
    crate::print("the database is up to date")
}
