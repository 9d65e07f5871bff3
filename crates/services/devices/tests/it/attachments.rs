//! What certificates say of the device that uses them follows the slot, whatever the CA service was away for.

use http::Method;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use serde_json::{Value, json};

use crate::slots::{IDENTITY, add, issued, registered, states};
use crate::support::Fixture;

/// Adds a certificate of its own to the identity; the members are those of the version.
async fn added(fixture: &Fixture, mut version: Value) -> SerialNumber {
    let serial = issued(fixture).await;
    version["secret"] = json!({ "serial_number": serial });
    add(fixture, IDENTITY, version).await;
    serial
}

async fn activated(fixture: &Fixture, number: u32) {
    let uri = format!("{IDENTITY}/versions/{number}/activate");
    fixture.ok(Method::POST, &uri, Value::Null).await;
}

async fn revoke(fixture: &Fixture, serial: &SerialNumber) {
    let (status, reason) = (CertificateStatus::Revoked, RevocationReason::KeyCompromise);
    fixture.set_status(serial, status, reason).await;
    fixture.heard().await;
}

#[tokio::test]
async fn a_revocation_before_the_attachment_reaches_the_slot() {
    let fixture = registered().await;
    let serial = added(&fixture, json!({})).await;
    revoke(&fixture, &serial).await;
    fixture.follow().await;
    fixture.heard().await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
    let uri = format!("{IDENTITY}/versions/0");
    let version = fixture.ok(Method::GET, &uri, Value::Null).await;
    assert_eq!(
        (&version["state"], &version["revocation_reason"]),
        (&json!("REVOKED"), &json!("KeyCompromise"))
    );
}

#[tokio::test]
async fn a_revocation_before_the_attachment_comes_back_reaches_the_slot() {
    let fixture = registered().await;
    added(&fixture, json!({})).await;
    let second = added(&fixture, json!({})).await;
    activated(&fixture, 0).await;
    fixture.follow().await;
    fixture.heard().await;
    activated(&fixture, 1).await;
    revoke(&fixture, &second).await;
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    fixture.follow().await;
    fixture.heard().await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
    let expected = (vec!["SUPERSEDED".into(), "REVOKED".into()], json!(1));
    assert_eq!(states(&fixture, IDENTITY).await, expected);
}
