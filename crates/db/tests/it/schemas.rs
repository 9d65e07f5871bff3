//! Migrations go forward only.

use lamassu_db::{Db, Migration, MigrationError, Schema, installation_id, sql};

use crate::fixture::{Fixture, for_every_database};

for_every_database!(
    a_newer_schema_is_refused_by_an_older_program,
    an_applied_migration_that_reads_differently_is_refused,
    migrating_twice_changes_nothing,
    what_a_failed_start_has_migrated_stays,
    tables_are_made_as_a_whole,
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

/// The third step cannot be done, whatever the database.
const BROKEN: Schema = Schema {
    name: "sample",
    migrations: &[
        ONE,
        TWO,
        Migration::portable(
            3,
            "three",
            "CREATE TABLE three (id BIGINT); SELECT * FROM nothing;",
        ),
    ],
};
const MENDED: Schema = Schema {
    name: "sample",
    migrations: &[
        ONE,
        TWO,
        Migration::portable(3, "three", "CREATE TABLE three (id BIGINT);"),
    ],
};

/// As after a crash between two steps.
async fn what_a_failed_start_has_migrated_stays<F: Fixture>() {
    let mut fixture = F::fresh().await;
    fixture.db().migrate(OLD).await.expect("migration");
    fixture.db().migrate(BROKEN).await.expect_err("third step");
    let steps = "SELECT COUNT(*) AS n FROM schema_history_sample";
    assert_eq!(number(fixture.db(), steps).await, Some(2), "one and two");
    assert_eq!(
        number(fixture.db(), "SELECT COUNT(two) AS n FROM one").await,
        Some(0)
    );
    let three = "SELECT COUNT(*) AS n FROM three";
    assert_eq!(number(fixture.db(), three).await, None, "nothing of it");
    fixture.restart().await;
    fixture
        .db()
        .migrate(MENDED)
        .await
        .expect("the third step only");
    assert_eq!(number(fixture.db(), three).await, Some(0));
}

async fn tables_are_made_as_a_whole<F: Fixture>() {
    let fixture = F::fresh().await;
    fixture.db().migrate(BROKEN).await.expect_err("third step");
    assert_eq!(
        number(fixture.db(), "SELECT COUNT(*) AS n FROM one").await,
        None
    );
    fixture.db().migrate(MENDED).await.expect("all of it");
}

async fn number(db: &Db, query: &'static str) -> Option<i64> {
    let row = db.row_opt(sql(query, Vec::new())).await.ok()??;
    Some(row.get("n").expect("number"))
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
