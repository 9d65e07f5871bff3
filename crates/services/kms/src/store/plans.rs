//! Keys are found by index, of however many. The databases say how they would look for them.

use std::sync::Arc;

use lamassu_core::clock::SystemClock;
use lamassu_core::query::{ListRequest, QueryLimits};
use lamassu_db::list::{count, explain, explain_statement, list};
use lamassu_db::{Db, Dialect, WriteSet, params, sql};
use lamassu_testing::TestDatabase;

use super::{KEYS, SCHEMA, SEARCH_INDEX, counts, ready};

/// Keys without distinction, so many that an index is worth it.
async fn filled() -> (TestDatabase, Db) {
    let database = TestDatabase::fresh();
    let db = database.open(&(Arc::new(SystemClock) as _)).await;
    db.migrate(SCHEMA).await.unwrap();
    let tags = "'[\"Line ' || n || '\", \"x\"]'";
    let (tags, numbers) = match db.dialect() {
        Dialect::Sqlite => (
            tags.to_owned(),
            "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 20000) \
             SELECT n FROM g",
        ),
        Dialect::Postgres => (
            format!("CAST({tags} AS JSONB)"),
            "SELECT n FROM generate_series(1, 20000) AS g(n)",
        ),
    };
    let mut set = WriteSet::new();
    set.execute(sql(
        format!(
            "INSERT INTO kms_key (handle, revision, state, state_changed_at, key_id, name, \
             name_folded, aliases, engine_id, has_private_key, algorithm, size, public_key, \
             created_at, tags, metadata, tags_folded) \
             SELECT 'h' || n, 1, 'ready', n, 'abc' || n, 'Key ' || n, 'key ' || n, '[]', 'e', \
             TRUE, 'ECDSA', 256, '', n, {tags}, '{{}}', \
             'line ' || n || '\u{1f}x' FROM ({numbers}) AS numbers"
        ),
        params![],
    ));
    if db.dialect() == Dialect::Postgres {
        // What autovacuum does: what has been added lies beside the index until then.
        set.execute(sql(
            "SELECT gin_clean_pending_list('kms_key_text')",
            params![],
        ));
    }
    set.execute(sql("ANALYZE kms_key", params![]));
    db.commit(set).await.unwrap();
    (database, db)
}

#[tokio::test]
async fn parts_of_names_ids_and_tags_are_found_by_index() {
    let (_database, db) = filled().await;
    let index = match db.dialect() {
        // The index has been asked beforehand, and gave the rows.
        Dialect::Sqlite => "USING INTEGER PRIMARY KEY (rowid=?)",
        Dialect::Postgres => SEARCH_INDEX,
    };
    for filter in [
        "name[contains]ey 17777",
        "name[contains_ignorecase]EY 17777",
        "key_id[contains]c17777",
        "key_id[contains_ignorecase]C17777",
        "tags[contains]Line 17777",
        "tags[contains_ignorecase]LINE 17777",
    ] {
        let query = format!("filter={filter}");
        let request = ListRequest::parse(&query, KEYS.fields, QueryLimits::default()).unwrap();
        let plan = explain(&db, &KEYS, "test", &request, &[ready()]).await;
        let plan = plan.unwrap();
        assert!(plan.contains(index), "{query}: {plan}");
        let page = list(&db, &KEYS, "test", &request, &[ready()])
            .await
            .unwrap();
        let found: Vec<String> = page
            .list
            .iter()
            .map(|row| row.get("handle").unwrap())
            .collect();
        assert_eq!(found, ["h17777"], "{query}");
    }
}

#[tokio::test]
async fn the_index_follows_every_change() {
    let (_database, db) = filled().await;
    let found = async |filter: &str| {
        let query = format!("filter={filter}");
        let request = ListRequest::parse(&query, KEYS.fields, QueryLimits::default()).unwrap();
        count(&db, &KEYS, &request.filters, &[]).await.unwrap()
    };
    let execute = async |text: &'static str| {
        let mut set = WriteSet::new();
        set.execute(sql(text, params![]));
        db.commit(set).await.unwrap();
    };
    execute("UPDATE kms_key SET name = 'Zebra', name_folded = 'zebra' WHERE handle = 'h5'").await;
    assert_eq!(found("name[contains]Zebra").await, 1);
    assert_eq!(found("name[contains]Key 5").await, 1110);
    execute("UPDATE kms_key SET tags = '[\"new\"]', tags_folded = 'new' WHERE handle = 'h5'").await;
    assert_eq!(found("tags[contains]new").await, 1);
    assert_eq!(found("tags[contains]Line 5").await, 0);
    execute("UPDATE kms_key SET key_id = NULL, handle = 'h0' WHERE handle = 'h5'").await;
    assert_eq!(found("key_id[contains]abc5").await, 1110);
    execute("DELETE FROM kms_key WHERE handle = 'h0'").await;
    assert_eq!(found("name[contains]Zebra").await, 0);
}

#[tokio::test]
async fn keys_are_counted_already() {
    let (_database, db) = filled().await;
    let plan = explain_statement(&db, &counts::all()).await.unwrap();
    assert!(plan.contains("kms_key_count"), "{plan}");
    let rows = db.rows(counts::all()).await.unwrap();
    assert_eq!(rows[0].get::<i64>("n").unwrap(), 20_000);
}

#[tokio::test]
async fn keys_come_in_the_order_of_their_names_by_index() {
    let (_database, db) = filled().await;
    for order in ["asc", "desc"] {
        let query = format!("sort_by=name&sort_mode={order}");
        let request = ListRequest::parse(&query, KEYS.fields, QueryLimits::default()).unwrap();
        let plan = explain(&db, &KEYS, "test", &request, &[ready()]).await;
        let plan = plan.unwrap();
        assert!(plan.contains("kms_key_by_name"), "{query}: {plan}");
        // Keys of one name may be put in order as they are read.
        let sorts = match db.dialect() {
            Dialect::Sqlite => plan.contains("ORDER BY") && !plan.contains("LAST TERM OF"),
            Dialect::Postgres => {
                plan.contains("Sort") && !plan.contains("Presorted Key: name_folded")
            }
        };
        assert!(!sorts, "{query}: {plan}");
    }
}
