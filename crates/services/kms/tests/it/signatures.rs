//! Signing and verifying.

use http::StatusCode;
use lamassu_crypto::{HashAlgorithm, Message};
use lamassu_db::{params, sql};
use serde_json::{Value, json};

use crate::faulty::Fault;
use crate::support::{
    FAULTY, FILESYSTEM, Fixture, SOFTWARE, base64, caller, fixture, key_ref, published, refusal,
    unbase64,
};

const MESSAGE: &[u8] = b"firmware 7, image 2";

const RSA: [&str; 6] = [
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
];

const ECDSA: [&str; 3] = ["ECDSA_SHA_256", "ECDSA_SHA_384", "ECDSA_SHA_512"];

fn digest_of(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let hash = match algorithm.rsplit('_').next() {
        Some("256") => HashAlgorithm::Sha256,
        Some("384") => HashAlgorithm::Sha384,
        _ => HashAlgorithm::Sha512,
    };
    hash.digest(message)
}

async fn sign(kms: &Fixture, key: &str, algorithm: &str, message: &[u8], kind: &str) -> Vec<u8> {
    let body = json!({
        "algorithm": algorithm, "message": base64(message), "message_type": kind,
    });
    let (status, reply) = kms.post(&format!("/v1/keys/{key}/sign"), body).await;
    assert_eq!(status, StatusCode::OK, "{algorithm} {kind}: {reply}");
    unbase64(&reply["signature"])
}

async fn verify(
    kms: &Fixture,
    key: &str,
    algorithm: &str,
    (message, kind): (&[u8], &str),
    signature: &[u8],
) -> bool {
    let body = json!({
        "algorithm": algorithm, "message": base64(message), "message_type": kind,
        "signature": base64(signature),
    });
    let (status, reply) = kms.post(&format!("/v1/keys/{key}/verify"), body).await;
    assert_eq!(status, StatusCode::OK, "{algorithm} {kind}: {reply}");
    reply["valid"].as_bool().unwrap()
}

/// Signs the message and its digest with each algorithm and verifies each as the other.
async fn round_trips(kms: &Fixture, key: &str, algorithms: &[&str]) {
    for algorithm in algorithms {
        let digest = digest_of(algorithm, MESSAGE);
        let of_message = sign(kms, key, algorithm, MESSAGE, "raw").await;
        for kind in ["hash", "digest", "DIGEST"] {
            assert!(
                verify(kms, key, algorithm, (&digest, kind), &of_message).await,
                "{algorithm}"
            );
            let of_digest = sign(kms, key, algorithm, &digest, kind).await;
            assert!(
                verify(kms, key, algorithm, (MESSAGE, "RAW"), &of_digest).await,
                "{algorithm}"
            );
        }
        assert!(!verify(kms, key, algorithm, (b"another", "raw"), &of_message).await);
    }
}

#[tokio::test]
async fn every_algorithm_signs_and_verifies_in_both_engines() {
    let kms = fixture().await;
    for engine in [FILESYSTEM, SOFTWARE] {
        let rsa = kms.made(engine, "RSA", 2048).await;
        round_trips(&kms, rsa["key_id"].as_str().unwrap(), &RSA).await;
        for size in [224, 256, 384, 521] {
            let key = kms.made(engine, "ECDSA", size).await;
            round_trips(&kms, key["key_id"].as_str().unwrap(), &ECDSA).await;
        }
    }
}

#[tokio::test]
async fn schemes_over_messages_sign_messages_only() {
    let kms = fixture().await;
    for engine in [FILESYSTEM, SOFTWARE] {
        for (kind, size, algorithm) in [
            ("Ed25519", 256, "ED25519"),
            ("ML-DSA", 44, "ML_DSA_44"),
            ("ML-DSA", 65, "ML_DSA_65"),
            ("ML-DSA", 87, "ML_DSA_87"),
        ] {
            let key = kms.made(engine, kind, size).await;
            let id = key["key_id"].as_str().unwrap();
            let signature = sign(&kms, id, algorithm, MESSAGE, "raw").await;
            assert!(verify(&kms, id, algorithm, (MESSAGE, "raw"), &signature).await);
            assert!(!verify(&kms, id, algorithm, (b"another", "raw"), &signature).await);
            let body = json!({
                "algorithm": algorithm, "message": base64(&[7; 32]), "message_type": "hash",
                "signature": "",
            });
            for call in ["sign", "verify"] {
                let refused = kms
                    .post(&format!("/v1/keys/{id}/{call}"), body.clone())
                    .await;
                assert_eq!(refused, refusal(400, "unsupported message type: hash"));
            }
        }
    }
}

