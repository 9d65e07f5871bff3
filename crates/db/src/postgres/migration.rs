//! Bringing tables up to date, one process at a time.

use tokio_postgres::Client;

use super::failure::db_error;
use super::server::Server;
use crate::backend::Dialect;
use crate::error::{DbError, MigrationError};
use crate::migrate::{MigrateOnStart, Schema};

/// The lock that whoever changes tables holds: "lamassu" in ASCII, as a number.
const LOCK: i64 = 0x006c_616d_6173_7375;

/// Others may need long for their part; and what this process reports as done is on disk.
const PREPARE_TO_MIGRATE: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
     SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// Makes the schema of all tables if it does not exist and tables may be made.
pub(super) async fn make_schema(server: &Server) -> Result<(), DbError> {
    if server.options.migrate_on_start == MigrateOnStart::Never {
        return Ok(());
    }
    let client = locked(server).await?;
    let schema = &server.options.schema;
    let found = client
        .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[schema])
        .await
        .map_err(|error| db_error(error, "schema"))?;
    if found.is_none() {
        // A plain identifier, as the server's options are checked for.
        let make = format!("CREATE SCHEMA {schema}");
        client
            .batch_execute(&make)
            .await
            .map_err(|error| db_error(error, &make))?;
    }
    Ok(())
}

/// Brings the tables of one crate up to date, or only checks that they are.
pub(super) async fn migrate(server: &Server, schema: &Schema) -> Result<(), MigrationError> {
    let mut client = locked(server).await?;
    let runner = schema.runner(Dialect::Postgres)?;
    let history = schema.history_table();
    let found = client
        .query_opt(
            "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1",
            &[&history],
        )
        .await
        .map_err(|error| db_error(error, "pg_tables"))?;
    let mut version = 0;
    if found.is_some() {
        let last = runner.get_last_applied_migration_async(&mut client).await;
        let last = last.map_err(|error| schema.failed(error))?;
        version = last.map_or(0, |migration| i64::from(migration.version()));
        schema.check_found(version)?;
    }
    match server.options.migrate_on_start {
        MigrateOnStart::Auto => {
            for step in schema.steps(Dialect::Postgres, version)? {
                let run = step.run_async(&mut client).await;
                run.map_err(|error| schema.failed(error))?;
            }
            Ok(())
        }
        MigrateOnStart::Never => schema.check_complete(version),
    }
}

/// A connection that holds the lock until it is dropped.
async fn locked(server: &Server) -> Result<Client, DbError> {
    let client = server.client().await?;
    client
        .batch_execute(PREPARE_TO_MIGRATE)
        .await
        .map_err(|error| db_error(error, PREPARE_TO_MIGRATE))?;
    client
        .query_one("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(|error| db_error(error, "pg_advisory_lock"))?;
    Ok(client)
}
