//! Finding devices by what the configuration declares, by tags, and by parts of their names.

use std::sync::Arc;

use http::Method;
use lamassu_core::clock::SharedClock;
use lamassu_db::{Db, Dialect, params, sql, system_caller};
use lamassu_devices::{DevicesConfig, DevicesPorts, DevicesService};
use serde_json::{Value, json};

use crate::support::{Fixture, fixture};

/// The device manager of a fixture, with a declared path.
async fn declaring(fixture: &Fixture, paths: &[&str]) -> DevicesService {
    let ports = DevicesPorts {
        db: fixture.db.clone(),
        ca: Arc::clone(&fixture.ca),
        config: DevicesConfig {
            indexed_metadata: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..DevicesConfig::default()
        },
    };
    DevicesService::new(ports).await.unwrap()
}

async fn index(service: &DevicesService, db: &Db) {
    let job = service.values_job();
    job.run(&system_caller("test"), db.now()).await.unwrap();
}

async fn values(db: &Db) -> Vec<String> {
    let query = sql(
        "SELECT path, value, device_id FROM device_value ORDER BY path, value, device_id",
        vec![],
    );
    let rows = db.rows(query).await.unwrap();
    let text = |row: &lamassu_db::Row| {
        let part = |name: &str| row.get::<String>(name).unwrap();
        format!("{} {} {}", part("path"), part("value"), part("device_id"))
    };
    rows.iter().map(text).collect()
}

