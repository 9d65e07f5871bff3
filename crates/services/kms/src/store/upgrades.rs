//! A database of the version before there was an index of parts or a count: what is found and counted in it agrees with
//! its rows, then and after they change.

use std::sync::Arc;

use lamassu_core::clock::SystemClock;
use lamassu_core::query::{ListRequest, QueryLimits};
use lamassu_db::list::count;
use lamassu_db::{Db, Schema, WriteSet, params, sql};
use lamassu_testing::TestDatabase;
use serde_json::json;

use super::{KEYS, SCHEMA, counts, ready};

/// Filters, each with what it says about rows.
const FILTERS: &[(&str, &str)] = &[
    ("name[contains]Old 12", "name LIKE '%Old 12%'"),
    (
        "name[contains_ignorecase]OLD 12",
        "name_folded LIKE '%old 12%'",
    ),
    ("key_id[contains]bc77", "key_id LIKE '%bc77%'"),
    ("tags[contains]Line 4", "CAST(tags AS TEXT) LIKE '%Line 4%'"),
    (
        "tags[contains_ignorecase]STRA\u{df}E",
        "CAST(tags AS TEXT) LIKE '%Line 4%'",
    ),
];

#[tokio::test]
async fn keys_of_an_older_version_are_found_and_counted() {
    let database = TestDatabase::fresh();
    let db = database.open(&(Arc::new(SystemClock) as _)).await;
    let older = Schema {
        migrations: &SCHEMA.migrations[..2],
        ..SCHEMA
    };
    db.migrate(older).await.unwrap();
    fill(&db).await;
    db.migrate(SCHEMA).await.unwrap();
    everything_agrees(&db, "upgraded").await;
    for change in [
        "UPDATE kms_key SET state = 'deleting' WHERE size = 2048 AND handle LIKE '%5'",
        "UPDATE kms_key SET engine_id = 'other' WHERE handle LIKE '%7'",
        "UPDATE kms_key SET name = 'Old 12 again', name_folded = 'old 12 again' \
         WHERE handle LIKE '%99'",
        "UPDATE kms_key SET tags = '[]', tags_folded = '' WHERE handle LIKE '%8'",
        "DELETE FROM kms_key WHERE handle LIKE '%2'",
        "UPDATE kms_key SET state = 'ready', key_id = 'abc77' || handle WHERE state = 'pending'",
    ] {
        execute(&db, change).await;
        everything_agrees(&db, change).await;
    }
}

/// Keys of two engines and two kinds; a third of them in the making, a half with tags.
async fn fill(db: &Db) {
    for (rest, tags) in [(0_i64, json!(["Line 4", "Stra\u{df}e"])), (1, json!([]))] {
        let mut set = WriteSet::new();
        set.execute(sql(
            "INSERT INTO kms_key (handle, revision, state, state_changed_at, key_id, name, \
             name_folded, aliases, engine_id, has_private_key, algorithm, size, public_key, \
             created_at, tags, metadata) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
             SELECT 'h' || CAST(i AS TEXT), 1, \
             CASE i % 3 WHEN 0 THEN 'pending' ELSE 'ready' END, 0, \
             CASE WHEN i % 3 > 0 THEN 'abc' || CAST(i AS TEXT) END, 'Old ' || CAST(i AS TEXT), \
             'old ' || CAST(i AS TEXT), $1, CASE i % 4 WHEN 0 THEN 'e' ELSE 'f' END, $2, \
             CASE i % 7 WHEN 0 THEN 'ECDSA' ELSE 'RSA' END, 2048, '', i, $3, $4 \
             FROM n WHERE i % 2 = $5",
            params![json!([]), true, tags, json!({}), rest],
        ));
        db.commit(set).await.unwrap();
    }
}

async fn everything_agrees(db: &Db, when: &str) {
    for (filter, rows) in FILTERS {
        let query = format!("filter={filter}");
        let request = ListRequest::parse(&query, KEYS.fields, QueryLimits::default()).unwrap();
        let found = count(db, &KEYS, &request.filters, &[ready()]).await;
        let rows = format!("SELECT COUNT(*) AS n FROM kms_key WHERE state = 'ready' AND {rows}");
        let row = db.row_opt(sql(rows, params![])).await.unwrap().unwrap();
        assert_eq!(
            found.unwrap(),
            row.get::<i64>("n").unwrap(),
            "{when}: {filter}"
        );
    }
    let rows = sql(
        "SELECT engine_id, algorithm, COUNT(*) AS n FROM kms_key WHERE state = 'ready' \
         GROUP BY engine_id, algorithm",
        params![],
    );
    let mut counted = [Vec::new(), Vec::new()];
    for (which, statement) in [counts::all(), rows].into_iter().enumerate() {
        for row in db.rows(statement).await.unwrap() {
            let text = |column| row.get::<String>(column).unwrap();
            let n = row.get::<i64>("n").unwrap();
            counted[which].push((text("engine_id"), text("algorithm"), n));
        }
        counted[which].sort();
    }
    assert_eq!(counted[0], counted[1], "{when}");
}

async fn execute(db: &Db, statement: &'static str) {
    let mut set = WriteSet::new();
    set.execute(sql(statement, params![]));
    db.commit(set).await.unwrap();
}
