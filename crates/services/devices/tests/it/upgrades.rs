//! A database that an older version filled: what lists, groups and statistics say of it agrees with its rows.

use std::sync::Arc;

use http::StatusCode;
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_db::{Db, Schema, WriteSet, params, sql};
use lamassu_devices::SCHEMA;
use lamassu_testing::TestDatabase;
use serde_json::{Value, json};

use crate::support::{Fixture, START, fixture_on};

/// Before there were slots beside the identity; before there were groups.
const VERSIONS: [usize; 2] = [3, 7];

const GROUP: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/// Filters, each with what it says about rows.
const FILTERS: &[(&str, &str)] = &[
    ("", "1 = 1"),
    ("filter=status[equal]ACTIVE", "status = 'ACTIVE'"),
    ("filter=dms_owner[equal]line-b", "dms_owner = 'line-b'"),
    ("filter=id[contains]ice-12", "id LIKE '%ice-12%'"),
    (
        "filter=tags[contains]odd",
        "CAST(tags AS TEXT) LIKE '%odd%'",
    ),
];

#[tokio::test]
async fn devices_of_an_older_version_are_listed_grouped_and_counted() {
    for version in VERSIONS {
        let devices = upgraded_from(version).await;
        for (filter, rows) in FILTERS {
            let found = listed(&devices, "/v1/devices", filter).await;
            assert_eq!(found, stored(&devices.db, rows).await, "{version} {filter}");
        }
        let group = json!({ "id": GROUP, "name": "odd ones of line b", "criteria": [
            { "field": "tags", "operand": "contains", "value": "odd" },
            { "field": "dms_owner", "operand": "equal", "value": "line-b" },
        ]});
        let (status, told) = devices.post("/v1/device-groups", group.to_string()).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
        let members = listed(&devices, &format!("/v1/device-groups/{GROUP}/devices"), "").await;
        let rows = "CAST(tags AS TEXT) LIKE '%odd%' AND dms_owner = 'line-b'";
        assert_eq!(members, stored(&devices.db, rows).await, "{version}");
        let (_, stats) = devices.get("/v1/stats").await;
        for status in ["NO_IDENTITY", "ACTIVE", "EXPIRED"] {
            let there = stored(&devices.db, &format!("status = '{status}'")).await;
            let counted = &stats["status_distribution"][status];
            assert_eq!(*counted, json!(there.len()), "{version} {status}");
        }
        let (_, device) = devices.get("/v1/devices/device-1001").await;
        let identity = json!([
            device["identity"]["active_version"],
            device["identity"]["versions"]
        ]);
        assert_eq!(
            identity,
            json!([1, { "0": "aa1001", "1": "bb1001" }]),
            "{version}"
        );
    }
}

/// A service of today over devices that an older one left: two of three with an identity that was renewed once.
async fn upgraded_from(version: usize) -> Fixture {
    let clock = Arc::new(ManualClock::at(START));
    let database = TestDatabase::fresh();
    let db = database.open(&(Arc::clone(&clock) as SharedClock)).await;
    let older = |n: usize| Schema {
        migrations: &SCHEMA.migrations[..n],
        ..SCHEMA
    };
    db.migrate(older(VERSIONS[0])).await.unwrap();
    fill(&db).await;
    db.migrate(older(version)).await.unwrap();
    fixture_on(database, db, clock).await
}

async fn fill(db: &Db) {
    const N: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)";
    let status = "CASE i % 3 WHEN 0 THEN 'NO_IDENTITY' WHEN 1 THEN 'EXPIRED' ELSE 'ACTIVE' END";
    let mut set = WriteSet::new();
    let statement = format!(
        "INSERT INTO device (id, id_folded, alias, tags, status, icon, icon_color, created_at, \
             metadata, dms_owner, owner_folded, revision, slot_status, slot_type, active_version, \
             not_after) {N} SELECT 'device-' || CAST(i AS TEXT), 'device-' || CAST(i AS TEXT), '', \
             $1, {status}, 'Cpu', '#888888-#e0e0e0', 1000 + i / 4, $2, \
             CASE i % 2 WHEN 0 THEN 'line-a' ELSE 'line-b' END, \
             CASE i % 2 WHEN 0 THEN 'line-a' ELSE 'line-b' END, 1, \
             CASE i % 3 WHEN 1 THEN 'EXPIRED' WHEN 2 THEN 'ACTIVE' END, \
             CASE WHEN i % 3 > 0 THEN 'x509' END, CASE WHEN i % 3 > 0 THEN 1 END, \
             CASE WHEN i % 3 > 0 THEN 1900000000000000 + i END FROM n WHERE i % 5 = $3"
    );
    for rest in 0..5_i64 {
        let tags = if rest % 2 == 1 {
            json!(["odd", "Line"])
        } else {
            json!([])
        };
        set.execute(sql(
            statement.clone(),
            params![tags, json!({ "rest": rest }), rest],
        ));
    }
    for (version, letters) in [(0_i64, "aa"), (1, "bb")] {
        set.execute(sql(
            format!(
                "INSERT INTO identity_version (device_id, version, serial_number, \
                 authority_key_id, bound_at) {N} SELECT 'device-' || CAST(i AS TEXT), $1, \
                 '{letters}' || CAST(i AS TEXT), 'aa01', 2000 FROM n WHERE i % 3 > 0"
            ),
            params![version],
        ));
    }
    set.execute(sql(
        "INSERT INTO device_count (status, bucket, devices) \
         SELECT status, 0, COUNT(*) FROM device GROUP BY status",
        params![],
    ));
    db.commit(set).await.unwrap();
}

/// The ids that a list shows, over all its pages.
async fn listed(devices: &Fixture, path: &str, filter: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut bookmark = String::new();
    loop {
        let path = format!("{path}?page_size=500&{filter}&bookmark={bookmark}");
        let (status, page) = devices.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        let list = page["list"].as_array().unwrap();
        found.extend(list.iter().map(id_of));
        bookmark = page["next"].as_str().unwrap().to_owned();
        if bookmark.is_empty() {
            return found;
        }
    }
}

fn id_of(device: &Value) -> String {
    device["id"].as_str().unwrap().to_owned()
}

async fn stored(db: &Db, rows: &str) -> Vec<String> {
    let query = format!("SELECT id FROM device WHERE {rows} ORDER BY created_at, id");
    let rows = db.rows(sql(query, params![])).await.unwrap();
    rows.iter().map(|row| row.get("id").unwrap()).collect()
}
