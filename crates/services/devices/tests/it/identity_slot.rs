//! Replacing the identity slot through v1.

use http::{Method, StatusCode};
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ca::certificate::ATTACHED_TO;
use lamassu_core::ca::enrollment::Attachment;
use lamassu_core::ids::SerialNumber;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::sql;
use serde_json::{Value, json};

use crate::support::{Fixture, START, caller, fixture, windows};

const SLOT: &str = "/v1/devices/dev-1/idslot";

async fn put(fixture: &Fixture, slot: Value) -> (StatusCode, Value) {
    let (status, _, body) = fixture.ask(Method::PUT, SLOT, &[], slot).await;
    (status, body)
}

#[tokio::test]
async fn a_connector_adds_to_the_history_by_writing_the_slot_back() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let mut slot = fixture.get("/v1/devices/dev-1").await.1["identity"].clone();
    let entry = json!({"type": "SHADOW-UPDATED", "description": "Remediation Actions: x"});
    slot["events"] = json!({"2026-03-02T00:00:00Z": entry});
    let (status, device) = put(&fixture, slot).await;
    assert_eq!(status, StatusCode::OK);
    let identity = &device["identity"];
    // What was there stays.
    assert_eq!(identity["events"].as_object().unwrap().len(), 2);
    assert_eq!(identity["events"]["2026-03-02T00:00:00Z"], entry);
    assert_eq!(identity["versions"], json!({"0": "0a"}));
    assert_eq!(device["status"], "ACTIVE");
    assert_eq!(fixture.get("/v1/devices/dev-1").await.1, device);
    // The renewal windows go on.
    fixture.pass(time::Duration::days(80)).await;
    assert_eq!(
        fixture.statuses("dev-1").await,
        ("RENEWAL_PENDING", "RENEWAL_PENDING")
    );
}

#[tokio::test]
async fn history_that_is_written_back_may_be_longer_than_what_is_shown() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let mut slot = fixture.get("/v1/devices/dev-1").await.1["identity"].clone();
    let text = "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description) \
                VALUES ('dev-1', 'identity', $1, 'NOTE', '')";
    for after in 1..=500_i64 {
        let at = START + time::Duration::hours(after);
        fixture.execute(sql(text, lamassu_db::params![at])).await;
    }
    let shown = fixture.get("/v1/devices/dev-1").await.1;
    let shown = shown["identity"]["events"].as_object().unwrap().len();
    assert_eq!(shown, 500);
    // The first entry is not shown any more; the client has it and adds one.
    let entry = json!({"type": "SHADOW-UPDATED", "description": "Remediation Actions: x"});
    slot["events"]["2026-03-01T08:00:00Z"] = entry;
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    let history = "/v2/devices/dev-1/events?filter=slot[eq]identity&count=true&sort_mode=asc";
    let history = fixture.ok(Method::GET, history, Value::Null).await;
    assert_eq!(history["total"], 502);
    let types: Vec<_> = (0..2).map(|n| history["list"][n]["type"].clone()).collect();
    assert_eq!(types, ["SHADOW-UPDATED", "PROVISIONED"]);
}

#[tokio::test]
async fn a_long_history_is_written_at_once() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let mut slot = fixture.get("/v1/devices/dev-1").await.1["identity"].clone();
    let entry = json!({"type": "SHADOW-UPDATED", "description": "Remediation Actions: x"});
    for after in 1..=10_000_i64 {
        let at = Timestamp(START + time::Duration::seconds(after));
        slot["events"][at.to_string()] = entry.clone();
    }
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    let history = "/v2/devices/dev-1/events?filter=slot[eq]identity&count=true&page_size=1";
    let history = fixture.ok(Method::GET, history, Value::Null).await;
    assert_eq!(history["total"], 10_001);
}

#[tokio::test]
async fn another_status_is_the_device_s_and_told_in_order() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let told = fixture.events().await.len();
    let slot = json!({"status": "ABOUT_TO_EXPIRE", "active_version": 0, "versions": {"0": "0a"}});
    let (status, device) = put(&fixture, slot).await;
    assert_eq!(
        (status, &device["status"]),
        (StatusCode::OK, &json!("EXPIRING_SOON"))
    );
    let texts = device["identity"]["events"].to_string();
    assert!(texts.contains("Identity Slot Status updated from 'ACTIVE' to 'EXPIRING_SOON'"));
    assert_eq!(
        fixture.event_types(told).await,
        ["device.status.update", "device.identity.update"]
    );
}

