//! The status of a CA and what goes down from it, its default profile.

use http::StatusCode;
use lamassu_db::{WriteSet, params, sql};
use serde_json::{Value, json};

use crate::support::{Answer, ForeignPlan, World, caller, csr, device_profile, p256};

async fn set(world: &World, id: &str, body: Value) -> Answer {
    world.post(&format!("/v1/cas/{id}/status"), body).await
}

fn revoked(reason: &str) -> Value {
    json!({ "status": "REVOKED", "revocation_reason": reason })
}

fn state(certificate: &Value) -> (&str, &str) {
    (
        certificate["status"].as_str().unwrap(),
        certificate["revocation_reason"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn a_revocation_goes_down_to_everything_below() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let sub = world.sub(&root, "sub-a").await;
    let of_root = world.issue("root-a", "device-1").await;
    let of_sub = world.issue("sub-a", "device-2").await;
    let answer = set(&world, "root-a", revoked("KeyCompromise"))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(state(&answer["certificate"]), ("REVOKED", "KeyCompromise"));
    assert_eq!(world.ca("root-a").await, answer);
    let cessation = ("REVOKED", "CessationOfOperation");
    assert_eq!(state(&world.ca("sub-a").await["certificate"]), cessation);
    for certificate in [&of_root, &of_sub, &sub["certificate"]] {
        assert_eq!(state(&world.now(certificate).await), cessation);
    }
    let told = world.events().await;
    let of = |kind: &str| -> Vec<&str> {
        let told = told.iter().filter(|(known, _)| known == kind);
        told.map(|(_, subject)| subject.as_str()).collect()
    };
    assert_eq!(of("ca.status.update"), ["ca/root-a", "ca/sub-a"]);
    assert_eq!(of("certificate.status.update").len(), 2);
    let event = world.last_event("ca.status.update").await;
    assert_eq!(event["data"]["previous"], sub);
    let record = ("ca.status.update".to_owned(), "ca/root-a".to_owned());
    assert!(world.audit().await.contains(&record));
    // It is final, and nothing is issued any more.
    assert_eq!(
        set(&world, "root-a", json!({ "status": "ACTIVE" }))
            .await
            .refusal(),
        (400, "new status transition not allowed for certificate")
    );
    for ca in ["root-a", "sub-a"] {
        let request = json!({ "csr": csr(&p256(), "device-3").to_wire() });
        assert_eq!(
            world.sign(ca, request).await.refusal(),
            (400, "CA Status inconsistent")
        );
    }
}

#[tokio::test]
async fn a_hold_goes_down_as_a_hold_and_its_release_takes_back_only_that() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    let good = world.issue("sub-a", "device-1").await;
    let held = world.issue("sub-a", "device-2").await;
    let gone = world.issue("sub-a", "device-3").await;
    for (certificate, reason) in [(&held, "CertificateHold"), (&gone, "KeyCompromise")] {
        let serial = certificate["serial_number"].as_str().unwrap();
        let path = format!("/v1/certificates/{serial}/status");
        world.put(&path, revoked(reason)).await.with(StatusCode::OK);
    }
    let hold = ("REVOKED", "CertificateHold");
    set(&world, "root-a", revoked("CertificateHold"))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(state(&world.ca("root-a").await["certificate"]), hold);
    assert_eq!(state(&world.ca("sub-a").await["certificate"]), hold);
    assert_eq!(state(&world.now(&good).await), hold);
    set(&world, "root-a", json!({ "status": "ACTIVE" }))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(world.ca("sub-a").await["certificate"]["status"], "ACTIVE");
    assert_eq!(world.now(&good).await["status"], "ACTIVE");
    assert_eq!(state(&world.now(&held).await), hold);
    assert_eq!(state(&world.now(&gone).await), ("REVOKED", "KeyCompromise"));
    world.issue("sub-a", "device-4").await;
}

#[tokio::test]
async fn by_its_certificate_a_ca_is_revoked_with_everything_below() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let sub = world.sub(&root, "sub-a").await;
    let issued = world.issue("sub-a", "device-1").await;
    let serial = sub["certificate"]["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    let put = async |body| world.put(&path, body).await.with(StatusCode::OK);
    put(revoked("CertificateHold")).await;
    let hold = ("REVOKED", "CertificateHold");
    assert_eq!(state(&world.now(&issued).await), hold);
    put(json!({ "status": "ACTIVE" })).await;
    assert_eq!(world.now(&issued).await["status"], "ACTIVE");
    put(revoked("KeyCompromise")).await;
    let cessation = ("REVOKED", "CessationOfOperation");
    assert_eq!(state(&world.now(&issued).await), cessation);
    let ca = world.ca("sub-a").await;
    assert_eq!(state(&ca["certificate"]), ("REVOKED", "KeyCompromise"));
    assert_eq!(world.ca("root-a").await["certificate"]["status"], "ACTIVE");
    // Told of the CA, as by its own endpoint, and of the certificate, whose endpoint it is.
    let event = world.last_event("ca.status.update").await;
    assert_eq!(event["subject"], "ca/sub-a");
    assert_eq!(event["data"]["updated"], ca);
    let told = world.events().await;
    let subject = format!("certificate/{serial}");
    let own = told.iter().filter(|(_, told)| *told == subject);
    let own: Vec<&str> = own.map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(own, ["certificate.status.update"; 3]);
}

#[tokio::test]
async fn what_is_below_two_holds_comes_back_with_the_last_one() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    let issued = world.issue("sub-a", "device-1").await;
    set(&world, "root-a", revoked("CertificateHold"))
        .await
        .with(StatusCode::CREATED);
    // Somebody takes the hold of the subordinate over.
    set(&world, "sub-a", revoked("CertificateHold"))
        .await
        .with(StatusCode::CREATED);
    set(&world, "root-a", json!({ "status": "ACTIVE" }))
        .await
        .with(StatusCode::CREATED);
    let hold = ("REVOKED", "CertificateHold");
    assert_eq!(state(&world.ca("sub-a").await["certificate"]), hold);
    assert_eq!(state(&world.now(&issued).await), hold);
    set(&world, "sub-a", json!({ "status": "ACTIVE" }))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(world.now(&issued).await["status"], "ACTIVE");
}

