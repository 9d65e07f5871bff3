//! A database that an older version filled: what lists, filters and statistics say of it agrees with its rows.

use std::sync::Arc;

use http::StatusCode;
use lamassu_ca::{CaConfig, SCHEMA};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_db::{Db, Schema, WriteSet, params, sql};
use lamassu_testing::TestDatabase;
use serde_json::{Value, json};

use crate::support::{START, World, caller};

/// The first version was before there were indexes for lists, counts and trigrams; the other is on the way.
const VERSIONS: [usize; 2] = [8, 11];

/// How many certificates the older version stored.
const N: i64 = 2_000;

/// Filters, each with what it says about rows.
const FILTERS: &[(&str, &str)] = &[
    ("", "1 = 1"),
    ("status[equal]REVOKED", "status = 'REVOKED'"),
    (
        "type[equal]IMPORTED_WITHOUT_KEY",
        "certificate_type = 'IMPORTED_WITHOUT_KEY'",
    ),
    ("issuer_meta.id[equal]root-b", "issuer_ca_id = 'root-b'"),
    (
        "revocation_reason[equal]KeyCompromise",
        "revocation_reason = 'KeyCompromise'",
    ),
    ("is_ca[equal]true", "is_ca"),
    (
        "subject.common_name[contains]Line 12",
        "subject_common_name LIKE '%Line 12%'",
    ),
    (
        "subject.common_name[contains_ignorecase]STRASSE 7",
        "subject_common_name_folded LIKE '%strasse 7%'",
    ),
    ("serial_number[contains]0012", "serial_number LIKE '%0012%'"),
    (
        "status[equal]ACTIVE&filter=subject.common_name[contains]ine 2",
        "status = 'ACTIVE' AND subject_common_name LIKE '%ine 2%'",
    ),
];

/// Orders of the API, each with that of rows. Ties go upwards by key.
const ORDERS: &[(&str, &str)] = &[
    ("sort_by=valid_to&sort_mode=desc", "valid_to DESC, id"),
    ("sort_by=valid_from&sort_mode=asc", "valid_from, id"),
    (
        "sort_by=revocation_timestamp&sort_mode=desc",
        "revocation_timestamp DESC, id",
    ),
    (
        "sort_by=subject.common_name&sort_mode=asc",
        "subject_common_name_folded, subject_common_name, id",
    ),
];

#[tokio::test]
async fn lists_and_statistics_agree_with_the_rows_of_an_older_version() {
    for version in VERSIONS {
        let world = upgraded_from(version).await;
        everything_agrees(&world).await;
    }
}

#[tokio::test]
async fn triggers_follow_what_becomes_of_older_rows() {
    let world = upgraded_from(VERSIONS[0]).await;
    settle(&world).await;
    for statement in [
        "UPDATE certificate SET status = 'REVOKED', revocation_reason = 'KeyCompromise' \
         WHERE status = 'ACTIVE' AND serial_number LIKE '70%7'",
        "UPDATE certificate SET issuer_ca_id = 'root-b' WHERE serial_number LIKE '70%3'",
        // The last rows are among them: on SQLite the numbers of those are given again.
        "DELETE FROM certificate WHERE serial_number LIKE '70%1' OR serial_number LIKE '70%1999' \
         OR serial_number LIKE '70%2000'",
    ] {
        execute(&world.db, statement).await;
        everything_agrees(&world).await;
    }
    let issued = world.issue("root-a", "Line 12 of the new version").await;
    everything_agrees(&world).await;
    settle(&world).await;
    everything_agrees(&world).await;
    let path = format!(
        "/v1/certificates/{}/status",
        issued["serial_number"].as_str().unwrap()
    );
    let body = json!({ "status": "REVOKED", "revocation_reason": "Superseded" });
    world.put(&path, body).await.with(StatusCode::OK);
    everything_agrees(&world).await;
}