#[tokio::test]
async fn a_slot_is_made_with_what_is_missing() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let (status, device) = put(&fixture, json!({"status": "REVOKED", "events": null})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(device["status"], "REVOKED");
    assert_eq!(device["identity"]["type"], "x509");
    assert_eq!(device["identity"]["versions"], json!({}));
}

#[tokio::test]
async fn a_slot_that_is_revoked_revokes_its_certificate() {
    let fixture = fixture().await;
    let certificate = fixture.issued("dev-1").await;
    let serial = certificate.serial_number.clone();
    fixture.bound("dev-1", serial.as_str()).await;
    let slot = json!({"status": "REVOKED", "active_version": 0, "versions": {"0": serial}});
    let (status, device) = put(&fixture, slot).await;
    assert_eq!(
        (status, &device["status"]),
        (StatusCode::OK, &json!("REVOKED"))
    );
    fixture.follow().await;
    let certificate = fixture.certificate(&serial).await;
    assert_eq!(certificate.status, CertificateStatus::Revoked);
    assert_eq!(certificate.revocation_reason, RevocationReason::Unspecified);
}

/// Two certificates with the CA service, the first of which is superseded for a day and revoked then.
async fn in_overlap(fixture: &Fixture) -> [SerialNumber; 2] {
    fixture.register("dev-1").await;
    let slot = "/v2/devices/dev-1/slots/identity";
    let policy = json!({"overlap": "24h", "revoke_superseded": true});
    let policy = json!({"secret_type": "x509", "policy": policy});
    fixture.ok(Method::PUT, slot, policy).await;
    let mut serials = Vec::new();
    for _ in 0..2 {
        let serial = fixture.issued("dev-1").await.serial_number;
        let version = json!({"secret": {"serial_number": serial}});
        let versions = format!("{slot}/versions");
        fixture.ok(Method::POST, &versions, version).await;
        serials.push(serial);
    }
    fixture.follow().await;
    serials.try_into().unwrap()
}

/// Whether a certificate is revoked, and whether it says whose it is.
async fn follows(fixture: &Fixture, serial: &SerialNumber) -> (bool, bool) {
    let certificate = fixture.certificate(serial).await;
    let metadata = certificate.metadata.unwrap_or_default();
    let is_revoked = certificate.status == CertificateStatus::Revoked;
    (is_revoked, metadata.contains_key(ATTACHED_TO))
}

#[tokio::test]
async fn a_superseded_version_that_is_left_out_is_revoked_and_detached_at_once() {
    let fixture = fixture().await;
    let [first, second] = in_overlap(&fixture).await;
    assert_eq!(follows(&fixture, &first).await, (false, true));
    let slot = json!({"status": "ACTIVE", "active_version": 1, "versions": {"1": second}});
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    fixture.follow().await;
    assert_eq!(follows(&fixture, &first).await, (true, false));
    assert_eq!(follows(&fixture, &second).await, (false, true));
}

#[tokio::test]
async fn a_certificate_that_another_takes_the_number_of_is_detached() {
    let fixture = fixture().await;
    let [first, second] = in_overlap(&fixture).await;
    let other = fixture.issued("dev-1").await.serial_number;
    // The first certificate goes on under another number.
    let versions = json!({"0": other, "1": second, "2": first});
    let slot = json!({"status": "ACTIVE", "active_version": 0, "versions": versions});
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    fixture.follow().await;
    assert_eq!(follows(&fixture, &first).await, (false, true));
    let versions = json!({"0": other, "1": other, "2": first});
    let slot = json!({"status": "ACTIVE", "active_version": 0, "versions": versions});
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    fixture.follow().await;
    assert_eq!(follows(&fixture, &second).await, (false, false));
}

#[tokio::test]
async fn a_slot_that_is_written_from_an_older_copy_takes_no_certificate_from_its_device() {
    let fixture = fixture().await;
    let [first, second] = in_overlap(&fixture).await;
    let slot = json!({"status": "ACTIVE", "active_version": 0, "versions": {"0": first}});
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    fixture.follow().await;
    assert_eq!(follows(&fixture, &second).await, (false, true));
}