#[tokio::test]
async fn an_expired_status_does_not_go_down() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    set(&world, "root-a", json!({ "status": "EXPIRED" }))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(world.now(&issued).await["status"], "ACTIVE");
    assert_eq!(
        set(&world, "root-a", json!({ "status": "EXPIRED" }))
            .await
            .refusal(),
        (400, "new status transition not allowed for certificate")
    );
}

#[tokio::test]
async fn more_than_a_thousand_certificates_are_finished_by_the_job() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    world.multiply(&issued, 1_500).await;
    set(&world, "root-a", revoked("CACompromise"))
        .await
        .with(StatusCode::CREATED);
    let active = || async {
        let page = world.get("/v1/stats/root-a").await.with(StatusCode::OK);
        page["ACTIVE"].as_i64().unwrap()
    };
    let left = active().await;
    assert!((1..=501).contains(&left), "{left} are left");
    let progress = async || {
        let jobs = world.get("/v1/jobs").await.with(StatusCode::OK);
        let [job] = jobs["list"].as_array().unwrap().as_slice() else {
            panic!("{jobs}");
        };
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        assert_eq!(world.get(&path).await.with(StatusCode::OK), *job);
        job.clone()
    };
    let running = progress().await;
    assert_eq!(running["kind"], "CASCADE_REVOKE");
    assert_eq!(running["status"], "RUNNING");
    assert_eq!(running["total"], 1_501);
    assert_eq!(running["done"], 1_501 - left);
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(active().await, 0);
    let done = progress().await;
    assert_eq!(
        (&done["status"], &done["done"]),
        (&json!("DONE"), &json!(1_501))
    );
    assert_eq!(world.open_cascades().await, 0);
    let stats = world.get("/v1/stats/root-a").await.with(StatusCode::OK);
    assert_eq!(stats["REVOKED"], 1_502);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_keeps_no_other_from_its_revocation() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let broken_ca = world.sub(&root, "sub-a").await;
    let broken = world.issue("root-a", "device-1").await;
    let good = world.issue("root-a", "device-2").await;
    for certificate in [&broken, &broken_ca["certificate"]] {
        world.spoil(certificate).await;
    }
    set(&world, "root-a", revoked("KeyCompromise"))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(world.now(&good).await["status"], "REVOKED");
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap_err();
    assert_eq!(world.open_cascades().await, 1);
    // Nothing is forgotten.
    for certificate in [&broken, &broken_ca["certificate"]] {
        world.mend(certificate).await;
    }
    job.run(&caller(), world.db.now()).await.unwrap();
    for certificate in [&broken, &broken_ca["certificate"]] {
        assert_eq!(world.now(certificate).await["status"], "REVOKED");
    }
    assert_eq!(world.open_cascades().await, 0);
}

