//! Certificates that are put on hold over v2: they come back as they were, or are revoked for good.

use http::Method;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::device::BindIdentity;
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use serde_json::{Value, json};
use time::Duration;

use crate::slots::{IDENTITY, add, issued, registered, states};
use crate::support::{Fixture, caller, first};

/// Adds a certificate of its own to the identity; the members are those of the version.
async fn added(fixture: &Fixture, mut version: Value) -> SerialNumber {
    let serial = issued(fixture).await;
    version["secret"] = json!({ "serial_number": serial });
    add(fixture, IDENTITY, version).await;
    fixture.follow().await;
    serial
}

/// Has a version of the identity revoked; certificate and device follow.
async fn revoked(fixture: &Fixture, number: u32, reason: &str) {
    let uri = format!("{IDENTITY}/versions/{number}/revoke");
    let body = json!({ "reason": reason });
    fixture.ok(Method::POST, &uri, body).await;
    fixture.follow().await;
    fixture.heard().await;
}

async fn released(fixture: &Fixture, serial: &SerialNumber) {
    let (status, reason) = (CertificateStatus::Active, RevocationReason::Unspecified);
    fixture.set_status(serial, status, reason).await;
    fixture.heard().await;
}

/// Why version 0 is revoked, as it knows itself and as the CA service does.
async fn reasons(fixture: &Fixture, serial: &SerialNumber) -> (String, &'static str) {
    let uri = format!("{IDENTITY}/versions/0");
    let version = fixture.ok(Method::GET, &uri, Value::Null).await;
    let certificate = fixture.certificate(serial).await;
    assert_eq!(certificate.status, CertificateStatus::Revoked);
    let reason = version["revocation_reason"].as_str().unwrap_or_default();
    (reason.to_owned(), certificate.revocation_reason.name())
}

#[tokio::test]
async fn a_hold_is_released_or_becomes_final() {
    let fixture = registered().await;
    let serial = added(&fixture, json!({})).await;
    revoked(&fixture, 0, "CertificateHold").await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
    let on_hold = ("CertificateHold".to_owned(), "CertificateHold");
    assert_eq!(reasons(&fixture, &serial).await, on_hold);
    released(&fixture, &serial).await;
    assert_eq!(states(&fixture, IDENTITY).await.0, ["ACTIVE"]);
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));

    revoked(&fixture, 0, "CertificateHold").await;
    // Once is enough.
    let told = fixture.events().await.len();
    revoked(&fixture, 0, "CertificateHold").await;
    assert_eq!(fixture.events().await.len(), told);
    revoked(&fixture, 0, "KeyCompromise").await;
    let compromised = ("KeyCompromise".to_owned(), "KeyCompromise");
    assert_eq!(reasons(&fixture, &serial).await, compromised);
    revoked(&fixture, 0, "Superseded").await;
    assert_eq!(reasons(&fixture, &serial).await, compromised);
}

#[tokio::test]
async fn a_hold_that_the_ca_service_makes_final_is_final() {
    let fixture = registered().await;
    let serial = added(&fixture, json!({})).await;
    revoked(&fixture, 0, "CertificateHold").await;
    let (status, reason) = (CertificateStatus::Revoked, RevocationReason::KeyCompromise);
    fixture.set_status(&serial, status, reason).await;
    fixture.heard().await;
    let compromised = ("KeyCompromise".to_owned(), "KeyCompromise");
    assert_eq!(reasons(&fixture, &serial).await, compromised);
}

#[tokio::test]
async fn what_is_bound_while_on_hold_can_become_final() {
    let fixture = registered().await;
    let serial = issued(&fixture).await;
    let (status, hold) = (
        CertificateStatus::Revoked,
        RevocationReason::CertificateHold,
    );
    fixture.set_status(&serial, status, hold).await;
    let request = BindIdentity {
        certificate: Box::new(fixture.certificate(&serial).await),
        ..first("dev-1", serial.as_str())
    };
    let bound = fixture.service.bind_identity(&caller(), request).await;
    bound.unwrap();
    let on_hold = ("CertificateHold".to_owned(), "CertificateHold");
    assert_eq!(reasons(&fixture, &serial).await, on_hold);
    revoked(&fixture, 0, "KeyCompromise").await;
    let compromised = ("KeyCompromise".to_owned(), "KeyCompromise");
    assert_eq!(reasons(&fixture, &serial).await, compromised);
}

#[tokio::test]
async fn versions_come_back_from_a_hold_as_they_were() {
    let fixture = registered().await;
    let retired = added(&fixture, json!({})).await;
    let superseded = added(&fixture, json!({"overlap": "1h"})).await;
    fixture.pass(Duration::hours(2)).await;
    let active = added(&fixture, json!({"overlap": "24h"})).await;
    let pending = added(&fixture, json!({"activate": false})).await;
    let before = ["RETIRED", "SUPERSEDED", "ACTIVE", "PENDING"];
    assert_eq!(states(&fixture, IDENTITY).await.0, before);
    for number in 0..4 {
        revoked(&fixture, number, "CertificateHold").await;
    }
    assert_eq!(states(&fixture, IDENTITY).await.0, ["REVOKED"; 4]);
    for serial in [&retired, &superseded, &active, &pending] {
        released(&fixture, serial).await;
    }
    assert_eq!(states(&fixture, IDENTITY).await.0, before);
    // The overlap goes on, too.
    fixture.pass(Duration::hours(24)).await;
    let after = ["RETIRED", "RETIRED", "ACTIVE", "PENDING"];
    assert_eq!(states(&fixture, IDENTITY).await.0, after);
}

#[tokio::test]
async fn what_was_replaced_while_on_hold_comes_back_as_superseded() {
    let fixture = registered().await;
    let first = added(&fixture, json!({})).await;
    revoked(&fixture, 0, "CertificateHold").await;
    added(&fixture, json!({})).await;
    released(&fixture, &first).await;
    let expected = (vec!["SUPERSEDED".into(), "ACTIVE".into()], json!(1));
    assert_eq!(states(&fixture, IDENTITY).await, expected);
}

#[tokio::test]
async fn a_decommissioned_device_has_nothing_on_hold() {
    let fixture = registered().await;
    let serial = added(&fixture, json!({})).await;
    revoked(&fixture, 0, "CertificateHold").await;
    for reason in ["CertificateHold", "RemoveFromCRL"] {
        let uri = format!("/v2/devices/dev-1?reason={reason}");
        let refused = fixture.refused(Method::DELETE, &uri, Value::Null).await;
        assert_eq!(refused, (400, "validation_failed".to_owned()));
    }
    fixture
        .ok(Method::DELETE, "/v2/devices/dev-1", Value::Null)
        .await;
    fixture.follow().await;
    let ceased = ("CessationOfOperation".to_owned(), "CessationOfOperation");
    assert_eq!(reasons(&fixture, &serial).await, ceased);
}