async fn ids(fixture: &Fixture, service: &DevicesService, query: &str) -> String {
    let clock = Arc::clone(&fixture.clock) as SharedClock;
    let limits = lamassu_core::query::QueryLimits::default();
    let routes = lamassu_devices::routes(Arc::new(service.clone()), clock, limits);
    let fixture = Fixture::over(&routes);
    let uri = format!(
        "/v2/devices?{}",
        query
            .replace("&&", "%26%26")
            .replace(' ', "%20")
            .replace('"', "%22")
    );
    let mut ids = Vec::new();
    let mut next = String::new();
    loop {
        let page = if next.is_empty() {
            uri.clone()
        } else {
            format!("/v2/devices?bookmark={next}")
        };
        let page = fixture(page).await;
        let list = page["list"].as_array().unwrap();
        ids.extend(
            list.iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        page["next"].as_str().unwrap().clone_into(&mut next);
        if next.is_empty() {
            return ids.join(" ");
        }
    }
}

#[tokio::test]
async fn declared_values_and_tags_find_what_reading_finds() {
    let fixture = fixture().await;
    for (id, tags, metadata) in [
        ("a", json!(["x"]), json!({"site": "Graz", "deep": {"n": 1}})),
        (
            "b",
            json!(["x", "y"]),
            json!({"site": ["Graz", "Wien"], "deep": [{"n": 1.0}]}),
        ),
        ("c", json!([]), json!({"site": "y".repeat(5_000)})),
    ] {
        let body = json!({"id": id, "dms_owner": "f", "tags": tags, "metadata": metadata});
        fixture.ok(Method::POST, "/v2/devices", body).await;
    }
    let service = declaring(&fixture, &["$.site", "$.deep.n"]).await;
    let long = format!(
        "filter=metadata[jsonpath]$.site == \"{}\"",
        "y".repeat(4_000)
    );
    let queries = [
        ("filter=metadata[jsonpath]$.site == \"Graz\"", "a b"),
        (
            "filter=metadata[jsonpath]$.site == \"Graz\"&page_size=1",
            "a b",
        ),
        (
            "filter=metadata[jsonpath]\"Wien\" == $.site && $.deep.n == 1",
            "b",
        ),
        ("filter=metadata[jsonpath]$.deep.n == 1", "a b"),
        ("filter=metadata[jsonpath]$.site == \"Linz\"", ""),
        ("filter=metadata[jsonpath]!($.site == \"Graz\")", "c"),
        ("filter=tags[ct]x", "a b"),
        ("filter=tags[ct]y&page_size=1", "b"),
        ("filter=tags[ct]z", ""),
        (long.as_str(), ""),
    ];
    // Nothing is asked for before it is complete.
    for (query, expected) in queries {
        assert_eq!(ids(&fixture, &service, query).await, expected, "{query}");
    }
    index(&service, &fixture.db).await;
    let before = values(&fixture.db).await;
    assert_eq!(before.len(), 3 + 4 + 2, "{before:?}");
    for (query, expected) in queries {
        assert_eq!(ids(&fixture, &service, query).await, expected, "{query}");
    }
    // What changes goes along.
    let clock = Arc::clone(&fixture.clock) as SharedClock;
    let limits = lamassu_core::query::QueryLimits::default();
    let routes = lamassu_devices::routes(Arc::new(service.clone()), clock, limits);
    let patch = json!({"tags": ["z"], "metadata": {"site": "Linz"}});
    Fixture::patch_over(&routes, "/v2/devices/a", patch).await;
    assert_eq!(
        ids(
            &fixture,
            &service,
            "filter=metadata[jsonpath]$.site == \"Linz\""
        )
        .await,
        "a"
    );
    assert_eq!(
        ids(
            &fixture,
            &service,
            "filter=metadata[jsonpath]$.site == \"Graz\""
        )
        .await,
        "b"
    );
    assert_eq!(ids(&fixture, &service, "filter=tags[ct]z").await, "a");
    // A path that is declared no longer leaves nothing behind.
    let service = declaring(&fixture, &[]).await;
    index(&service, &fixture.db).await;
    let left = values(&fixture.db).await;
    assert!(
        left.iter().all(|value| value.starts_with("tags ")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_part_of_an_id_or_alias_is_found_with_and_without_the_index() {
    let fixture = fixture().await;
    for (id, alias) in [
        ("pump-0001", "Hall 3"),
        ("valve-0001", "pump room"),
        ("fan", ""),
    ] {
        let body = json!({"id": id, "dms_owner": "f", "alias": alias});
        fixture.ok(Method::POST, "/v2/devices", body).await;
    }
    let service = declaring(&fixture, &[]).await;
    let queries = [
        ("filter=id[ct]pump", "pump-0001"),
        ("filter=id[ct]-0001", "pump-0001 valve-0001"),
        ("filter=alias[ct]pump", "valve-0001"),
        ("filter=alias[ct_ic]HALL", "pump-0001"),
        ("filter=id[nc]0001", "fan"),
    ];
    for (query, expected) in queries {
        assert_eq!(ids(&fixture, &service, query).await, expected, "{query}");
    }
    index(&service, &fixture.db).await;
    for (query, expected) in queries {
        assert_eq!(ids(&fixture, &service, query).await, expected, "{query}");
    }
    fixture
        .ok(
            Method::PATCH,
            "/v2/devices/fan",
            json!({"alias": "cooling hall"}),
        )
        .await;
    assert_eq!(
        ids(&fixture, &service, "filter=alias[ct_ic]hall").await,
        "fan pump-0001"
    );
    fixture
        .ok(Method::DELETE, "/v2/devices/fan", Value::Null)
        .await;
    let (status, ..) = fixture
        .ask(
            Method::DELETE,
            "/v2/devices/fan?purge=true",
            &[],
            Value::Null,
        )
        .await;
    assert_eq!(status.as_u16(), 204);
    assert_eq!(
        ids(&fixture, &service, "filter=alias[ct_ic]hall").await,
        "pump-0001"
    );
}

#[tokio::test]
async fn a_path_that_is_none_of_member_names_is_no_configuration() {
    for path in ["site", "$", "$.a[0]", "$.a[*]"] {
        let config = DevicesConfig {
            indexed_metadata: vec![path.to_owned()],
            ..DevicesConfig::default()
        };
        let refused = config.validate().unwrap_err().to_string();
        assert!(refused.contains("no path"), "{path}: {refused}");
    }
}

/// 4,600 devices a microsecond apart; of all but the first 500 tag and site are those of many, and the identities
/// of the last three end.
async fn crowd(fixture: &Fixture) {
    let cast = match fixture.db.dialect() {
        Dialect::Sqlite => "",
        Dialect::Postgres => "::jsonb",
    };
    let text = format!(
        "INSERT INTO device (id, id_folded, alias, alias_folded, tags, status, icon, icon_color, \
         created_at, updated_at, metadata, dms_owner, owner_folded, revision, not_after) \
         WITH RECURSIVE counted (n) AS \
         (SELECT 1000 UNION ALL SELECT n + 1 FROM counted WHERE n < 5599) \
         SELECT 'dev-' || CAST(n AS TEXT), 'dev-' || CAST(n AS TEXT), '', '', \
         CASE WHEN n < 1500 THEN $1{cast} ELSE $2{cast} END, 'NO_IDENTITY', 'Cpu', \
         '#888888-#e0e0e0', n, n, CASE WHEN n < 1500 THEN $3{cast} ELSE $4{cast} END, 'fleet', \
         'fleet', 1, CASE WHEN n > 5596 THEN n END FROM counted"
    );
    let values = params![
        json!(["few"]),
        json!(["many", "iot"]),
        json!({"site": "small"}),
        json!({"site": "big"})
    ];
    fixture.execute(sql(text, values)).await;
    let counted =
        "INSERT INTO device_count (status, bucket, devices) VALUES ('NO_IDENTITY', 99, 4600)";
    fixture.execute(sql(counted, vec![])).await;
}

#[tokio::test]
async fn what_thousands_have_is_found_and_counted() {
    let fixture = fixture().await;
    crowd(&fixture).await;
    let service = declaring(&fixture, &["$.site"]).await;
    index(&service, &fixture.db).await;
    let clock = Arc::clone(&fixture.clock) as SharedClock;
    let limits = lamassu_core::query::QueryLimits::default();
    let asked = Fixture::over(&lamassu_devices::routes(Arc::new(service), clock, limits));
    let site = "metadata%5Bjsonpath%5D$.site%20==%20%22big%22";
    for query in [
        "filter=tags[ct]many".to_owned(),
        format!("filter={site}"),
        format!("filter=tags[ct]many&filter={site}"),
    ] {
        let page = asked(format!("/v2/devices?{query}&page_size=2&count=true")).await;
        assert_eq!(page["list"][0]["id"], "dev-1500", "{query}");
        assert_eq!(page["total"], 4_100, "{query}");
        let next = page["next"].as_str().unwrap();
        let page = asked(format!("/v2/devices?bookmark={next}")).await;
        assert_eq!(page["list"][1]["id"], "dev-1503", "{query}");
        let last = format!("/v2/devices?{query}&sort_by=id&sort_mode=desc&page_size=1");
        assert_eq!(asked(last).await["list"][0]["id"], "dev-5599", "{query}");
        let stats = asked(format!("/v2/stats/devices?{query}&group_by=dms_owner")).await;
        assert_eq!(stats["total"], 4_100, "{query}");
        assert_eq!(stats["breakdown"][0]["total"], 4_100, "{query}");
    }
}
