//! Migrations go forward only.

use lamassu_db::{Migration, MigrationError, Schema, installation_id};

use crate::fixture::{Fixture, for_every_database};

for_every_database!(
    a_newer_schema_is_refused_by_an_older_program,
    an_applied_migration_that_reads_differently_is_refused,
    migrating_twice_changes_nothing,
    an_installation_keeps_what_it_made_once,
);

const ONE: Migration = Migration::portable(1, "one", "CREATE TABLE one (id TEXT PRIMARY KEY);");
const TWO: Migration = Migration::portable(2, "two", "ALTER TABLE one ADD COLUMN two TEXT;");
const ONE_CHANGED: Migration = Migration::portable(1, "one", "CREATE TABLE one (id BIGINT);");

const OLD: Schema = Schema {
    name: "sample",
    migrations: &[ONE],
};
const NEW: Schema = Schema {
    name: "sample",
    migrations: &[ONE, TWO],
};
const CHANGED: Schema = Schema {
    name: "sample",
    migrations: &[ONE_CHANGED],
};

async fn a_newer_schema_is_refused_by_an_older_program<F: Fixture>() {
    let fixture = F::fresh().await;
    fixture.db().migrate(NEW).await.expect("migration");
    let error = fixture.db().migrate(OLD).await.expect_err("newer");
    assert!(matches!(
        error,
        MigrationError::NewerSchema {
            found: 2,
            known: 1,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        "the tables of `sample` were written by a newer version of lamassu \
         (schema 2, this program knows 1)"
    );
}

async fn an_applied_migration_that_reads_differently_is_refused<F: Fixture>() {
    let fixture = F::fresh().await;
    fixture.db().migrate(OLD).await.expect("migration");
    let error = fixture.db().migrate(CHANGED).await.expect_err("divergent");
    assert_eq!(error.to_string(), "migration of `sample` failed");
}

async fn migrating_twice_changes_nothing<F: Fixture>() {
    let mut fixture = F::fresh().await;
    fixture.db().migrate(OLD).await.expect("migration");
    fixture.restart().await;
    fixture
        .db()
        .migrate(NEW)
        .await
        .expect("second migration only");
    fixture.db().migrate(NEW).await.expect("nothing");
}

async fn an_installation_keeps_what_it_made_once<F: Fixture>() {
    let mut fixture = F::fresh().await;
    let db = fixture.db();
    let (first, second) = tokio::join!(installation_id(db), installation_id(db));
    let id = first.expect("id");
    assert_eq!(second.expect("id"), id);
    fixture.restart().await;
    assert_eq!(installation_id(fixture.db()).await.expect("id"), id);
}
