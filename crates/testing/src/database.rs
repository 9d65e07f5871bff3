//! A fresh database for one test, of the kind that the run is for.

use std::sync::Arc;

use lamassu_core::clock::SharedClock;
use lamassu_db::{DataDir, Db, PostgresOptions, Seq, SqliteOptions, sql};
use tempfile::TempDir;

use crate::postgres::PostgresServer;

/// `LAMASSU_TEST_DATABASE=postgres` runs a suite on PostgreSQL; SQLite without it.
const KIND: &str = "LAMASSU_TEST_DATABASE";

/// What holds the rows of a test's database; it is gone with this value.
#[derive(Debug)]
pub enum TestDatabase {
    /// A data directory.
    Sqlite(TempDir),
    /// A schema of the shared server.
    Postgres(Box<PostgresOptions>),
}

impl TestDatabase {
    /// A place without tables, of the kind that the environment names.
    ///
    /// # Panics
    ///
    /// When there is no place, or the environment names an unknown kind.
    #[expect(clippy::panic, clippy::disallowed_methods, reason = "for tests")]
    pub fn fresh() -> Self {
        match std::env::var(KIND).as_deref() {
            Err(_) | Ok("" | "sqlite") => match tempfile::tempdir() {
                Ok(directory) => Self::Sqlite(directory),
                Err(error) => panic!("no temporary directory: {error}"),
            },
            Ok("postgres") => Self::Postgres(Box::new(PostgresServer::shared().fresh_schema())),
            Ok(other) => panic!("{KIND}={other}: neither sqlite nor postgres"),
        }
    }

    /// Opens it; again after [`Db::close`], as a restarted program does.
    ///
    /// # Panics
    ///
    /// When it does not open.
    #[expect(clippy::panic, reason = "for tests")]
    pub async fn open(&self, clock: &SharedClock) -> Db {
        let clock = Arc::clone(clock);
        let opened = match self {
            Self::Sqlite(directory) => match DataDir::open(directory.path()) {
                Ok(directory) => Db::open_sqlite(directory, SqliteOptions::default(), clock).await,
                Err(error) => Err(error),
            },
            Self::Postgres(options) => Db::open_postgres((**options).clone(), clock).await,
        };
        match opened {
            Ok(db) => db,
            Err(error) => panic!("the test's database does not open: {error:?}"),
        }
    }

    /// Whether it is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// The newest event that is committed. A subscription may have to wait for transactions of others
/// before it can read so far: [`Db::caught_up`].
///
/// # Panics
///
/// When the database does not answer.
#[expect(clippy::panic, reason = "for tests")]
pub async fn newest_event(db: &Db) -> Seq {
    let query = sql(
        "SELECT COALESCE(MAX(seq), 0) AS newest FROM event_log",
        Vec::new(),
    );
    let row = db.row_opt(query).await;
    match row.map(|row| row.map(|row| row.get("newest"))) {
        Ok(Some(Ok(newest))) => Seq(newest),
        other => panic!("no newest event: {other:?}"),
    }
}
