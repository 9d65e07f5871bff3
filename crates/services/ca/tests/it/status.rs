use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, World, csr, p256};

async fn set(world: &World, certificate: &Value, body: Value) -> Answer {
    let serial = certificate["serial_number"].as_str().unwrap();
    world
        .put(&format!("/v1/certificates/{serial}/status"), body)
        .await
}

#[tokio::test]
async fn a_revocation_has_a_time_and_a_reason_and_is_final() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    world.clock.advance(time::Duration::hours(1));
    let body = json!({ "status": "REVOKED", "revocation_reason": "keycompromise" });
    let revoked = set(&world, &issued, body.clone())
        .await
        .with(StatusCode::OK);
    assert_eq!(revoked["status"], "REVOKED");
    assert_eq!(revoked["revocation_reason"], "KeyCompromise");
    assert_eq!(
        revoked["revocation_timestamp"],
        "2026-03-02T10:15:27.481233Z"
    );
    let event = world.last_event("certificate.status.update").await;
    let serial = issued["serial_number"].as_str().unwrap();
    assert_eq!(event["subject"], format!("certificate/{serial}"));
    assert_eq!(
        event["data"],
        json!({ "previous": issued, "updated": revoked })
    );
    assert_eq!(
        world.get(&format!("/v1/certificates/{serial}")).await.body,
        revoked
    );
    let record = (
        "certificate.status.update".to_owned(),
        format!("certificate/{serial}"),
    );
    assert!(world.audit().await.contains(&record));
    let refused = (400, "new status transition not allowed for certificate");
    assert_eq!(set(&world, &issued, body).await.refusal(), refused);
    assert_eq!(
        set(&world, &issued, json!({ "status": "ACTIVE" }))
            .await
            .refusal(),
        refused
    );
}

#[tokio::test]
async fn a_hold_can_be_released() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let hold = json!({ "status": "REVOKED", "revocation_reason": "CertificateHold" });
    set(&world, &issued, hold).await.with(StatusCode::OK);
    let released = set(&world, &issued, json!({ "status": "ACTIVE" }))
        .await
        .with(StatusCode::OK);
    assert_eq!(released["status"], "ACTIVE");
    assert_eq!(released["revocation_timestamp"], "0001-01-01T00:00:00Z");
    assert_eq!(released["revocation_reason"], "CertificateHold");
}

#[tokio::test]
async fn the_same_status_again_is_told_again() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    for _ in 0..2 {
        set(&world, &issued, json!({ "status": "ACTIVE" }))
            .await
            .with(StatusCode::OK);
    }
    let told = world.events().await;
    let updates = told
        .iter()
        .filter(|(kind, _)| kind == "certificate.status.update")
        .count();
    assert_eq!(updates, 2);
}

#[tokio::test]
async fn an_expired_certificate_can_only_be_revoked() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let refused = (400, "new status transition not allowed for certificate");
    for certificate in [&root["certificate"], &issued] {
        set(&world, certificate, json!({ "status": "EXPIRED" }))
            .await
            .with(StatusCode::OK);
        let again = set(&world, certificate, json!({ "status": "EXPIRED" })).await;
        assert_eq!(again.refusal(), refused);
    }
    set(&world, &issued, json!({ "status": "REVOKED" }))
        .await
        .with(StatusCode::OK);
    let ca = set(&world, &root["certificate"], json!({ "status": "REVOKED" })).await;
    assert_eq!(ca.refusal(), refused);
}

#[tokio::test]
async fn the_status_of_a_cas_own_certificate_is_the_cas() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let body = json!({ "status": "REVOKED", "revocation_reason": "CACompromise" });
    set(&world, &root["certificate"], body)
        .await
        .with(StatusCode::OK);
    let ca = world.get("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!(ca["certificate"]["status"], "REVOKED");
    assert_eq!(ca["certificate"]["revocation_reason"], "CACompromise");
    let request = json!({ "csr": csr(&p256(), "device-2").to_wire() });
    let refused = world.sign("root-a", request).await;
    assert_eq!(refused.refusal(), (400, "CA Status inconsistent"));
    let serial = issued["serial_number"].as_str().unwrap();
    let below = world
        .get(&format!("/v1/certificates/{serial}"))
        .await
        .with(StatusCode::OK);
    assert_eq!(below["status"], "REVOKED");
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let unknown = json!({ "serial_number": "abcd" });
    let invalid = "struct validation error";
    let reason = "unsupported revocation code";
    let cases = [
        (&issued, json!({}), 400, invalid),
        (&issued, json!({ "status": "GONE" }), 400, invalid),
        (&unknown, json!({ "status": "" }), 400, invalid),
        (
            &unknown,
            json!({ "status": "REVOKED" }),
            404,
            "certificate not found",
        ),
        (
            &issued,
            json!({ "status": "REVOKED", "revocation_reason": "" }),
            400,
            reason,
        ),
        (
            &issued,
            json!({ "status": "REVOKED", "revocation_reason": null }),
            400,
            reason,
        ),
        (
            &issued,
            json!({ "status": "REVOKED", "revocation_reason": "Bored" }),
            400,
            reason,
        ),
    ];
    for (certificate, body, status, text) in cases {
        assert_eq!(
            set(&world, certificate, body).await.refusal(),
            (status, text)
        );
    }
}