/// A service of today over what an older one left: two CAs, and certificates of all kinds.
async fn upgraded_from(version: usize) -> World {
    let today = World::new().await;
    let roots = [today.root("root-a").await, today.root("root-b").await];
    let clock = Arc::new(ManualClock::at(START));
    let database = TestDatabase::fresh();
    let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
    let older = Schema {
        migrations: &SCHEMA.migrations[..version],
        ..SCHEMA
    };
    db.migrate(older).await.unwrap();
    for root in &roots {
        copy_root(&today.db, &db, root).await;
    }
    fill(&db).await;
    let kms = Arc::clone(&today.kms);
    World::over(database, db, clock, kms, CaConfig::default()).await
}

/// The rows of a CA, its certificate and its profile, from one database to another.
async fn copy_root(from: &Db, to: &Db, root: &Value) {
    let (id, profile) = (
        root["id"].as_str().unwrap(),
        root["profile_id"].as_str().unwrap(),
    );
    let read = sql(
        "SELECT c.id, c.serial_number, c.der, c.subject_key_id, c.authority_key_id, c.valid_to, \
         CAST(p.profile AS TEXT) AS profile FROM certificate c, issuance_profile p \
         WHERE c.subject_common_name = $1 AND p.id = $2",
        params![id, profile],
    );
    let row = from.row_opt(read).await.unwrap().unwrap();
    let text = |column: &'static str| row.get::<String>(column).unwrap();
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
         certificate_type, engine_id, is_ca, subject_common_name, subject_common_name_folded, \
         subject_key_id, authority_key_id, key_type, key_bits, key_strength, key_usage, \
         extended_key_usage, valid_from, valid_to, issuer_ca_id, issuer_serial_number, \
         issuer_level, revocation_timestamp, revocation_reason, expired_by_job) \
         VALUES ($1, $2, 1, 1, $3, 'ACTIVE', 'MANAGED', 'memory-1', $8, $4, $4, $5, $6, 'ECDSA', \
         256, 'HIGH', '[]', '[]', 0, $7, $4, $2, 0, 0, 'Unspecified', $9)",
        params![
            text("id"),
            text("serial_number"),
            row.get::<bytes::Bytes>("der").unwrap(),
            id,
            text("subject_key_id"),
            text("authority_key_id"),
            row.get::<i64>("valid_to").unwrap(),
            true,
            false
        ],
    ));
    set.execute(sql(
        "INSERT INTO certificate_authority (id, revision, created_at, certificate_id, level, \
         profile_id, metadata) VALUES ($1, 1, 1, $2, 0, $3, '{}')",
        params![id, text("id"), profile],
    ));
    set.execute(sql(
        "INSERT INTO issuance_profile (id, revision, created_at, name, name_folded, profile) \
         VALUES ($1, 1, 1, 'Devices', 'devices', $2)",
        params![
            profile,
            serde_json::from_str::<Value>(&text("profile")).unwrap()
        ],
    ));
    to.commit(set).await.unwrap();
}

