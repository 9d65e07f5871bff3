//! Metadata of devices, patched through v1.

use http::{Method, StatusCode};
use lamassu_testing::patches::PatchedAt;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{Fixture, fixture};

const METADATA: &str = "/v1/devices/dev-1/metadata";

async fn add(fixture: &Fixture, name: &str, value: Value) -> Value {
    let patches = json!({"patches": [{"op": "add", "path": format!("/{name}"), "value": value}]});
    fixture.ok(Method::PUT, METADATA, patches).await
}

#[tokio::test]
async fn metadata_speak_the_dialect_of_all_services() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let patched = PatchedAt {
        routes: &fixture.routes,
        resource: "/v1/devices/dev-1",
        metadata: METADATA,
        unknown: (
            "/v1/devices/nobody/metadata",
            StatusCode::NOT_FOUND,
            "device not found",
        ),
    };
    patched.check().await;
}

#[tokio::test]
async fn a_patch_is_told_once_and_one_that_changes_nothing_never() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let told = fixture.events().await.len();
    add(&fixture, "site", json!("Graz")).await;
    add(&fixture, "site", json!("Graz")).await;
    let events = fixture.events().await.split_off(told);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "device.metadata.update");
    assert_eq!(events[0]["data"]["previous"]["metadata"], json!({}));
    let updated = &events[0]["data"]["updated"];
    assert_eq!(updated["metadata"], json!({"site": "Graz"}));
    assert_eq!(updated, &fixture.get("/v1/devices/dev-1").await.1);
}

#[tokio::test]
async fn changes_within_a_minute_are_one_entry_of_the_history() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let shadows = |device: &Value| -> Vec<String> {
        let events = device["events"].as_object().unwrap();
        let shadows = events
            .iter()
            .filter(|(_, event)| event["type"] == "SHADOW-UPDATED");
        shadows
            .map(|(at, event)| format!("{at} {}", event["description"]))
            .collect()
    };
    fixture.clock.advance(Duration::seconds(1));
    add(&fixture, "a", json!(1)).await;
    fixture.clock.advance(Duration::seconds(30));
    let device = add(&fixture, "b", json!(2)).await;
    let expected = ["2026-03-01T09:00:31Z \"Updated: metadata\""];
    assert_eq!(shadows(&device), expected);
    assert_eq!(shadows(&fixture.get("/v1/devices/dev-1").await.1), expected);
    fixture.clock.advance(Duration::seconds(61));
    let device = add(&fixture, "c", json!(3)).await;
    assert_eq!(shadows(&device).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_at_the_same_time_are_all_there() {
    let fixture = std::sync::Arc::new(fixture().await);
    fixture.register("dev-1").await;
    let patches = (0..16).map(|n| {
        let fixture = std::sync::Arc::clone(&fixture);
        tokio::spawn(async move { add(&fixture, &format!("n{n}"), json!(n)).await })
    });
    let patches: Vec<_> = patches.collect();
    for patch in patches {
        patch.await.unwrap();
    }
    let device = fixture.device("dev-1").await;
    assert_eq!(device.metadata.len(), 16);
}