/// A version that is newer than this one has stored it, for example.
#[tokio::test]
async fn a_cascade_that_cannot_be_read_holds_up_no_other() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    world.multiply(&issued, 1_500).await;
    world
        .execute(sql(
            "INSERT INTO ca_cascade (id, created_at, kind, ca_id, certificate_id, \
             subject_key_id, position, done, status, total, failed, error) \
             VALUES ('later', 1, 'LATER', 'root-a', 'c', 'k', '', 0, 'RUNNING', 0, 0, '')",
            params![],
        ))
        .await;
    set(&world, "root-a", revoked("CACompromise"))
        .await
        .with(StatusCode::CREATED);
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap_err();
    assert_eq!(world.open_cascades().await, 1);
    let stats = world.get("/v1/stats/root-a").await.with(StatusCode::OK);
    assert_eq!(stats["ACTIVE"], 0);
}

#[tokio::test]
async fn another_default_profile_counts_at_once() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    let mut profile = device_profile();
    profile["validity"]["duration"] = json!("1h");
    let other = world.profile(profile).await;
    for _ in 0..2 {
        let updated = world
            .post("/v1/cas/root-a/profile", json!({ "profile_id": other }))
            .await
            .with(StatusCode::OK);
        assert_eq!(updated["profile_id"], json!(other));
    }
    let event = world.last_event("ca.profile.update").await;
    assert_eq!(event["subject"], "ca/root-a");
    assert_eq!(event["data"]["updated"]["profile_id"], json!(other));
    assert_ne!(root["profile_id"], json!(other));
    let issued = world.issue("root-a", "device-2").await;
    assert_eq!(issued["valid_to"], "2026-03-02T10:15:27Z");
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire() {
    let world = World::new().await;
    world.root("root-a").await;
    let invalid = (400, "struct validation error");
    let unknown = (404, "CA not found");
    let no_profile = (404, "issuance profile not found");
    let active = json!({ "status": "ACTIVE" });
    let cases = [
        ("nobody/status", json!({}), invalid),
        ("root-a/status", json!({ "status": "GONE" }), invalid),
        ("nobody/status", active, unknown),
        ("nobody/profile", json!({ "profile_id": null }), invalid),
        ("nobody/profile", json!({ "profile_id": "x" }), unknown),
        ("root-a/profile", json!({ "profile_id": "x" }), no_profile),
    ];
    for (path, body, refusal) in cases {
        let answer = world.post(&format!("/v1/cas/{path}"), body).await;
        assert_eq!(answer.refusal(), refusal, "{path}");
    }
}

/// Ids were not always checked.
#[tokio::test]
async fn a_ca_that_is_called_like_unknown_issuers_takes_nothing_of_theirs_along() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    let below = ForeignPlan::below("Foreign Sub", &foreign).make();
    let body = json!({ "id": "foreign-sub", "ca": below.wire() });
    let sub = world.post("/v1/cas/import", body).await;
    let sub = sub.with(StatusCode::CREATED);
    let body = json!({ "certificate": foreign.wire() });
    let orphan = world.post("/v1/certificates/import", body).await;
    let orphan = orphan.with(StatusCode::CREATED);
    assert_eq!(orphan["issuer_metadata"]["id"], "-");
    let mut renamed = WriteSet::new();
    for statement in [
        "UPDATE certificate_authority SET id = '-' WHERE id = 'root-a'",
        "UPDATE certificate SET issuer_ca_id = '-' WHERE issuer_ca_id = 'root-a'",
    ] {
        renamed.execute(sql(statement, params![]));
    }
    world.db.commit(renamed).await.unwrap();
    let answer = set(&world, "-", revoked("KeyCompromise")).await;
    answer.with(StatusCode::CREATED);
    world.delete("/v1/cas/-").await.with(StatusCode::OK);
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.ca("sub-a").await["certificate"]["status"], "REVOKED");
    assert_eq!(world.now(&issued).await["status"], "REVOKED");
    for certificate in [&orphan, &sub["certificate"]] {
        assert_eq!(world.now(certificate).await["status"], "ACTIVE");
    }
}
