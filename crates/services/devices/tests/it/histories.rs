//! What the configuration says of histories.

use http::{Method, StatusCode};
use lamassu_core::duration::WireDuration;
use lamassu_db::{params, sql};
use lamassu_devices::DevicesConfig;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{Fixture, configured};

#[tokio::test]
async fn v1_shows_as_many_of_the_newest_entries_as_configured() {
    let mut config = DevicesConfig::default();
    config.events.v1_limit = 2;
    let fixture = configured(config).await;
    fixture.bound("dev-1", "0a").await;
    for _ in 0..2 {
        // On day 70 and 93 the windows open.
        fixture.pass(Duration::days(47)).await;
    }
    let device = fixture.device("dev-1").await;
    let texts = |events: Vec<&lamassu_core::device::DeviceEvent>| -> Vec<String> {
        events
            .iter()
            .map(|event| event.description.clone())
            .collect()
    };
    let of_slot = device.identity.as_ref().unwrap().events.values().collect();
    assert_eq!(
        texts(of_slot),
        [
            "",
            "Identity Slot Status updated from 'ACTIVE' to 'EXPIRING_SOON'"
        ]
    );
    assert_eq!(
        texts(device.events.values().collect()),
        [
            "Status updated from 'NO_IDENTITY' to 'ACTIVE'",
            "Status updated from 'ACTIVE' to 'EXPIRING_SOON'"
        ]
    );
    let history = "/v2/devices/dev-1/events?count=true";
    let history = fixture.ok(Method::GET, history, Value::Null).await;
    assert_eq!(history["total"], 5);
}

#[tokio::test]
async fn changes_are_one_entry_within_the_time_that_is_configured() {
    for (coalesce, pause, entries) in [
        (Duration::ZERO, Duration::SECOND, 2),
        (Duration::hours(2), Duration::hours(1), 1),
    ] {
        let mut config = DevicesConfig::default();
        config.events.coalesce = WireDuration::from_secs(coalesce.whole_seconds());
        let fixture = configured(config).await;
        fixture.register("dev-1").await;
        for member in ["a", "b"] {
            let patch = json!({"metadata": {member: 1}});
            fixture.ok(Method::PATCH, "/v2/devices/dev-1", patch).await;
            fixture.clock.advance(pause);
        }
        let shadows = "/v2/devices/dev-1/events?filter=type[eq]SHADOW-UPDATED&count=true";
        let shadows = fixture.ok(Method::GET, shadows, Value::Null).await;
        assert_eq!(shadows["total"], entries, "{coalesce}");
    }
}

/// How many entries are stored of a device.
async fn stored(fixture: &Fixture, device: &str) -> i64 {
    let text = "SELECT COUNT(*) AS n FROM device_event WHERE device_id = $1";
    let row = fixture.db.row_opt(sql(text, params![device])).await;
    row.unwrap().unwrap().get("n").unwrap()
}

#[tokio::test]
async fn the_history_of_a_removed_device_stays_only_where_that_is_configured() {
    for retains in [false, true] {
        let mut config = DevicesConfig::default();
        config.events.retain_after_delete = retains;
        let fixture = configured(config).await;
        for (device, removal) in [
            ("dev-1", "/v1/devices/dev-1"),
            ("dev-2", "/v2/devices/dev-2?purge=true"),
        ] {
            fixture.register(device).await;
            let retired = format!("/v2/devices/{device}");
            fixture.ok(Method::DELETE, &retired, Value::Null).await;
            let before = stored(&fixture, device).await;
            let removed = fixture.ask(Method::DELETE, removal, &[], Value::Null).await;
            assert_eq!(removed.0, StatusCode::NO_CONTENT);
            let after = if retains { before } else { 0 };
            assert_eq!((before, stored(&fixture, device).await), (2, after));
        }
    }
}
