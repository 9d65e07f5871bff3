//! New certificates for the keys of CAs.

use std::collections::HashSet;

use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{ForeignPlan, World, caller, device_profile, x509};

async fn reissued(world: &World, id: &str) -> Value {
    let path = format!("/v1/cas/{id}/reissue");
    world.post(&path, Value::Null).await.with(StatusCode::OK)
}

#[tokio::test]
async fn a_reissued_root_keeps_key_name_and_lifetime() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let body = json!({ "patches": [{ "op": "add", "path": "/owner", "value": "team" }] });
    let root = {
        world
            .put("/v1/cas/root-a/metadata", body)
            .await
            .with(StatusCode::OK);
        let _ = root;
        world.ca("root-a").await
    };
    let issued = world.issue("root-a", "device-1").await;
    world.clock.advance(Duration::days(30));
    let updated = reissued(&world, "root-a").await;
    assert_ne!(updated["serial_number"], root["serial_number"]);
    for member in ["id", "level", "profile_id", "creation_ts"] {
        assert_eq!(updated[member], root[member], "{member}");
    }
    let (old, new) = (&root["certificate"], &updated["certificate"]);
    for member in [
        "subject",
        "issuer",
        "subject_key_id",
        "authority_key_id",
        "key_metadata",
        "type",
        "engine_id",
        "extensions",
    ] {
        assert_eq!(new[member], old[member], "{member}");
    }
    assert_eq!(new["valid_to"], "2036-03-19T09:15:27Z");
    assert_eq!(
        new["issuer_metadata"],
        json!({ "serial_number": updated["serial_number"], "id": "root-a", "level": 0 })
    );
    let (old_der, new_der) = (x509(old), x509(new));
    assert_eq!(old_der.subject(), new_der.subject());
    assert!(new_der.is_self_signed());
    let origin = json!({
        "lamassu.io/ca/reissued-from": root["serial_number"],
        "lamassu.io/ca/reissue-reason": "certificate-reissuance",
    });
    assert_eq!(new["metadata"], origin);
    assert_eq!(updated["metadata"]["owner"], "team");
    let member = "lamassu.io/ca/reissued-from";
    assert_eq!(updated["metadata"][member], root["serial_number"]);
    let former = world.now(old).await;
    assert_eq!(former["status"], "ACTIVE");
    assert_eq!(
        former["metadata"],
        json!({
            "lamassu.io/ca/reissued-as": updated["serial_number"],
            "lamassu.io/ca/reissued-at": "2026-04-01T09:15:27Z",
        })
    );
    // What the former one signed is signed by the new one's key, too.
    let key = new_der.public_key().unwrap();
    assert_eq!(x509(&issued).verify_signed_by(&key), Ok(()));
    let event = world.last_event("ca.reissue").await;
    assert_eq!(event["subject"], "ca/root-a");
    assert_eq!(
        event["data"],
        json!({ "previous": root, "updated": updated })
    );
    let next = world.issue("root-a", "device-2").await;
    assert_eq!(
        next["issuer_metadata"]["serial_number"],
        updated["serial_number"]
    );
}

#[tokio::test]
async fn a_reissued_subordinate_is_signed_by_its_issuing_ca() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let sub = world.sub(&root, "sub-a").await;
    let profile = json!({
        "sign_as_ca": true, "honor_subject": true, "key_usage": ["CertSign"],
        "validity": { "type": "Duration", "duration": "1d" },
    });
    let answer = world
        .post("/v1/cas/sub-a/reissue", json!({ "profile": profile }))
        .await;
    let updated = answer.with(StatusCode::OK);
    let certificate = &updated["certificate"];
    assert_eq!(certificate["valid_to"], "2026-03-03T09:15:27Z");
    assert_eq!(certificate["extensions"]["key_usage"], json!(["CertSign"]));
    assert_eq!(
        certificate["issuer_metadata"],
        sub["certificate"]["issuer_metadata"]
    );
    let key = x509(&root["certificate"]).public_key().unwrap();
    assert_eq!(x509(certificate).verify_signed_by(&key), Ok(()));
}

