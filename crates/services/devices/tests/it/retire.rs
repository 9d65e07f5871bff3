//! Decommissioning and deleting devices, and what becomes of their certificates.

use http::{Method, StatusCode};
use lamassu_core::ca::certificate::ATTACHED_TO;
use lamassu_core::ca::{CertificateRef, CertificateStatus};
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::usage::RevocationReason;
use lamassu_db::{params, sql};
use serde_json::{Value, json};

use crate::support::{Fixture, caller, fixture, renewal};

const DECOMMISSION: &str = "/v1/devices/dev-1/decommission";

#[tokio::test]
async fn all_valid_certificates_of_a_decommissioned_device_are_revoked() {
    let fixture = fixture().await;
    let old = fixture.issued("dev-1").await.serial_number;
    let new = fixture.issued("dev-1").await.serial_number;
    fixture.bound("dev-1", old.as_str()).await;
    let second = renewal("dev-1", new.as_str(), 0, old.as_str());
    fixture
        .service
        .bind_identity(&caller(), second)
        .await
        .unwrap();
    let told = fixture.events().await.len();
    let device = fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    assert_eq!(device["status"], "DECOMMISSIONED");
    assert_eq!(device["identity"]["status"], "REVOKED");
    let entry = json!({"type": "DECOMMISSIONED", "description": ""});
    let mut events = device["events"].as_object().unwrap().values();
    assert!(events.any(|event| *event == entry));
    assert_eq!(
        fixture.event_types(told).await,
        ["device.status.update", "device.identity.update"]
    );
    fixture.follow().await;
    for serial in [old, new] {
        let certificate = fixture.certificate(&serial).await;
        assert_eq!(certificate.status, CertificateStatus::Revoked);
        assert_eq!(
            certificate.revocation_reason,
            RevocationReason::CessationOfOperation
        );
    }
    // Once is enough.
    let events = fixture.events().await.len();
    assert_eq!(
        fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await,
        device
    );
    fixture.follow().await;
    assert_eq!(fixture.events().await.len(), events);
}

/// Another issuer's certificate with the same serial number.
async fn duplicate(fixture: &Fixture, serial: &SerialNumber) {
    const COPIED: &str = "serial_number, revision, created_at, der, status, certificate_type, \
        engine_id, metadata, is_ca, subject_common_name, subject_common_name_folded, \
        subject_key_id, authority_key_id, key_type, key_bits, key_strength, key_usage, \
        extended_key_usage, valid_from, valid_to, issuer_serial_number, issuer_level, \
        revocation_timestamp, revocation_reason, next_due, expired_by_job";
    let text = format!(
        "INSERT INTO certificate (id, issuer_ca_id, {COPIED}) \
         SELECT 'copy', 'another', {COPIED} FROM certificate WHERE serial_number = $1"
    );
    fixture.execute(sql(text, params![serial.as_str()])).await;
}

#[tokio::test]
async fn another_issuers_certificate_with_the_same_number_does_not_follow() {
    let fixture = fixture().await;
    let first = fixture.issued("dev-1").await.serial_number;
    fixture.bound("dev-1", first.as_str()).await;
    let second = fixture.issued("dev-1").await.serial_number;
    let version = json!({"secret": {"serial_number": second.as_str()}, "overlap": "1h"});
    let versions = "/v2/devices/dev-1/slots/identity/versions";
    fixture.ok(Method::POST, versions, version).await;
    duplicate(&fixture, &second).await;
    // On the way back and forth the attachment moves, and in the end both are revoked.
    for number in [0, 1] {
        let path = format!("{versions}/{number}/activate");
        fixture.ok(Method::POST, &path, json!({})).await;
    }
    fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    fixture.follow().await;
    let one = async |ca: &str| {
        let named = CertificateRef::of_ca(second.clone(), CaId::from(ca));
        let found = fixture.ca.certificate_named(&caller(), &named).await;
        let found = found.unwrap();
        let metadata = found.metadata.unwrap_or_default();
        (found.status, metadata.contains_key(ATTACHED_TO))
    };
    assert_eq!(one("factory").await, (CertificateStatus::Revoked, true));
    assert_eq!(one("another").await, (CertificateStatus::Active, false));
}

/// The statuses of all certificates with this serial number, in the order in which they were issued.
async fn statuses(fixture: &Fixture, serial: &SerialNumber) -> Vec<String> {
    let text = "SELECT status FROM certificate WHERE serial_number = $1 ORDER BY created_at, id";
    let rows = fixture.db.rows(sql(text, params![serial.as_str()])).await;
    let rows = rows.unwrap();
    rows.iter().map(|row| row.get("status").unwrap()).collect()
}

