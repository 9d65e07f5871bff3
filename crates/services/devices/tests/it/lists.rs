//! Lists and statistics.

use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{Fixture, caller, first, fixture};

/// Five devices, a second apart: the odd ones tagged `odd`, the last one of another fleet, the
/// first one bound.
async fn fleet() -> Fixture {
    let fixture = fixture().await;
    for number in 1..=5 {
        let tags = if number % 2 == 1 {
            json!(["odd", "iot"])
        } else {
            json!(["iot"])
        };
        let fleet = if number == 5 { "fleet-2" } else { "fleet-1" };
        let body = json!({"id": format!("Test{number}"), "dms_id": fleet, "tags": tags});
        assert_eq!(
            fixture.post("/v1/devices", body.to_string()).await.0,
            StatusCode::CREATED
        );
        fixture.clock.advance(Duration::seconds(1));
    }
    let binding = first("Test1", "0a");
    fixture
        .service
        .bind_identity(&caller(), binding)
        .await
        .unwrap();
    fixture
}

fn ids(page: &Value) -> Vec<&str> {
    page["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_filter_and_sort_as_dashboards_ask() {
    let fixture = fleet().await;
    let cases: [(&str, &[&str]); 13] = [
        (
            "/v1/devices",
            &["Test1", "Test2", "Test3", "Test4", "Test5"],
        ),
        (
            "/v1/devices?sort_by=creation_timestamp&sort_mode=desc&page_size=25",
            &["Test5", "Test4", "Test3", "Test2", "Test1"],
        ),
        ("/v1/devices?filter=dms_owner[equal]fleet-2", &["Test5"]),
        ("/v1/devices?filter=id[contains]st3", &["Test3"]),
        (
            "/v1/devices?filter=tags[contains]odd",
            &["Test1", "Test3", "Test5"],
        ),
        ("/v1/devices?filter=status[equal]ACTIVE", &["Test1"]),
        ("/v1/devices?filter=status[equal]RENEWAL_WINDOW", &[]),
        (
            "/v1/devices/dms/fleet-1?filter=tags[ct]odd",
            &["Test1", "Test3"],
        ),
        ("/v1/devices/dms/nobody", &[]),
        (
            "/v1/devices?filter=identity_slot[jsonpath]$.status==%22ACTIVE%22",
            &["Test1"],
        ),
        (
            "/v1/devices?filter=identity[jsonpath]$.versions.%220%22==%220a%22",
            &["Test1"],
        ),
        (
            "/v1/devices?filter=identity_slot[jsonpath]$.expiration_date==%222026-06-09T09:00:00Z%22",
            &["Test1"],
        ),
        (
            "/v1/devices?filter=identity_slot[jsonpath]$.events.*.type==%22PROVISIONED%22",
            &["Test1"],
        ),
    ];
    for (uri, expected) in cases {
        let (status, page) = fixture.get(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {page}");
        assert_eq!(ids(&page), expected, "{uri}");
        assert_eq!(page["next"], "", "{uri}");
    }
}

#[tokio::test]
async fn items_of_a_list_are_whole_devices() {
    let fixture = fleet().await;
    let (_, page) = fixture.get("/v1/devices").await;
    for item in page["list"].as_array().unwrap() {
        let uri = format!("/v1/devices/{}", item["id"].as_str().unwrap());
        assert_eq!(&fixture.get(&uri).await.1, item);
    }
    assert_eq!(page["list"][0]["identity"]["versions"], json!({"0": "0a"}));
}

#[tokio::test]
async fn pages_follow_each_other_and_keep_their_list() {
    let fixture = fleet().await;
    let (_, page) = fixture
        .get("/v1/devices?sort_by=id&sort_mode=asc&page_size=2")
        .await;
    assert_eq!(ids(&page), ["Test1", "Test2"]);
    let next = page["next"].as_str().unwrap().to_owned();
    let (_, page) = fixture
        .get(&format!("/v1/devices?bookmark={next}&sort_mode=desc"))
        .await;
    assert_eq!(ids(&page), ["Test3", "Test4"]);
    let last = page["next"].as_str().unwrap();
    let (_, page) = fixture.get(&format!("/v1/devices?bookmark={last}")).await;
    assert_eq!((ids(&page), &page["next"]), (vec!["Test5"], &json!("")));

    let answer = fixture
        .get(&format!("/v1/devices/dms/fleet-1?bookmark={next}"))
        .await;
    assert_eq!(
        answer,
        (
            StatusCode::BAD_REQUEST,
            json!({"err": "not a valid bookmark", "code": "invalid_bookmark"})
        )
    );
}

#[tokio::test]
async fn an_operand_that_the_field_lacks_is_refused() {
    let fixture = fixture().await;
    let text = "invalid filter operand 'lt' for field 'id' of type 0";
    for uri in ["/v1/devices", "/v1/devices/dms/fleet-1", "/v1/stats"] {
        let (status, body) = fixture.get(&format!("{uri}?filter=id[lt]x")).await;
        assert_eq!(
            (status, &body["err"]),
            (StatusCode::BAD_REQUEST, &json!(text)),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn statistics_count_what_the_filters_leave() {
    let fixture = fleet().await;
    let cases = [
        ("/v1/stats", 5, 1),
        ("/v1/stats?filter=id[ct]Test", 5, 1),
        ("/v1/stats?filter=dms_owner[eq]fleet-1", 4, 1),
        (
            "/v1/stats?filter=tags[ct]odd&filter=dms_owner[eq]fleet-2",
            1,
            0,
        ),
        ("/v1/stats?filter=id[eq]nobody", 0, 0),
        ("/v1/stats?filter=unknown[eq]x&sort_by=id&page_size=1", 5, 1),
    ];
    for (uri, total, active) in cases {
        let expected = json!({"total": total, "status_distribution": {
            "NO_IDENTITY": total - active, "ACTIVE": active, "RENEWAL_PENDING": 0,
            "EXPIRING_SOON": 0, "EXPIRED": 0, "REVOKED": 0, "DECOMMISSIONED": 0,
        }});
        assert_eq!(fixture.get(uri).await, (StatusCode::OK, expected), "{uri}");
    }
}

#[tokio::test]
async fn statistics_refuse_a_filter_on_status() {
    let fixture = fleet().await;
    let refusal = json!({"err": "struct validation error"});
    for filters in [
        "filter=status[eq]ACTIVE",
        "filter=id[eq]Test1&filter=status[ne]ACTIVE",
    ] {
        let answer = fixture.get(&format!("/v1/stats?{filters}")).await;
        assert_eq!(
            answer,
            (StatusCode::BAD_REQUEST, refusal.clone()),
            "{filters}"
        );
    }
}
