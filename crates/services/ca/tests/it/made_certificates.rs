//! Certificates that are made together with their keys.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::kms::Fault;
use crate::support::{World, device_profile, p256, x509};

fn body(ca: &str) -> Value {
    json!({
        "ca_id": ca,
        "key_spec": { "type": "ECDSA", "bits": 256, "engine_id": "", "key_identifier": "" },
        "subject": { "common_name": "service-1" },
    })
}

#[tokio::test]
async fn a_certificate_comes_with_a_new_key() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut asked = body("root-a");
    asked["metadata"] = json!({ "owner": "team", "tier": 1 });
    let made = world.post("/v1/certificates", asked).await;
    let made = made.with(StatusCode::CREATED);
    assert_eq!(made["type"], "MANAGED");
    assert_eq!(made["engine_id"], "memory-1");
    assert_eq!(made["subject"]["common_name"], "service-1");
    assert_eq!(made["metadata"], json!({ "owner": "team", "tier": 1 }));
    assert_eq!(world.now(&made).await, made);
    let key = x509(&made).public_key().unwrap().key_id_sha256_hex();
    assert_eq!(world.kms.bound(&key).len(), 1);
    assert_eq!(world.count("ca_operation").await, 0);
    let told = world.events().await;
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "ca.sign.certificate",
        "certificate.metadata.update",
        "certificate.metadata.update",
        "certificate.create",
    ];
    assert!(kinds.ends_with(&expected), "{kinds:?}");
    assert_eq!(world.last_event("certificate.create").await["data"], made);
}

#[tokio::test]
async fn one_key_may_have_several_certificates() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = world.kms.hold(p256());
    let mut asked = body("root-a");
    asked["key_spec"] = json!({ "type": "0", "bits": 0, "key_identifier": key.key_id });
    for n in 1..=2 {
        let made = world.post("/v1/certificates", asked.clone()).await;
        made.with(StatusCode::CREATED);
        assert_eq!(world.kms.bound(key.key_id.as_str()).len(), n);
    }
    assert_eq!(world.kms.n_keys(), 2);
}

#[tokio::test]
async fn a_profile_that_is_sent_along_imposes_its_usages() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut profile = device_profile();
    profile["honor_key_usage"] = json!(true);
    profile["honor_extended_key_usages"] = json!(true);
    profile["validity"]["duration"] = json!("3h");
    let mut asked = body("root-a");
    asked["issuance_profile"] = profile;
    let made = world.post("/v1/certificates", asked).await;
    let made = made.with(StatusCode::CREATED);
    assert_eq!(
        made["extensions"],
        json!({ "key_usage": ["DigitalSignature"], "extended_key_usage": ["ClientAuth"] })
    );
    assert_eq!(made["valid_to"], "2026-03-02T12:15:27Z");
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire_and_leave_no_key() {
    let world = World::new().await;
    world.root("root-a").await;
    let spec = "invalid key spec: exactly one of (Type+Bits) or KeyIdentifier must be provided";
    let unknown_key = json!({ "key_identifier": "x" });
    let cases = [
        ("ca_id", json!(""), 400, "struct validation error"),
        ("ca_id", json!("nobody"), 404, "CA not found"),
        ("key_spec", json!({}), 400, spec),
        ("key_spec", json!({ "type": "RSA" }), 400, spec),
        ("key_spec", json!({ "bits": 256 }), 400, spec),
        (
            "key_spec",
            json!({ "type": "RSA", "bits": 2048, "key_identifier": "x" }),
            400,
            spec,
        ),
        ("key_spec", unknown_key, 404, "key not found"),
        (
            "issuance_profile_id",
            json!("x"),
            404,
            "issuance profile not found",
        ),
        (
            "metadata",
            json!({ "a": null }),
            400,
            "failed to apply patches to metadata: a member of the metadata has no value",
        ),
    ];
    for (member, value, status, text) in cases {
        let mut asked = body("root-a");
        asked[member] = value;
        let answer = world.post("/v1/certificates", asked).await;
        assert_eq!(answer.refusal(), (status, text), "{member}");
    }
    let expired = json!({ "status": "EXPIRED" });
    world
        .post("/v1/cas/root-a/status", expired)
        .await
        .with(StatusCode::CREATED);
    let answer = world.post("/v1/certificates", body("root-a")).await;
    assert_eq!(answer.refusal(), (400, "CA Status inconsistent"));
    assert_eq!(
        (world.kms.n_keys(), world.count("certificate").await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_key_that_signs_wrongly_is_destroyed() {
    let world = World::new().await;
    world.root("root-a").await;
    world.kms.fail(Fault::WrongKey);
    let answer = world.post("/v1/certificates", body("root-a")).await;
    let (status, text) = answer.refusal();
    assert_eq!(status, 500);
    assert!(text.starts_with("KMS sign operation failed"), "{text}");
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_are_twenty_certificates_and_keys() {
    let world = World::new().await;
    world.root("root-a").await;
    let asked = || world.post("/v1/certificates", body("root-a"));
    for answer in join_all((0..20).map(|_| asked())).await {
        answer.with(StatusCode::CREATED);
    }
    assert_eq!(world.kms.n_keys(), 21);
    assert_eq!(world.count("certificate").await, 21);
    assert_eq!(world.count("ca_operation").await, 0);
}
