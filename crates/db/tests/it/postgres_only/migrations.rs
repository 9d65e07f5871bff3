//! Tables on a server that several processes start on.

use std::sync::Arc;

use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_db::{
    Db, MigrateOnStart, Migration, MigrationError, OpenError, PostgresOptions, Schema, sql,
};
use lamassu_testing::PostgresServer;

use crate::fixture::soon;

const SLOW: Schema = Schema {
    name: "slow",
    migrations: &[
        Migration::portable(
            1,
            "one",
            "SELECT pg_sleep(0.2); CREATE TABLE one (id TEXT PRIMARY KEY);",
        ),
        Migration::portable(2, "two", "INSERT INTO one (id) VALUES ('a');"),
    ],
};

async fn open(options: &PostgresOptions) -> Result<Db, OpenError> {
    let clock: SharedClock = Arc::new(SystemClock);
    Db::open_postgres(options.clone(), clock).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_migrate_once() {
    let options = PostgresServer::shared().fresh_schema();
    let starts = (0..3).map(|_| async {
        let db = open(&options).await.expect("database");
        db.migrate(SLOW).await.expect("migration");
        db
    });
    let started = soon(futures_util::future::join_all(starts)).await;
    let one = &started[0];
    let rows = one.rows(sql("SELECT id FROM one", Vec::new())).await;
    assert_eq!(rows.expect("query").len(), 1);
}

#[tokio::test]
async fn a_start_that_may_not_migrate_only_looks() {
    let options = PostgresServer::shared().fresh_schema();
    let careful = PostgresOptions {
        migrate_on_start: MigrateOnStart::Never,
        ..options.clone()
    };
    let error = open(&careful).await.expect_err("nothing is there");
    assert_eq!(
        error.to_string(),
        "the tables of `storage` are older than this version of lamassu needs \
         (schema 0, needed 6); run `lamassu migrate`"
    );
    let schemas = PostgresServer::shared()
        .psql(&format!(
            "SELECT count(*) FROM pg_namespace WHERE nspname = '{}'",
            options.schema
        ))
        .expect("query");
    assert_eq!(schemas, "0", "not even the schema was made");

    open(&options).await.expect("migrated");
    let db = open(&careful).await.expect("up to date");
    let error = db.migrate(SLOW).await.expect_err("not there");
    assert!(
        matches!(
            error,
            MigrationError::OlderSchema {
                found: 0,
                known: 2,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn names_of_schemas_are_plain() {
    let options = PostgresOptions {
        schema: "a; DROP TABLE thing".to_owned(),
        ..PostgresServer::shared().fresh_schema()
    };
    let error = open(&options).await.expect_err("no name");
    assert!(matches!(error, OpenError::Settings(_)), "{error:?}");
}
