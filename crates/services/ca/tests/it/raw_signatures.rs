//! Messages signed with the keys of CAs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use lamassu_crypto::HashAlgorithm;
use serde_json::{Value, json};

use crate::support::{World, device_profile, root_body};

fn body(algorithm: &str, message_type: &str, message: &[u8]) -> Value {
    json!({
        "message": STANDARD.encode(message),
        "message_type": message_type,
        "signature_algorithm": algorithm,
    })
}

async fn round_trip(world: &World, algorithm: &str, message_type: &str, message: &[u8]) {
    let mut asked = body(algorithm, message_type, message);
    let signed = world
        .post("/v1/cas/root-a/signature/sign", asked.clone())
        .await
        .with(StatusCode::OK);
    asked["signature"] = signed["signed_data"].clone();
    let verify = "/v1/cas/root-a/signature/verify";
    let answer = world.post(verify, asked.clone()).await;
    assert_eq!(answer.with(StatusCode::OK), json!({ "valid": true }));
    asked["message"] = json!(STANDARD.encode(HashAlgorithm::Sha256.digest(b"other")));
    if message_type == "raw" {
        let answer = world.post(verify, asked).await;
        assert_eq!(answer.with(StatusCode::OK), json!({ "valid": false }));
    }
}

#[tokio::test]
async fn what_a_ca_signs_verifies() {
    let world = World::new().await;
    world.root("root-a").await;
    let digest = HashAlgorithm::Sha256.digest(b"message");
    round_trip(&world, "ECDSA_SHA_256", "raw", b"message").await;
    round_trip(&world, "ECDSA_SHA_256", "hash", &digest).await;
    let event = world.last_event("ca.sign.signature").await;
    assert_eq!(event["subject"], "ca/root-a");
    assert!(event["data_base64"].is_string(), "{event}");
    assert!(event.get("data").is_none(), "{event}");
    let record = ("ca.sign.signature".to_owned(), "ca/root-a".to_owned());
    assert!(world.audit().await.contains(&record));
}

#[tokio::test]
async fn an_rsa_ca_signs_both_ways() {
    let world = World::new().await;
    let mut root = root_body("root-a", &world.profile(device_profile()).await);
    root["key_metadata"] = json!({ "type": "RSA", "bits": 2048 });
    world.post("/v1/cas", root).await.with(StatusCode::CREATED);
    let digest = HashAlgorithm::Sha256.digest(b"message");
    round_trip(&world, "RSASSA_PSS_SHA_256", "raw", b"message").await;
    round_trip(&world, "RSASSA_PSS_SHA_256", "hash", &digest).await;
    round_trip(&world, "RSASSA_PKCS1_V1_5_SHA_384", "raw", b"message").await;
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire() {
    let world = World::new().await;
    world.root("root-a").await;
    let invalid = (400, "struct validation error");
    let cases = [
        (
            "nobody",
            body("ECDSA_SHA_256", "raw", b"x"),
            (404, "CA not found"),
        ),
        ("root-a", body("", "raw", b"x"), invalid),
        ("root-a", body("ECDSA_SHA_256", "", b"x"), invalid),
        (
            "root-a",
            body("ECDSA", "raw", b"x"),
            (400, "unsupported algorithm"),
        ),
        (
            "root-a",
            body("RSASSA_PSS_SHA_256", "raw", b"x"),
            (400, "unsupported algorithm"),
        ),
        (
            "root-a",
            body("ECDSA_SHA_256", "hash", b"x"),
            (400, "invalid digest size"),
        ),
        (
            "root-a",
            body("ECDSA_SHA_256", "text", b"x"),
            (400, "unsupported message type: text"),
        ),
    ];
    for (id, asked, refusal) in cases {
        for operation in ["sign", "verify"] {
            let path = format!("/v1/cas/{id}/signature/{operation}");
            let answer = world.post(&path, asked.clone()).await;
            assert_eq!(answer.refusal(), refusal, "{path} {asked}");
        }
    }
}
