//! Metrics appear under their names and count what they say.

use http::StatusCode;
use lamassu_http::testing::SeenMetrics;
use serde_json::{Value, json};
use time::Duration;

use crate::enrollment::supersede;
use crate::support::{ForeignPlan, World, caller};

#[tokio::test]
async fn every_metric_is_described_and_counts() {
    let seen = SeenMetrics::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    lamassu_ca::describe_metrics();
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = issued["serial_number"].as_str().unwrap();
    let revoked = json!({ "status": "REVOKED" });
    let path = format!("/v1/certificates/{serial}/status");
    world.put(&path, revoked).await.with(StatusCode::OK);
    world.issue("root-a", "device-2").await;
    let body = json!({ "id": "root-b", "ca": ForeignPlan::root("B").make().wire() });
    world
        .post("/v1/cas/import", body)
        .await
        .with(StatusCode::CREATED);
    let body = json!({ "certificate": ForeignPlan::root("C").make().wire() });
    let answer = world.post("/v1/certificates/import", body).await;
    answer.with(StatusCode::CREATED);
    let body = json!({
        "message": "", "message_type": "raw", "signature_algorithm": "ECDSA_SHA_256",
    });
    let answer = world.post("/v1/cas/root-a/signature/sign", body).await;
    answer.with(StatusCode::OK);
    let answer = world.post("/v1/cas/root-a/reissue", Value::Null).await;
    answer.with(StatusCode::OK);
    world.clock.advance(Duration::hours(13));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();

    let expected = [
        ("lamassu_ca_authorities_created_total ", 1),
        ("lamassu_ca_authorities_imported_total ", 1),
        ("lamassu_ca_authorities_reissued_total ", 1),
        ("lamassu_ca_certificates_expired_total ", 1),
        ("lamassu_ca_certificates_imported_total ", 1),
        ("lamassu_ca_certificates_issued_total ", 2),
        ("lamassu_ca_certificates_revoked_total ", 1),
        ("lamassu_ca_issue_duration_seconds ", 0),
        ("lamassu_ca_raw_signatures_total ", 1),
    ];
    let expected = expected.map(|(line, count)| (line.to_owned(), count));
    let mut counts = seen.counts();
    counts.retain(|line, _| line.starts_with("lamassu_ca_"));
    assert_eq!(counts, expected.into());
    let help = seen.help();
    let described: Vec<_> = help.keys().map(|name| format!("{name} ")).collect();
    assert_eq!(described, counts.into_keys().collect::<Vec<_>>());
    assert!(help.values().all(|text| !text.is_empty()), "{help:?}");
}

#[tokio::test]
async fn a_revocation_counts_whatever_its_cause() {
    let seen = SeenMetrics::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let revoked = || seen.counts()["lamassu_ca_certificates_revoked_total "];
    let world = World::new().await;
    world.root("root-a").await;
    let service = &world.reached;

    let asked_for = world.issue("root-a", "device-1").await;
    let serial = asked_for["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    let status = json!({ "status": "REVOKED" });
    world.put(&path, status).await.with(StatusCode::OK);
    assert_eq!(revoked(), 1);

    let old = world.enroll(None).await;
    let new = world.enroll(Some(supersede(&old))).await;
    for _ in 0..2 {
        service
            .complete_enrollment(&caller(), &new.serial_number)
            .await
            .unwrap();
        assert_eq!(revoked(), 2, "the superseded one, once");
    }

    let undelivered = world.enroll(None).await;
    for _ in 0..2 {
        service
            .abandon_enrollment(&caller(), &undelivered.serial_number)
            .await
            .unwrap();
        assert_eq!(revoked(), 3, "the undelivered one, once");
    }
}
