//! A fresh database per test, of each kind.

use std::sync::Arc;
use std::time::Duration;

use lamassu_core::caller::{Caller, TraceContext};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_db::{
    DataDir, Db, Migration, PostgresOptions, Schema, Seq, SqliteOptions, Statement, WriteSet,
    params, sql,
};
use lamassu_testing::PostgresServer;
use tempfile::TempDir;
use time::macros::datetime;

/// The tables of the tests.
pub(crate) const THINGS: Schema = Schema {
    name: "things",
    migrations: &[Migration::portable(
        1,
        "things",
        "CREATE TABLE thing (
            id          TEXT PRIMARY KEY,
            name        TEXT NOT NULL,
            name_folded TEXT NOT NULL,
            status      TEXT NOT NULL,
            size        BIGINT NOT NULL,
            active      BOOLEAN NOT NULL,
            note        TEXT,
            tags        JSONB NOT NULL,
            metadata    JSONB NOT NULL,
            created_at  BIGINT NOT NULL,
            revision    BIGINT NOT NULL
        );
        CREATE INDEX thing_by_name ON thing (name_folded, name, id);
        CREATE TABLE effect (n BIGINT NOT NULL, seq BIGINT NOT NULL);",
    )],
};

/// A database that a test has for itself.
pub(crate) trait Fixture: Sized + Send {
    /// An empty one with the tables of the tests.
    async fn fresh() -> Self;
    /// The handle.
    fn db(&self) -> &Db;
    /// Its clock.
    fn clock(&self) -> &ManualClock;
    /// Closes it and opens it again, as a restarted program does.
    async fn restart(&mut self);
}

/// An SQLite file in a directory of its own.
pub(crate) struct Sqlite {
    dir: TempDir,
    db: Db,
    clock: Arc<ManualClock>,
}

impl Sqlite {
    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(crate) async fn with(options: SqliteOptions) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let clock = Arc::new(ManualClock::at(datetime!(2026-03-01 12:00:00.123456 UTC)));
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let data_dir = DataDir::open(dir.path()).expect("data directory");
        let db = Db::open_sqlite(data_dir, options, shared)
            .await
            .expect("database");
        db.migrate(THINGS).await.expect("migration");
        Self { dir, db, clock }
    }
}

impl Fixture for Sqlite {
    async fn fresh() -> Self {
        Self::with(SqliteOptions::default()).await
    }

    fn db(&self) -> &Db {
        &self.db
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(&mut self) {
        self.db.close().await;
        let data_dir = DataDir::open(self.dir.path()).expect("data directory");
        let shared: SharedClock = Arc::clone(&self.clock) as SharedClock;
        self.db = Db::open_sqlite(data_dir, SqliteOptions::default(), shared)
            .await
            .expect("database");
        self.db.migrate(THINGS).await.expect("migration");
    }
}

/// A schema of a PostgreSQL server.
pub(crate) struct Postgres {
    options: PostgresOptions,
    db: Db,
    clock: Arc<ManualClock>,
}

impl Postgres {
    pub(crate) async fn with(options: PostgresOptions) -> Self {
        let clock = Arc::new(ManualClock::at(datetime!(2026-03-01 12:00:00.123456 UTC)));
        let db = Self::open(&options, &clock).await;
        Self { options, db, clock }
    }

    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.options
    }

    /// A session of somebody else on the same tables, as the superuser.
    pub(crate) async fn raw(&self) -> tokio_postgres::Client {
        let (host, port) = self.options.hosts.first().expect("a host");
        let mut config = tokio_postgres::Config::new();
        config
            .host(host)
            .port(*port)
            .user("lamassu")
            .dbname("postgres");
        config.options(format!("-c search_path={}", self.options.schema));
        let (client, wire) = config
            .connect(tokio_postgres::NoTls)
            .await
            .expect("session");
        tokio::spawn(wire);
        client
    }

    /// A second process on the same database.
    pub(crate) async fn another(&self) -> Db {
        Self::open(&self.options, &self.clock).await
    }

    async fn open(options: &PostgresOptions, clock: &Arc<ManualClock>) -> Db {
        let shared: SharedClock = Arc::clone(clock) as SharedClock;
        let db = Db::open_postgres(options.clone(), shared)
            .await
            .expect("database");
        db.migrate(THINGS).await.expect("migration");
        db
    }
}

impl Fixture for Postgres {
    async fn fresh() -> Self {
        Self::with(PostgresServer::shared().fresh_schema()).await
    }

    fn db(&self) -> &Db {
        &self.db
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(&mut self) {
        self.db.close().await;
        self.db = self.another().await;
    }
}

/// Instantiates tests that are generic over [`Fixture`] for every database.
macro_rules! for_every_database {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test::<crate::fixture::Sqlite>().await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test::<crate::fixture::Postgres>().await;
                }
            )*
        }
    };
}
pub(crate) use for_every_database;

/// Waits until a condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    soon(async {
        while !holds().await {
            tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>())
                .await
                .expect_err("a pause");
        }
    })
    .await;
}

/// Waits for something that must happen soon.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("in time")
}

/// The log is known to reach up to this event: transactions of others may precede it for a moment.
pub(crate) async fn head_reaches(db: &Db, seq: Seq) {
    soon(async { while db.log_head().await.expect("head") < seq {} }).await;
}

pub(crate) fn caller() -> Caller {
    let trace = TraceContext {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        span_id: 0x00f0_67aa_0ba9_02b7,
    };
    Caller::system("test", trace)
}

/// Inserts a thing; a collision of ids is not noticed by the statement itself.
pub(crate) fn insert_thing(id: &str, name: &str, size: i64) -> Statement {
    sql(
        "INSERT INTO thing (id, name, name_folded, status, size, active, note, tags, metadata, \
         created_at, revision) VALUES ($1, $2, $3, 'ACTIVE', $4, $5, NULL, $6, $7, $8, 1) \
         ON CONFLICT DO NOTHING",
        params![
            id,
            name,
            lamassu_core::query::fold(name),
            size,
            true,
            serde_json::json!([]),
            serde_json::json!({}),
            size,
        ],
    )
}

pub(crate) async fn put_thing(db: &Db, id: &str, name: &str, size: i64) {
    let mut set = WriteSet::new();
    set.execute(insert_thing(id, name, size));
    db.commit(set).await.expect("insert");
}

pub(crate) async fn count(db: &Db, table: &'static str) -> i64 {
    let query = sql(format!("SELECT COUNT(*) AS n FROM {table}"), Vec::new());
    let row = db.row_opt(query).await.expect("count").expect("a row");
    row.get("n").expect("a number")
}