/// Certificates in every status, of both CAs and of none, with ties in all that is sorted by.
async fn fill(db: &Db) {
    let statement = format!(
        "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
         certificate_type, engine_id, is_ca, subject_common_name, subject_common_name_folded, \
         subject_key_id, authority_key_id, key_type, key_bits, key_strength, key_usage, \
         extended_key_usage, valid_from, valid_to, issuer_ca_id, issuer_serial_number, \
         issuer_level, revocation_timestamp, revocation_reason, expired_by_job) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {N}) \
         SELECT 'old' || CAST(100000 + i AS TEXT), '70' || CAST(100000 + i AS TEXT), 1, \
         1000 + i / 3, c.der, \
         CASE i % 4 WHEN 0 THEN 'ACTIVE' WHEN 1 THEN 'REVOKED' WHEN 2 THEN 'EXPIRED' \
         ELSE 'INACTIVE' END, \
         CASE i % 7 WHEN 0 THEN 'IMPORTED_WITHOUT_KEY' ELSE 'MANAGED' END, 'memory-1', \
         i % 50 = 0, \
         CASE i % 2 WHEN 0 THEN 'Line ' ELSE 'Straße ' END || CAST(i AS TEXT), \
         CASE i % 2 WHEN 0 THEN 'line ' ELSE 'strasse ' END || CAST(i AS TEXT), \
         'key' || CAST(i AS TEXT), '', 'ECDSA', 256, 'HIGH', '[]', '[]', i / 2, \
         1900000000000000 + i / 5, \
         CASE i % 3 WHEN 0 THEN 'root-a' WHEN 1 THEN 'root-b' ELSE '-' END, '00', 0, \
         CASE i % 4 WHEN 1 THEN 5000 + i / 9 ELSE 0 END, \
         CASE i % 8 WHEN 1 THEN 'KeyCompromise' ELSE 'Unspecified' END, c.expired_by_job \
         FROM n, certificate c WHERE c.subject_common_name = 'root-a'"
    );
    execute(db, statement).await;
}

/// Runs the job that keeps the indexes up.
async fn settle(world: &World) {
    let now = world.db.now();
    let job = world.service.upkeep_job();
    job.run(&caller(), now).await.unwrap();
}

async fn everything_agrees(world: &World) {
    for (filter, rows) in FILTERS {
        assert_eq!(
            listed(world, filter, "").await,
            stored(world, rows, "created_at, id").await,
            "{filter}"
        );
    }
    for (order, rows) in ORDERS {
        assert_eq!(
            listed(world, "", order).await,
            stored(world, "1 = 1", rows).await,
            "{order}"
        );
    }
    let stats = world.get("/v1/stats").await.with(StatusCode::OK);
    assert_eq!(stats["cas"]["total"], 2);
    let certificates = &stats["certificates"];
    assert_eq!(certificates["total"], world.count("certificate").await);
    for ca in [None, Some("root-a"), Some("root-b")] {
        let (counts, of_ca) = match ca {
            None => (certificates["status_distribution"].clone(), String::new()),
            Some(id) => (
                world
                    .get(&format!("/v1/stats/{id}"))
                    .await
                    .with(StatusCode::OK),
                format!(" AND issuer_ca_id = '{id}'"),
            ),
        };
        for status in ["ACTIVE", "EXPIRED", "REVOKED"] {
            let there = stored(world, &format!("status = '{status}'{of_ca}"), "id").await;
            assert_eq!(counts[status], there.len(), "{ca:?} {status}");
        }
    }
}

/// The serial numbers that a list shows, over all its pages.
async fn listed(world: &World, filter: &str, order: &str) -> Vec<String> {
    let filter = filter.replace(' ', "%20");
    let mut found = Vec::new();
    let mut bookmark = String::new();
    loop {
        let path =
            format!("/v1/certificates?page_size=1000&filter={filter}&{order}&bookmark={bookmark}");
        let page = world.get(&path).await.with(StatusCode::OK);
        let list = page["list"].as_array().unwrap();
        found.extend(
            list.iter()
                .map(|c| c["serial_number"].as_str().unwrap().to_owned()),
        );
        bookmark = page["next"].as_str().unwrap().to_owned();
        if bookmark.is_empty() {
            return found;
        }
    }
}

async fn stored(world: &World, rows: &str, order: &str) -> Vec<String> {
    let query = format!("SELECT serial_number FROM certificate WHERE {rows} ORDER BY {order}");
    let rows = world.db.rows(sql(query, params![])).await.unwrap();
    rows.iter()
        .map(|row| row.get("serial_number").unwrap())
        .collect()
}

async fn execute(db: &Db, statement: impl Into<std::borrow::Cow<'static, str>>) {
    let mut set = WriteSet::new();
    set.execute(sql(statement, params![]));
    db.commit(set).await.unwrap();
}
