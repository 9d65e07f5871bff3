//! What certificates say of the device that uses them follows the slot, whatever the CA service was away for.

use http::Method;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ca::certificate::{ATTACHED_TO, EXPIRATION_DELTAS};
use lamassu_core::device::{BindIdentity, SlotState};
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use lamassu_db::sql;
use serde_json::{Value, json};
use time::Duration;

use crate::slots::{IDENTITY, add, issued, registered, states};
use crate::support::{Fixture, caller, first};

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

async fn deleted(fixture: &Fixture, number: u32) {
    let uri = format!("{IDENTITY}/versions/{number}");
    fixture.ok(Method::DELETE, &uri, Value::Null).await;
}

/// Binds the certificate as an operator does, in place of another one.
async fn bound_by_hand(fixture: &Fixture, serial: &SerialNumber, held: (u32, &SerialNumber)) {
    let (version, held) = held;
    let request = BindIdentity {
        certificate: Box::new(fixture.certificate(serial).await),
        expected: SlotState::Holding {
            version,
            serial_number: held.clone(),
        },
        announce: None,
        ..first("dev-1", serial.as_str())
    };
    let bound = fixture.service.bind_identity(&caller(), request).await;
    bound.unwrap();
}

/// Lets certificates follow while the CA service is away.
async fn missed(fixture: &Fixture) {
    let rename = |from: &str, to: &str| sql(format!("ALTER TABLE {from} RENAME TO {to}"), vec![]);
    fixture.execute(rename("certificate", "away")).await;
    fixture.follow().await;
    fixture.execute(rename("away", "certificate")).await;
}

/// Lets everything be made up for that was missed.
async fn made_up(fixture: &Fixture) {
    fixture.follow().await;
    fixture.clock.advance(Duration::minutes(1));
    fixture.follow().await;
}

async fn revoke(fixture: &Fixture, serial: &SerialNumber) {
    let (status, reason) = (CertificateStatus::Revoked, RevocationReason::KeyCompromise);
    fixture.set_status(serial, status, reason).await;
    fixture.heard().await;
}

/// Which of the two members that say whose it is, and when it must be renewed, a certificate has.
async fn says(fixture: &Fixture, serial: &SerialNumber) -> (bool, bool) {
    let metadata = fixture.certificate(serial).await.metadata;
    let metadata = metadata.unwrap_or_default();
    let has = |member| metadata.contains_key(member);
    (has(ATTACHED_TO), has(EXPIRATION_DELTAS))
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

#[tokio::test]
async fn the_attachment_and_the_windows_leave_the_certificate_that_is_given_up() {
    let fixture = registered().await;
    let first = added(&fixture, json!({})).await;
    let second = added(&fixture, json!({})).await;
    activated(&fixture, 0).await;
    fixture.follow().await;
    assert_eq!(says(&fixture, &first).await, (true, true));
    assert_eq!(says(&fixture, &second).await, (false, false));
}

#[tokio::test]
async fn what_exceeds_the_number_of_versions_loses_its_attachment() {
    let fixture = registered().await;
    let policy = json!({"max_versions": 1, "overlap": "0s", "revoke_superseded": false});
    let policy = json!({"secret_type": "x509", "policy": policy});
    fixture.ok(Method::PUT, IDENTITY, policy).await;
    let first = added(&fixture, json!({})).await;
    fixture.follow().await;
    let second = added(&fixture, json!({})).await;
    fixture.follow().await;
    assert_eq!(states(&fixture, IDENTITY).await.0, ["ACTIVE"]);
    assert_eq!(says(&fixture, &first).await, (false, false));
    assert_eq!(says(&fixture, &second).await, (true, true));
    let status = fixture.certificate(&first).await.status;
    assert_eq!(status, CertificateStatus::Active);
}

#[tokio::test]
async fn the_last_word_on_a_certificate_counts_whenever_it_is_heard() {
    let fixture = registered().await;
    let first = added(&fixture, json!({})).await;
    let second = added(&fixture, json!({})).await;
    fixture.follow().await;
    activated(&fixture, 0).await;
    missed(&fixture).await;
    activated(&fixture, 1).await;
    made_up(&fixture).await;
    assert!(!says(&fixture, &first).await.0);
    assert!(says(&fixture, &second).await.0);
}

#[tokio::test]
async fn the_last_windows_of_a_certificate_count_whenever_they_are_heard() {
    let fixture = registered().await;
    let serial = added(&fixture, json!({})).await;
    let windows = async |preventive: &str| {
        let policy = json!({"preventive_delta": preventive});
        let body = json!({"secret_type": "x509", "policy": policy});
        fixture.ok(Method::PUT, IDENTITY, body).await;
    };
    fixture.follow().await;
    windows("60d").await;
    missed(&fixture).await;
    windows("10d").await;
    made_up(&fixture).await;
    let metadata = fixture.certificate(&serial).await.metadata.unwrap();
    assert_eq!(metadata[EXPIRATION_DELTAS][0]["delta"], "1w3d");
}

#[tokio::test]
async fn a_certificate_that_is_bound_again_stays_attached() {
    let fixture = registered().await;
    let first = added(&fixture, json!({})).await;
    let second = added(&fixture, json!({"overlap": "0s"})).await;
    fixture.follow().await;
    deleted(&fixture, 0).await;
    missed(&fixture).await;
    bound_by_hand(&fixture, &first, (1, &second)).await;
    made_up(&fixture).await;
    assert_eq!(says(&fixture, &first).await, (true, true));
}

#[tokio::test]
async fn deleting_a_former_version_leaves_the_certificate_in_use_attached() {
    let fixture = registered().await;
    let first = added(&fixture, json!({})).await;
    let second = added(&fixture, json!({})).await;
    bound_by_hand(&fixture, &first, (1, &second)).await;
    fixture.follow().await;
    let expected = ["RETIRED", "SUPERSEDED", "ACTIVE"];
    assert_eq!(states(&fixture, IDENTITY).await.0, expected);
    deleted(&fixture, 0).await;
    fixture.follow().await;
    assert_eq!(says(&fixture, &first).await, (true, true));
    revoke(&fixture, &first).await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
}