#[tokio::test]
async fn algorithms_of_another_family_are_refused() {
    let kms = fixture().await;
    let keys = [
        ("RSA", 2048),
        ("ECDSA", 256),
        ("Ed25519", 256),
        ("ML-DSA", 44),
    ];
    let refusals = [
        ("RSASSA_PSS_SHA_256", "RSA", "key is not RSA key"),
        ("RSASSA_PKCS1_V1_5_SHA_512", "RSA", "key is not RSA key"),
        ("ECDSA_SHA_256", "ECDSA", "key is not ECDSA key"),
        ("ED25519", "Ed25519", "unsupported algorithm"),
        ("ML_DSA_44", "ML-DSA", "unsupported algorithm"),
    ];
    for (kind, size) in keys {
        let key = kms.made(SOFTWARE, kind, size).await;
        let id = key["key_id"].as_str().unwrap();
        for (algorithm, family, text) in refusals {
            if family == kind {
                continue;
            }
            let body = json!({
                "algorithm": algorithm, "message": "", "message_type": "raw", "signature": "",
            });
            for call in ["sign", "verify"] {
                let refused = kms
                    .post(&format!("/v1/keys/{id}/{call}"), body.clone())
                    .await;
                assert_eq!(refused, refusal(400, text), "{algorithm} on {kind}");
            }
        }
    }
    let key = kms.made(SOFTWARE, "ML-DSA", 65).await;
    let path = format!("/v1/keys/{}/sign", key["key_id"].as_str().unwrap());
    let body = json!({"algorithm": "ML_DSA_87", "message": "", "message_type": "raw"});
    assert_eq!(
        kms.post(&path, body).await,
        refusal(400, "unsupported algorithm")
    );
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_text() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let validation = "struct validation error";
    let cases = [
        ("", "EOF"),
        (
            r#"{"algorithm":"ECDSA_SHA_256","message_type":"raw"}"#,
            validation,
        ),
        (
            r#"{"algorithm":"ECDSA_SHA_256","message":null,"message_type":"raw"}"#,
            validation,
        ),
        (r#"{"algorithm":"ECDSA_SHA_256","message":""}"#, validation),
        (r#"{"message":"","message_type":"raw"}"#, validation),
        (
            r#"{"algorithm":"ECDSA_SHA_256","message":"AAAA*","message_type":"raw"}"#,
            "illegal base64 data at input byte 4",
        ),
        (
            r#"{"algorithm":"ECDSA_SHA_256","message":7,"message_type":"raw"}"#,
            "json: cannot unmarshal number into field message of type string",
        ),
        (
            r#"{"algorithm":"ECDSA","message":"","message_type":"raw"}"#,
            "unsupported algorithm",
        ),
        (
            r#"{"algorithm":"RSA","message":"","message_type":"raw"}"#,
            "unsupported algorithm",
        ),
        (
            r#"{"algorithm":"ecdsa_sha_256","message":"","message_type":"raw"}"#,
            "unsupported algorithm",
        ),
        (
            r#"{"algorithm":"ECDSA_SHA_256","message":"","message_type":"plain"}"#,
            "unsupported message type: plain",
        ),
    ];
    for (body, text) in cases {
        let refused = kms.post_text(&format!("/v1/keys/{id}/sign"), body).await;
        assert_eq!(refused, refusal(400, text), "{body}");
        let signed = body.replacen('{', r#"{"signature":"","#, 1);
        let refused = kms
            .post_text(&format!("/v1/keys/{id}/verify"), &signed)
            .await;
        assert_eq!(refused, refusal(400, text), "{signed}");
    }
    let unsigned =
        r#"{"algorithm":"ECDSA_SHA_256","message":"","message_type":"raw","signature":null}"#;
    let refused = kms
        .post_text(&format!("/v1/keys/{id}/verify"), unsigned)
        .await;
    assert_eq!(refused, refusal(400, validation));
    let refused = kms.post_text("/v1/keys/unknown/sign", unsigned).await;
    assert_eq!(refused, refusal(404, "key not found"));
    assert_eq!(kms.told().await.len(), 1);
}

#[tokio::test]
async fn a_digest_is_as_long_as_its_hash() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    for (algorithm, len) in [
        ("ECDSA_SHA_256", 0),
        ("ECDSA_SHA_256", 16),
        ("ECDSA_SHA_256", 48),
        ("ECDSA_SHA_384", 32),
        ("ECDSA_SHA_512", 48),
    ] {
        let body = json!({
            "algorithm": algorithm, "message": base64(&vec![7; len]), "message_type": "hash",
            "signature": "",
        });
        for call in ["sign", "verify"] {
            let refused = kms
                .post(&format!("/v1/keys/{id}/{call}"), body.clone())
                .await;
            assert_eq!(
                refused,
                refusal(400, "invalid digest size"),
                "{algorithm} {len}"
            );
        }
    }
}

#[tokio::test]
async fn an_empty_message_is_a_message_and_a_wrong_signature_no_error() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let signature = sign(&kms, &id, "ECDSA_SHA_256", b"", "raw").await;
    assert!(verify(&kms, &id, "ECDSA_SHA_256", (b"", "raw"), &signature).await);
    assert!(!verify(&kms, &id, "ECDSA_SHA_384", (b"", "raw"), &signature).await);
    assert!(!verify(&kms, &id, "ECDSA_SHA_256", (MESSAGE, "raw"), &signature).await);
    assert!(!verify(&kms, &id, "ECDSA_SHA_256", (b"", "raw"), b"").await);
    assert!(!verify(&kms, &id, "ECDSA_SHA_256", (b"", "raw"), b"garbage").await);
}

#[tokio::test]
async fn base64_with_line_ends_is_read() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let body = r#"{"algorithm":"ECDSA_SHA_256","message":"YWJj\r\nZGVm\n","message_type":"raw"}"#;
    let (_, reply) = kms.post_text(&format!("/v1/keys/{id}/sign"), body).await;
    let signature = unbase64(&reply["signature"]);
    assert!(verify(&kms, &id, "ECDSA_SHA_256", (b"abcdef", "raw"), &signature).await);
}