#[tokio::test]
async fn an_imported_root_keeps_its_key_identifier() {
    let world = World::new().await;
    let root = ForeignPlan::root("Foreign Root").make();
    let body = json!({ "id": "root-a", "ca": root.wire(), "private_key": root.key_wire() });
    let ca = world.post("/v1/cas/import", body).await;
    let ca = ca.with(StatusCode::CREATED);
    let updated = reissued(&world, "root-a").await;
    assert_eq!(
        updated["certificate"]["subject_key_id"],
        ca["certificate"]["subject_key_id"]
    );
    assert_eq!(updated["certificate"]["type"], "IMPORTED_WITH_KEY");
}

#[tokio::test]
async fn a_reissued_ca_stays_within_the_limits_of_its_profile() {
    let world = World::new().await;
    world.root("root-a").await;
    let profile = json!({
        "sign_as_ca": true, "honor_subject": true, "key_usage": ["CertSign"],
        "maximum_validity": "30d", "common_name_pattern": "root-[a-z]",
    });
    let stored = json!({ "profile_id": world.profile(profile.clone()).await });
    let path = "/v1/cas/root-a/reissue";
    // Without a validity of its own the new certificate would last as long as the present one.
    let too_long = "certificate would last longer than issuance profile allows";
    assert_eq!(world.post(path, stored).await.refusal(), (400, too_long));
    let mut other = profile.clone();
    other["validity"] = json!({ "type": "Duration", "duration": "30d" });
    other["common_name_pattern"] = json!("sub-[a-z]");
    let other = world.post(path, json!({ "profile": other })).await;
    let text = "common name \"root-a\" does not match \"sub-[a-z]\", as issuance profile requires";
    assert_eq!(other.refusal(), (400, text));
    assert_eq!(world.count("certificate").await, 1);
    let mut within = profile;
    within["validity"] = json!({ "type": "Duration", "duration": "30d" });
    let within = json!({ "profile_id": world.profile(within).await });
    let updated = world.post(path, within).await.with(StatusCode::OK);
    assert_eq!(updated["certificate"]["valid_to"], "2026-04-01T09:15:27Z");
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    let profile = world.profile(device_profile()).await;
    let invalid = (400, "struct validation error");
    let cases = [
        ("nobody", Value::Null, (404, "CA not found")),
        ("root-a", json!({ "profile_id": profile }), invalid),
        ("root-a", json!({ "profile": {} }), invalid),
        (
            "root-a",
            json!({ "profile_id": "x" }),
            (404, "issuance profile not found"),
        ),
    ];
    for (id, body, refusal) in cases {
        let answer = world.post(&format!("/v1/cas/{id}/reissue"), body).await;
        assert_eq!(answer.refusal(), refusal, "{id}");
    }
    let hold = json!({ "status": "REVOKED", "revocation_reason": "CertificateHold" });
    world
        .post("/v1/cas/sub-a/status", hold)
        .await
        .with(StatusCode::CREATED);
    let path = "/v1/cas/sub-a/reissue";
    assert_eq!(
        world.post(path, Value::Null).await.refusal(),
        (400, "CA already revoked")
    );
    world.clock.advance(Duration::days(4000));
    assert_eq!(
        world
            .post("/v1/cas/root-a/reissue", Value::Null)
            .await
            .refusal(),
        (400, "CA is expired")
    );
    assert_eq!(world.count("certificate").await, 2);
}

/// Status and reason of a certificate now.
async fn state(world: &World, certificate: &Value) -> (String, String) {
    let now = world.now(certificate).await;
    let text = |member: &str| now[member].as_str().unwrap().to_owned();
    (text("status"), text("revocation_reason"))
}

fn revoked(reason: &str) -> (String, String) {
    ("REVOKED".to_owned(), reason.to_owned())
}

