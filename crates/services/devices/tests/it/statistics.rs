//! Numbers of devices through v2.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Fixture, fixture};

async fn fleet() -> Fixture {
    let fixture = fixture().await;
    for (id, owner, tags, site) in [
        ("a", "f", json!(["x", "y"]), json!("Graz")),
        ("b", "f", json!(["x"]), json!("Graz")),
        ("c", "g", json!([]), json!(7)),
        ("d", "g", json!(["y"]), Value::Null),
    ] {
        let body = json!({"id": id, "dms_owner": owner, "tags": tags, "metadata": {"site": site}});
        fixture.ok(Method::POST, "/v2/devices", body).await;
    }
    let serial = fixture.issued("a").await.serial_number;
    let version = json!({"secret": {"serial_number": serial}});
    fixture
        .ok(
            Method::POST,
            "/v2/devices/a/slots/identity/versions",
            version,
        )
        .await;
    fixture
        .ok(Method::DELETE, "/v2/devices/d", Value::Null)
        .await;
    fixture
}

async fn stats(fixture: &Fixture, query: &str) -> Value {
    fixture
        .ok(
            Method::GET,
            &format!("/v2/stats/devices?{query}"),
            Value::Null,
        )
        .await
}

#[tokio::test]
async fn every_status_is_told_and_their_sum_is_the_total() {
    let fixture = fleet().await;
    let all = json!({"NO_IDENTITY": 2, "ACTIVE": 1, "RENEWAL_PENDING": 0, "EXPIRING_SOON": 0,
        "EXPIRED": 0, "REVOKED": 0, "DECOMMISSIONED": 1});
    let expected = json!({"total": 4, "status_distribution": all, "as_of": "2026-03-01T09:00:00Z"});
    assert_eq!(stats(&fixture, "").await, expected);
    // By counters or by counting.
    assert_eq!(stats(&fixture, "filter=id[ne]nobody").await, expected);
    for (query, total) in [
        ("filter=status[eq]ACTIVE", 1),
        ("filter=status[ne]ACTIVE", 3),
        ("filter=tags[ct]y&filter=dms_owner[eq]g", 1),
        ("filter=identity.expiration_date[bf]now%2B200d", 1),
        ("filter=id[eq]nobody", 0),
    ] {
        assert_eq!(stats(&fixture, query).await["total"], total, "{query}");
    }
}

#[tokio::test]
async fn health_and_ends_are_told_on_request() {
    let fixture = fleet().await;
    let found = stats(&fixture, "include=health,expiration").await;
    let health = json!({"healthy": 1, "attention": 0, "critical": 0, "inactive": 3,
        "ratio": 1.0 / 3.0});
    assert_eq!(found["health"], health);
    assert_eq!(
        found["expiration"],
        json!({"24h": 0, "7d": 0, "30d": 0, "90d": 0})
    );
    fixture.pass(time::Duration::days(80)).await;
    let found = stats(&fixture, "include=expiration").await;
    assert_eq!(
        found["expiration"],
        json!({"24h": 0, "7d": 0, "30d": 1, "90d": 1})
    );
    let nobody = stats(&fixture, "include=health&filter=id[eq]nobody").await;
    assert_eq!(nobody["health"]["ratio"], Value::Null);
}

#[tokio::test]
async fn a_breakdown_has_the_largest_values_first() {
    let fixture = fleet().await;
    for (query, expected) in [
        ("group_by=dms_owner", json!([["f", 2], ["g", 2]])),
        (
            "group_by=dms_owner&filter=status[ne]DECOMMISSIONED",
            json!([["f", 2], ["g", 1]]),
        ),
        ("group_by=tags", json!([["x", 2], ["y", 2], [null, 1]])),
        (
            "group_by=metadata[jsonpath]$.site",
            json!([["Graz", 2], [7, 1], [null, 1]]),
        ),
        (
            "group_by=metadata[jsonpath]$.none[last]",
            json!([[null, 4]]),
        ),
    ] {
        let found = stats(&fixture, query).await;
        let breakdown = found["breakdown"].as_array().unwrap();
        let pairs = breakdown
            .iter()
            .map(|part| json!([part["value"], part["total"]]));
        assert_eq!(Value::Array(pairs.collect()), expected, "{query}");
    }
    let found = stats(&fixture, "group_by=dms_owner&filter=id[eq]a").await;
    assert_eq!(found["breakdown"][0]["status_distribution"]["ACTIVE"], 1);
    for n in 0..102 {
        let body = json!({"id": format!("n{n}"), "dms_owner": format!("o{n:03}")});
        fixture.ok(Method::POST, "/v2/devices", body).await;
    }
    let found = stats(&fixture, "group_by=dms_owner").await;
    let breakdown = found["breakdown"].as_array().unwrap();
    assert_eq!(
        (breakdown.len(), &breakdown[100]["value"]),
        (101, &Value::Null)
    );
    assert_eq!(breakdown[100]["total"], 4);
}

#[tokio::test]
async fn the_numbers_of_one_answer_are_of_one_moment() {
    let fixture = fixture().await;
    let registering = async {
        for n in 0..200 {
            let body = json!({"id": format!("n{n}"), "dms_owner": "f"});
            fixture.ok(Method::POST, "/v2/devices", body).await;
        }
    };
    tokio::pin!(registering);
    for filter in ["", "&filter=id[ne]nobody"].iter().cycle() {
        let query = format!("group_by=dms_owner{filter}");
        let found = tokio::select! {
            () = &mut registering => break,
            found = stats(&fixture, &query) => found,
        };
        let total = found["breakdown"][0]["total"].as_u64();
        assert_eq!(total.unwrap_or_default(), found["total"], "{query}");
    }
}

#[tokio::test]
async fn what_statistics_do_not_have_is_refused() {
    let fixture = fixture().await;
    for (query, code) in [
        ("group_by=colour", "validation_failed"),
        ("group_by=metadata[jsonpath]$.a[*]", "validation_failed"),
        ("include=everything", "validation_failed"),
        ("filter=colour[eq]red", "invalid_filter"),
        ("page_size=1", "unknown_field"),
    ] {
        let uri = format!("/v2/stats/devices?{query}");
        let refused = fixture.refused(Method::GET, &uri, Value::Null).await;
        assert_eq!(refused, (400, code.to_owned()), "{query}");
    }
}