#[tokio::test]
async fn a_certificate_of_another_device_that_a_slot_had_by_mistake_stays_with_its_own() {
    let fixture = fixture().await;
    let [_, second] = in_overlap(&fixture).await;
    fixture.register("dev-2").await;
    let own = fixture.issued("dev-2").await.serial_number;
    for versions in [json!({"0": second, "1": own}), json!({"1": own})] {
        let slot = json!({"status": "ACTIVE", "active_version": 1, "versions": versions});
        let path = "/v1/devices/dev-2/idslot";
        let (status, ..) = fixture.ask(Method::PUT, path, &[], slot).await;
        assert_eq!(status, StatusCode::OK);
    }
    fixture.follow().await;
    assert_eq!(follows(&fixture, &second).await, (false, true));
}

#[tokio::test]
async fn a_slot_without_an_end_follows_its_certificate() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let certificate = fixture.issued("dev-1").await;
    let serial = certificate.serial_number.clone();
    let attachment = Attachment {
        device_id: "dev-1".into(),
        dms_id: "fleet-1".into(),
        slot: None,
    };
    fixture
        .ca
        .attach_certificate(&caller(), &(&certificate).into(), attachment, windows())
        .await
        .unwrap();
    let slot = json!({"status": "ACTIVE", "active_version": 0, "versions": {"0": serial}});
    put(&fixture, slot).await;
    let (revoked, active) = (CertificateStatus::Revoked, CertificateStatus::Active);
    let hold = RevocationReason::CertificateHold;
    for (status, shown) in [(revoked, "REVOKED"), (active, "ACTIVE")] {
        fixture.set_status(&serial, status, hold).await;
        fixture.heard().await;
        assert_eq!(fixture.statuses("dev-1").await, (shown, shown));
        let version = "/v2/devices/dev-1/slots/identity/versions/0";
        let version = fixture.ok(Method::GET, version, Value::Null).await;
        assert_eq!(version["state"], shown);
    }
}

#[tokio::test]
async fn a_pending_version_that_is_written_as_the_active_one_is_in_use() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let versions = "/v2/devices/dev-1/slots/identity/versions";
    let mut serials = Vec::new();
    for activate in [true, false] {
        let serial = fixture.issued("dev-1").await.serial_number;
        let version = json!({"secret": {"serial_number": serial}, "activate": activate});
        fixture.ok(Method::POST, versions, version).await;
        serials.push(serial);
    }
    let slot = json!({"status": "ACTIVE", "active_version": 1,
        "versions": {"0": serials[0], "1": serials[1]}});
    assert_eq!(put(&fixture, slot).await.0, StatusCode::OK);
    let page = fixture.ok(Method::GET, versions, Value::Null).await;
    let found: Vec<_> = [0, 1]
        .map(|n| &page["list"][n])
        .map(|version| (&version["state"], &version["activated_at"]))
        .into();
    let at = json!("2026-03-01T09:00:00Z");
    let expected = [(&json!("ACTIVE"), &at), (&json!("SUPERSEDED"), &at)];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_is_no_slot_is_refused_and_nothing_stored() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let before = fixture.device("dev-1").await;
    for slot in [
        json!({}),
        json!({"status": "DECOMMISSIONED"}),
        json!({"status": "NO_IDENTITY"}),
        json!({"status": "WELL"}),
        json!({"status": "ACTIVE", "active_version": 1, "versions": {"0": "0a"}}),
    ] {
        let refusal = json!({"err": "struct validation error"});
        assert_eq!(
            put(&fixture, slot).await,
            (StatusCode::BAD_REQUEST, refusal)
        );
    }
    assert_eq!(fixture.device("dev-1").await, before);
    let answer = fixture
        .ask(
            Method::PUT,
            "/v1/devices/x/idslot",
            &[],
            json!({"status": "ACTIVE"}),
        )
        .await;
    assert_eq!(
        (answer.0, &answer.2["err"]),
        (StatusCode::NOT_FOUND, &json!("device not found"))
    );
}