/// Whoever has a former certificate believes the CA by it: the issuing CA says of both that they are revoked.
#[tokio::test]
async fn the_end_of_a_ca_is_that_of_its_former_certificates() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let mut certificates = Vec::new();
    for id in ["sub-a", "sub-b"] {
        let sub = world.sub(&root, id).await;
        certificates.push(sub["certificate"].clone());
    }
    for id in ["sub-a", "sub-b", "root-a", "sub-a"] {
        certificates.push(reissued(&world, id).await["certificate"].clone());
    }
    let [first, of_b, second, second_of_b, second_root, third] = certificates.as_slice() else {
        panic!("{certificates:?}")
    };
    let put = async |id: &str, status: &str, reason: &str| {
        let body = json!({ "status": status, "revocation_reason": reason });
        let answer = world.post(&format!("/v1/cas/{id}/status"), body).await;
        answer.with(StatusCode::CREATED);
    };
    // A hold is the present one's.
    put("sub-a", "REVOKED", "CertificateHold").await;
    assert_eq!(state(&world, third).await, revoked("CertificateHold"));
    assert_eq!(world.now(first).await["status"], "ACTIVE");
    put("sub-a", "REVOKED", "KeyCompromise").await;
    for certificate in [first, second, third] {
        assert_eq!(state(&world, certificate).await, revoked("KeyCompromise"));
    }
    let event = world.last_event("certificate.status.update").await;
    let told = &event["data"]["updated"];
    assert_eq!(told["status"], "REVOKED");
    assert_eq!(told["issuer_metadata"]["id"], "root-a");
    let path = "/internal/v1/cas/root-a/revoked?limit=10";
    let listed = world.get(path).await.with(StatusCode::OK);
    let listed = listed.as_array().unwrap().iter();
    let listed: HashSet<&str> = listed
        .filter_map(|entry| entry["serial_number"].as_str())
        .collect();
    let expected = [first, second, third].map(|gone| gone["serial_number"].as_str().unwrap());
    assert_eq!(listed, HashSet::from(expected));
    // What is deleted has ended, too.
    put("sub-b", "EXPIRED", "Unspecified").await;
    assert_eq!(world.now(of_b).await["status"], "ACTIVE");
    world.delete("/v1/cas/sub-b").await.with(StatusCode::OK);
    let cessation = revoked("CessationOfOperation");
    assert_eq!(state(&world, of_b).await, cessation);
    assert_eq!(world.now(second_of_b).await["status"], "EXPIRED");
    // And a root goes on.
    for certificate in [&root["certificate"], second_root] {
        assert_eq!(world.now(certificate).await["status"], "ACTIVE");
    }
}

#[tokio::test]
async fn a_former_certificate_that_cannot_be_read_keeps_no_other_from_its_revocation() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    for (id, asked, reason) in [
        ("sub-a", "KeyCompromise", "KeyCompromise"),
        ("sub-b", "CertificateHold", "CessationOfOperation"),
    ] {
        let first = world.sub(&root, id).await["certificate"].clone();
        let broken = reissued(&world, id).await["certificate"].clone();
        let last = reissued(&world, id).await["certificate"].clone();
        world.spoil(&broken).await;
        let body = json!({ "status": "REVOKED", "revocation_reason": asked });
        let answer = world.post(&format!("/v1/cas/{id}/status"), body).await;
        answer.with(StatusCode::CREATED);
        if asked == "CertificateHold" {
            let path = format!("/v1/cas/{id}");
            world.delete(&path).await.with(StatusCode::OK);
        }
        for certificate in [&first, &last] {
            assert_eq!(state(&world, certificate).await, revoked(reason), "{id}");
        }
        // It is not forgotten.
        let job = world.service.cascades_job();
        job.run(&caller(), world.db.now()).await.unwrap_err();
        world.mend(&broken).await;
        job.run(&caller(), world.db.now()).await.unwrap();
        assert_eq!(state(&world, &broken).await, revoked(reason), "{id}");
    }
}

/// The certificate is a CA's as long as one has it.
#[tokio::test]
async fn windows_of_a_shared_certificate_outlive_the_reissue_of_one_ca() {
    let world = World::new().await;
    let root = ForeignPlan::root("Foreign Root").make();
    for id in ["root-a", "root-b"] {
        let body = json!({ "id": id, "ca": root.wire(), "private_key": root.key_wire() });
        let answer = world.post("/v1/cas/import", body).await;
        answer.with(StatusCode::CREATED);
    }
    reissued(&world, "root-a").await;
    world.clock.advance(Duration::days(340));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let told = world.events().await;
    let told: Vec<&str> = told
        .iter()
        .filter(|(kind, _)| kind == "ca.expiring")
        .map(|(_, subject)| subject.as_str())
        .collect();
    assert!(told.contains(&"ca/root-b"), "{told:?}");
}
