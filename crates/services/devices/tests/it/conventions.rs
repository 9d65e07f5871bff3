//! The conventions of lists, over the lists of devices.

use http::StatusCode;
use lamassu_core::query::Field;
use lamassu_db::{params, sql, system_caller};
use lamassu_devices::DEVICE_FIELDS;
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{Fixture, caller, first, fixture};

/// Those of one fleet, and all.
const PATHS: [&str; 2] = ["/v1/devices", "/v1/devices/dms/fleet-1"];

pub(crate) fn shown(field: &Field) -> Option<String> {
    match field.name {
        "identity_slot" => Some("/identity".to_owned()),
        _ => lists::by_name(field),
    }
}

fn devices<'f>(fixture: &'f Fixture, path: &'f str) -> ListOf<'f> {
    ListOf {
        routes: &fixture.routes,
        path,
        name: "/id",
        fields: DEVICE_FIELDS,
        shown,
    }
}

async fn register(fixture: &Fixture, body: Value) {
    let (status, body) = fixture.post("/v1/devices", body.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
}

/// One with the document, two with an identity, one of another fleet.
pub(crate) async fn fleet() -> Fixture {
    let fixture = fixture().await;
    for (id, fleet, tags, metadata) in [
        (
            "Pump-1",
            "fleet-1",
            json!(["Grün", "a\"b\\c", "red"]),
            lists::document(),
        ),
        ("pump-2", "fleet-1", json!([]), json!({})),
        ("Ventil-ß", "fleet-1", json!(["RED"]), json!({})),
        ("Ventil-ß", "Fleet-2", json!(["x,y"]), json!({})),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, (id, fleet, tags, metadata))| (format!("{id}.{n}"), fleet, tags, metadata))
    {
        let body = json!({"id": id, "dms_id": fleet, "tags": tags, "metadata": metadata});
        register(&fixture, body).await;
        fixture.clock.advance(Duration::seconds(1));
    }
    for (id, serial) in [("pump-2.1", "0a"), ("Ventil-ß.2", "0b")] {
        let binding = first(id, serial);
        fixture
            .service
            .bind_identity(&caller(), binding)
            .await
            .unwrap();
        fixture.clock.advance(Duration::seconds(1));
    }
    fixture
}

/// Devices of one fleet that are called like their place, some created at the same time.
pub(crate) async fn many(n: usize) -> Fixture {
    let fixture = fixture().await;
    for index in 0..n {
        fixture.register(&format!("device-{index:02}")).await;
        if index % 3 == 0 {
            fixture.clock.advance(Duration::seconds(1));
        }
    }
    fixture
}

#[tokio::test]
async fn filters_of_every_field_select_what_devices_show() {
    let fixture = fleet().await;
    for path in PATHS {
        devices(&fixture, path).check_filters_of_every_field().await;
    }
}

#[tokio::test]
async fn devices_sort_by_every_field() {
    let fixture = fleet().await;
    for path in PATHS {
        devices(&fixture, path).check_sorts_of_every_field().await;
        devices(&fixture, path)
            .check_path_sorts("metadata", "Pump-1.0")
            .await;
    }
}

#[tokio::test]
async fn predicates_look_into_metadata_and_identities() {
    let fixture = fleet().await;
    let list = devices(&fixture, "/v1/devices");
    list.check_predicates("metadata", "Pump-1.0").await;
    let slot = |path: &str| format!("identity_slot[jsonpath]{path}");
    list.check_filters(&[
        (&slot(r#"$.status == "ACTIVE""#), "pump-2.1 Ventil-ß.2"),
        (&slot(r#"$.versions."0" == "0b""#), "Ventil-ß.2"),
        (&slot("$.active_version == 0"), "pump-2.1 Ventil-ß.2"),
        (&slot("!($.active_version == 0)"), ""),
        (
            &slot(r#"$.expiration_date starts with "2026-06""#),
            "pump-2.1 Ventil-ß.2",
        ),
    ])
    .await;
    // Without an identity there is nothing to sort by.
    list.check(&[(
        "sort_by=identity[jsonpath]$.versions.%220%22&sort_mode=desc",
        "Ventil-ß.2 pump-2.1 Pump-1.0 Ventil-ß.3",
    )])
    .await;
}

#[tokio::test]
async fn former_words_for_a_status_still_select() {
    let fixture = fleet().await;
    fixture.clock.advance(Duration::days(80));
    let job = fixture.local.windows_job();
    let now = fixture.db.now();
    job.run(&system_caller("test"), now).await.unwrap();
    let list = devices(&fixture, "/v1/devices");
    list.check_filters(&[
        ("status[eq]RENEWAL_WINDOW", "pump-2.1 Ventil-ß.2"),
        (
            "status[in]RENEWAL_PENDING,ABOUT_TO_EXPIRE",
            "pump-2.1 Ventil-ß.2",
        ),
        ("status[ne]RENEWAL_WINDOW", "Pump-1.0 Ventil-ß.3"),
        ("status[eq]ABOUT_TO_EXPIRE", ""),
    ])
    .await;
    list.check_filters_of_every_field().await;
}

#[tokio::test]
async fn queries_for_devices_are_refused_or_ignored_as_everywhere() {
    let fixture = fleet().await;
    for path in PATHS {
        devices(&fixture, path).check_refusals().await;
        devices(&fixture, path).check_what_is_ignored().await;
    }
}

#[tokio::test]
async fn devices_come_in_pages() {
    let fixture = many(30).await;
    for (path, other) in [(PATHS[0], PATHS[1]), (PATHS[1], PATHS[0])] {
        let list = devices(&fixture, path);
        list.check_page_sizes().await;
        list.check_runs(&[
            "",
            "sort_by=id&sort_mode=desc",
            "sort_by=creation_timestamp&sort_mode=desc",
            "sort_by=identity_slot&sort_mode=desc",
            "sort_by=tags&filter=status[eq]NO_IDENTITY",
        ])
        .await;
        let nobody = devices(&fixture, "/v1/devices/dms/nobody");
        assert_eq!(nobody.answer("").await, "");
        list.check_bookmarks(&[devices(&fixture, other).bookmark().await])
            .await;
    }
}

#[tokio::test]
async fn devices_that_come_and_go_between_pages_move_no_other() {
    for sort in [
        "sort_by=id&sort_mode=asc",
        "sort_by=id&sort_mode=desc",
        "sort_by=dms_owner",
        "",
    ] {
        let fixture = many(9).await;
        let remove = async |id: String| {
            let delete = sql("DELETE FROM device WHERE id = $1", params![id]);
            fixture.execute(delete).await;
        };
        let mut n = 0;
        devices(&fixture, PATHS[0])
            .check_changes_between_pages(sort, remove, async || {
                n += 1;
                fixture.register(&format!("new-{n}")).await;
            })
            .await;
    }
}

#[tokio::test]
async fn statistics_of_devices_take_the_same_filters() {
    let fixture = fleet().await;
    let total = |body: &Value| body["total"].as_i64().unwrap();
    let by_status = |body: &Value| {
        let counts = body["status_distribution"].as_object().unwrap();
        counts.values().filter_map(Value::as_i64).sum()
    };
    let list = devices(&fixture, "/v1/devices");
    for count in [total as fn(&Value) -> i64, by_status] {
        list.check_statistics("/v1/stats", "filter", count, &["status"])
            .await;
    }
}