async fn waiting(fixture: &Fixture) -> Vec<i64> {
    let query = sql("SELECT attempts FROM device_follow_up", vec![]);
    let rows = fixture.db.rows(query).await.unwrap();
    rows.iter()
        .map(|row| row.get::<i64>("attempts").unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_known_by_a_number_that_several_have_is_given_up() {
    let fixture = fixture().await;
    let serial = fixture.issued("dev-1").await.serial_number;
    fixture.register("dev-1").await;
    // Clients of v1 name no CA.
    let slot = json!({"status": "ACTIVE", "active_version": 0, "versions": {"0": serial}});
    fixture
        .ok(Method::PUT, "/v1/devices/dev-1/idslot", slot)
        .await;
    duplicate(&fixture, &serial).await;
    fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    assert_eq!(waiting(&fixture).await, [0]);
    fixture.follow().await;
    assert_eq!(waiting(&fixture).await, [0; 0]);
    assert_eq!(statuses(&fixture, &serial).await, ["ACTIVE", "ACTIVE"]);
}

#[tokio::test]
async fn of_certificates_of_unknown_issuers_the_device_s_own_follows() {
    let fixture = fixture().await;
    let serial = fixture.issued("dev-1").await.serial_number;
    let of_nobody = "UPDATE certificate SET issuer_ca_id = '-' WHERE serial_number = $1";
    fixture
        .execute(sql(of_nobody, params![serial.as_str()]))
        .await;
    fixture.register("dev-1").await;
    let version = json!({"secret": {"serial_number": serial}});
    let versions = "/v2/devices/dev-1/slots/identity/versions";
    fixture.ok(Method::POST, versions, version).await;
    fixture.clock.advance(time::Duration::seconds(1));
    let other = fixture.issued("other").await.serial_number;
    let renumbered =
        "UPDATE certificate SET issuer_ca_id = '-', serial_number = $1 WHERE serial_number = $2";
    let serials = params![serial.as_str(), other.as_str()];
    fixture.execute(sql(renumbered, serials)).await;
    fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    fixture.follow().await;
    assert_eq!(waiting(&fixture).await, [0; 0]);
    assert_eq!(statuses(&fixture, &serial).await, ["REVOKED", "ACTIVE"]);
}

#[tokio::test]
async fn a_revocation_is_tried_until_the_ca_service_answers() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    assert_eq!(waiting(&fixture).await, [0]);
    let hide = "ALTER TABLE certificate RENAME TO certificate_away";
    fixture.execute(lamassu_db::sql(hide, vec![])).await;
    fixture.follow().await;
    assert_eq!(waiting(&fixture).await, [1]);
    fixture.follow().await;
    assert_eq!(waiting(&fixture).await, [1]);
    let show = "ALTER TABLE certificate_away RENAME TO certificate";
    fixture.execute(lamassu_db::sql(show, vec![])).await;
    fixture.clock.advance(time::Duration::seconds(2));
    fixture.follow().await;
    assert_eq!(waiting(&fixture).await, [0; 0]);
}

#[tokio::test]
async fn a_device_without_identity_is_retired_and_stays_as_it_is() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let device = fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    assert_eq!(device["status"], "DECOMMISSIONED");
    let slot = json!({"status": "ACTIVE", "active_version": 0, "versions": {"0": "0a"}});
    let after = fixture
        .ok(Method::PUT, "/v1/devices/dev-1/idslot", slot)
        .await;
    assert_eq!(after, device);
    // Notes are still taken.
    let patches = json!({"patches": [{"op": "add", "path": "/why", "value": "broken"}]});
    let noted = fixture
        .ok(Method::PUT, "/v1/devices/dev-1/metadata", patches)
        .await;
    assert_eq!(noted["metadata"], json!({"why": "broken"}));
    let (status, _, answer) = fixture
        .ask(
            Method::DELETE,
            "/v1/devices/x/decommission",
            &[],
            Value::Null,
        )
        .await;
    assert_eq!(
        (status, &answer["err"]),
        (StatusCode::NOT_FOUND, &json!("device not found"))
    );
}

#[tokio::test]
async fn only_a_retired_device_is_deleted_and_its_certificates_forget_it() {
    let fixture = fixture().await;
    let serial = fixture.issued("dev-1").await.serial_number;
    fixture.register("dev-1").await;
    let version = json!({"secret": {"serial_number": serial}});
    let versions = "/v2/devices/dev-1/slots/identity/versions";
    fixture.ok(Method::POST, versions, version).await;
    fixture.follow().await;
    let metadata = fixture.certificate(&serial).await.metadata.unwrap();
    assert_eq!(
        metadata[ATTACHED_TO],
        json!({"authorized_by": {"ra_id": "fleet-1"}, "device_id": "dev-1"})
    );
    let (status, _, answer) = fixture
        .ask(Method::DELETE, "/v1/devices/dev-1", &[], Value::Null)
        .await;
    assert_eq!(
        (status, &answer["err"]),
        (
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!("device status does not allow this operation")
        )
    );
    fixture.ok(Method::DELETE, DECOMMISSION, Value::Null).await;
    let (status, ..) = fixture
        .ask(Method::DELETE, "/v1/devices/dev-1", &[], Value::Null)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let event = fixture.events().await.pop().unwrap();
    assert_eq!(
        (&event["type"], &event["data"]),
        (&json!("device.delete"), &json!({"ID": "dev-1"}))
    );
    fixture.follow().await;
    let certificate = fixture.certificate(&serial).await;
    assert_eq!(certificate.status, CertificateStatus::Revoked);
    assert!(!certificate.metadata.unwrap().contains_key(ATTACHED_TO));
    assert_eq!(
        fixture.get("/v1/devices/dev-1").await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(fixture.get("/v1/stats").await.1["total"], 0);
    let left = lamassu_db::sql("SELECT 1 AS one FROM device_event", vec![]);
    assert_eq!(fixture.db.rows(left).await.unwrap().len(), 0);
    // The id is free again, with an empty history.
    fixture.register("dev-1").await;
}