#[tokio::test]
async fn calls_of_clients_are_told_and_audited() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = key["key_id"].as_str().unwrap();
    kms.alias(id, "line-4").await;
    let signature = sign(&kms, "line-4", "ECDSA_SHA_256", MESSAGE, "raw").await;
    verify(&kms, id, "ECDSA_SHA_256", (MESSAGE, "raw"), b"wrong").await;
    let events = kms.events().await;
    let told = |event: &Value| json!([event["type"], event["subject"], event["data"]]);
    let signed = json!(["kms.sign", "kms/line-4", {"signature": base64(&signature)}]);
    assert_eq!(told(&events[2]), signed);
    let verified = json!(["kms.verify", format!("kms/{id}"), {"valid": false}]);
    assert_eq!(told(&events[3]), verified);
    let record = |operation: &str| [operation.to_owned(), format!("kms/{id}"), "done".to_owned()];
    assert_eq!(
        kms.audited().await[2..],
        [record("kms.sign"), record("kms.verify")]
    );
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_told_apart_from_one_that_lost_the_key() {
    let kms = fixture().await;
    let id = kms.made_id(FAULTY).await;
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw", "signature": ""});
    let path = format!("/v1/keys/{id}/sign");
    kms.faulty.set(Fault::Unavailable);
    let refused = kms.post(&path, body.clone()).await;
    assert_eq!(refused, refusal(503, "crypto engine unavailable"));
    kms.faulty.set(Fault::Failing);
    let refused = kms.post(&path, body.clone()).await;
    assert_eq!(refused, refusal(500, "could not get signing key"));
    // Verifying needs no engine.
    let verified = kms.post(&format!("/v1/keys/{id}/verify"), body).await;
    assert_eq!(verified, (StatusCode::OK, json!({"valid": false})));
}

#[tokio::test]
async fn the_platforms_signer_signs_without_a_word() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 384).await;
    let named = key_ref(key["pkcs11_uri"].as_str().unwrap());
    let signer = kms.service.signer(&caller(), &named).await.unwrap();
    let public = signer.public_key().clone();
    let scheme = public.default_scheme();
    let signature = signer.sign(scheme, Message::Raw(MESSAGE)).await.unwrap();
    published(&key)
        .verify(scheme, Message::Raw(MESSAGE), &signature)
        .unwrap();
    assert_eq!(kms.told().await.len(), 1);
    let unknown = kms.service.signer(&caller(), &key_ref("unknown")).await;
    assert_eq!(unknown.unwrap_err().to_string(), "key not found");
}

#[tokio::test]
async fn a_signer_costs_no_query_and_ends_with_its_key() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = key["key_id"].as_str().unwrap();
    let uri = key["pkcs11_uri"].as_str().unwrap();
    kms.alias(id, "line-4").await;
    for reference in [id, uri, "line-4"] {
        kms.service
            .signer(&caller(), &key_ref(reference))
            .await
            .unwrap();
    }
    // A row that cannot be read shows that nobody reads it.
    let break_row = "UPDATE kms_key SET public_key = 'broken' WHERE key_id = $1";
    kms.execute(sql(break_row, params![id])).await;
    for reference in [id, uri, "line-4"] {
        kms.service
            .signer(&caller(), &key_ref(reference))
            .await
            .unwrap();
    }
    let mend_row = "UPDATE kms_key SET public_key = $1 WHERE key_id = $2";
    kms.execute(sql(
        mend_row,
        params![key["public_key"].as_str().unwrap(), id],
    ))
    .await;
    assert_eq!(
        kms.delete(&format!("/v1/keys/{id}")).await.0,
        StatusCode::OK
    );
    for reference in [id, uri, "line-4"] {
        let refused = kms.service.signer(&caller(), &key_ref(reference)).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            "key not found",
            "{reference}"
        );
    }
}
