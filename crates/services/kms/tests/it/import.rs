//! Taking private keys from outside.

use std::sync::Arc;

use http::StatusCode;
use lamassu_core::ids::{EngineId, OperationId};
use lamassu_core::kms::{ImportKey, KmsService as _, PrivateKeyBytes};
use lamassu_crypto::pem::{PemLabel, der_to_pem};
use lamassu_crypto::{KeySpec, PrivateKey};
use serde_json::{Value, json};
use time::Duration;

use crate::faulty::Fault;
use crate::support::{
    FAULTY, FILESYSTEM, Fixture, SOFTWARE, base64, caller, fixture, published, refusal, sample,
    unbase64, without_usage,
};

/// The conformance vector: a P-256 key whose id is known.
const VECTOR: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsvGH3m8eUqOONu18
9dKfDXNTkYAYaE7aAU/6FQ9k7eChRANCAAR5Ju5uBQeOYRCD/cq1ADTz7Vy7DZz6
ZIXAT/8opqZqnWn6YNVi9dxQTFOTpfOvv/qN4p5Qtj8KZ1v+wnuvBivS
-----END PRIVATE KEY-----
";
const VECTOR_ID: &str = "c9fa3229a38567d5d9386d9853fc0808c931787fed148bad99411a0e2e008186";

async fn import(kms: &Fixture, private_key: &str, engine: &str) -> (StatusCode, Value) {
    let body = json!({"private_key": private_key, "engine_id": engine});
    kms.post("/v1/keys/import", body).await
}

#[tokio::test]
async fn an_imported_key_has_the_known_id_and_every_member() {
    let kms = fixture().await;
    let body = json!({
        "private_key": base64(VECTOR.as_bytes()), "tags": ["x"], "metadata": {"owner": "plant-a"},
    });
    let (status, key) = kms.post("/v1/keys/import", body).await;
    assert_eq!(status, StatusCode::CREATED, "{key}");
    let expected = json!({
        "pkcs11_uri": format!("pkcs11:token-id=filesystem-1;id={VECTOR_ID};type=private"),
        "key_id": VECTOR_ID, "name": "", "aliases": [], "engine_id": FILESYSTEM,
        "has_private_key": true, "algorithm": "ECDSA", "size": 256,
        "public_key": "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFZVNidWJnVUhqbUVRZy8zS3RRQTA4KzFjdXcyYworbVNGd0UvL0tLYW1hcDFwK21EVll2WGNVRXhUazZYenI3LzZqZUtlVUxZL0NtZGIvc0o3cndZcjBnPT0KLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0tCg==",
        "creation_ts": "2026-03-02T09:15:27.481233Z",
        "tags": ["x"], "metadata": {"owner": "plant-a"}, "status": "ACTIVE",
    });
    assert_eq!(key, expected);
    let read = kms.get(&format!("/v1/keys/{VECTOR_ID}")).await;
    assert_eq!(without_usage(read), (StatusCode::OK, expected));
    let events = kms.events().await;
    assert_eq!(
        (events.len(), &events[0]["type"]),
        (1, &json!("kms.import"))
    );
    assert_eq!(events[0]["subject"], format!("kms/{VECTOR_ID}"));
    assert_eq!(events[0]["data"], key);
    let audited = ["kms.import", &format!("kms/{VECTOR_ID}"), "done"].map(str::to_owned);
    assert_eq!(kms.audited().await, [audited]);
}

#[tokio::test]
async fn a_key_has_its_id_for_itself_as_soon_as_it_is_there() {
    let kms = fixture().await;
    let other = kms.made_id(FILESYSTEM).await;
    kms.alias(&other, VECTOR_ID).await;
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    let path = format!("/v1/keys/{VECTOR_ID}/sign");
    assert_eq!(kms.post(&path, body.clone()).await.0, StatusCode::OK);
    let vector = base64(VECTOR.as_bytes());
    assert_eq!(
        import(&kms, &vector, FILESYSTEM).await.0,
        StatusCode::CREATED
    );
    let (_, signed) = kms.post(&path, body.clone()).await;
    let mut body = body;
    body["signature"] = signed["signature"].clone();
    let (_, verified) = kms
        .post(&format!("/v1/keys/{other}/verify"), body.clone())
        .await;
    assert_eq!(verified["valid"], false);
    let uri = format!("pkcs11:token-id=filesystem-1;id={VECTOR_ID};type=private");
    let (_, verified) = kms.post(&format!("/v1/keys/{uri}/verify"), body).await;
    assert_eq!(verified["valid"], true);
}

#[tokio::test]
async fn every_form_of_every_kind_is_taken_and_signs() {
    let kms = fixture().await;
    let mut keys: Vec<(String, &str, u32)> = vec![
        (sample("rsa-2048.pkcs1.pem"), "RSA", 2048),
        (sample("rsa-3072.pkcs1.pem"), "RSA", 3072),
        (sample("rsa-4096.pkcs1.pem"), "RSA", 4096),
        (sample("rsa-8192.pkcs1.pem"), "RSA", 8192),
        // The curve's parameters stand in front of the key.
        (sample("secp224r1.sec1.pem"), "ECDSA", 224),
        (sample("prime256v1.sec1.pem"), "ECDSA", 256),
        (sample("secp384r1.sec1.pem"), "ECDSA", 384),
        (sample("secp521r1.sec1.pem"), "ECDSA", 521),
        (sample("ed25519.pem"), "Ed25519", 256),
    ];
    for (spec, size) in [
        (KeySpec::MlDsa44, 44),
        (KeySpec::MlDsa65, 65),
        (KeySpec::MlDsa87, 87),
    ] {
        let der = PrivateKey::generate(spec).unwrap().to_pkcs8_der().unwrap();
        let pem = der_to_pem(PemLabel::PrivateKey, &der);
        keys.push((base64(pem.as_bytes()), "ML-DSA", size));
    }
    // Each a second time as PKCS#8 in DER, in the other engine.
    for (pem, algorithm, size) in keys {
        let private = PrivateKey::from_pem(&unbase64(&json!(pem))).unwrap();
        let der = base64(&private.to_pkcs8_der().unwrap());
        for (sent, engine) in [(&pem, FILESYSTEM), (&der, SOFTWARE)] {
            let (status, key) = import(&kms, sent, engine).await;
            assert_eq!(status, StatusCode::CREATED, "{algorithm} {size}: {key}");
            assert_eq!(
                (&key["algorithm"], &key["size"]),
                (&json!(algorithm), &json!(size))
            );
            assert_eq!(&published(&key), private.public_key());
            let path = format!("/v1/keys/{}", key["key_id"].as_str().unwrap());
            let name = match (algorithm, size) {
                ("RSA", _) => "RSASSA_PSS_SHA_512".to_owned(),
                ("ECDSA", _) => "ECDSA_SHA_384".to_owned(),
                ("Ed25519", _) => "ED25519".to_owned(),
                (_, size) => format!("ML_DSA_{size}"),
            };
            let mut body = json!({"algorithm": name, "message": "AAAA", "message_type": "raw"});
            let (status, signed) = kms.post(&format!("{path}/sign"), body.clone()).await;
            assert_eq!(status, StatusCode::OK, "{name}: {signed}");
            body["signature"] = signed["signature"].clone();
            let verified = kms.post(&format!("{path}/verify"), body).await;
            assert_eq!(verified, (StatusCode::OK, json!({"valid": true})));
            assert_eq!(kms.delete(&path).await.0, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused_with_its_text() {
    let kms = fixture().await;
    let unreadable = "tls: failed to parse private key";
    let no_key = der_to_pem(PemLabel::Certificate, b"x");
    let cases = [
        (json!(null), "private key is required"),
        (json!(""), "private key is required"),
        (json!("\r\n"), "private key is required"),
        (json!("AA"), "illegal base64 data at input byte 2"),
        (json!("AAA*"), "illegal base64 data at input byte 3"),
        (json!(base64(b"garbage")), unreadable),
        (json!(base64(no_key.as_bytes())), unreadable),
        (json!(sample("encrypted.pem")), unreadable),
        (json!(sample("secp256k1.pem")), unreadable),
        (
            json!(sample("x25519.pem")),
            "tls: found unknown private key type in PKCS#8 wrapping",
        ),
        (
            json!(sample("rsa-1024.pkcs1.pem")),
            "key size 1024 is not supported for key type RSA in engine Golang",
        ),
    ];
    for (sent, text) in cases {
        let refused = kms
            .post("/v1/keys/import", json!({"private_key": sent}))
            .await;
        assert_eq!(refused, refusal(400, text), "{sent}");
    }
    let refused = kms.post("/v1/keys/import", json!({})).await;
    assert_eq!(refused, refusal(400, "private key is required"));
    let refused = import(&kms, &base64(VECTOR.as_bytes()), "nope").await;
    assert_eq!(refused, refusal(400, "crypto engine not found"));
    assert_eq!((kms.n_rows().await, kms.n_key_files()), (0, 0));
    assert_eq!(kms.events().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_key_that_exists_is_refused_before_any_engine_sees_it() {
    let kms = fixture().await;
    let vector = base64(VECTOR.as_bytes());
    assert_eq!(
        import(&kms, &vector, FILESYSTEM).await.0,
        StatusCode::CREATED
    );
    for engine in [FILESYSTEM, FAULTY] {
        let refused = import(&kms, &vector, engine).await;
        assert_eq!(refused, refusal(409, "key already exists"));
    }
    assert_eq!((kms.n_key_files(), kms.faulty.n_keys().await), (1, 0));
    assert_eq!(kms.n_rows().await, 1);
    // Deleted, it can come back.
    kms.delete(&format!("/v1/keys/{VECTOR_ID}")).await;
    assert_eq!(import(&kms, &vector, FAULTY).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn an_engine_that_does_not_take_it_leaves_no_trace() {
    let kms = fixture().await;
    let vector = base64(VECTOR.as_bytes());
    for (fault, status, text) in [
        (Fault::Failing, 500, "failed to import private key"),
        (Fault::Unavailable, 503, "crypto engine unavailable"),
    ] {
        kms.faulty.set(fault);
        let refused = import(&kms, &vector, FAULTY).await;
        assert_eq!(refused, refusal(status, text));
        // Nobody knows yet what the engine holds.
        let refused = import(&kms, &vector, FILESYSTEM).await;
        let text = "the key is being imported, moved or deleted";
        assert_eq!(refused, refusal(503, text));
        kms.faulty.set(Fault::None);
        kms.reap_after(Duration::minutes(10)).await;
    }
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (0, 0));
    assert_eq!(import(&kms, &vector, FAULTY).await.0, StatusCode::CREATED);
}

fn for_operation(operation: &OperationId) -> ImportKey {
    ImportKey {
        private_key: PrivateKeyBytes::new(VECTOR.as_bytes().to_vec()),
        engine_id: EngineId::from(FAULTY),
        operation: Some(operation.clone()),
        ..ImportKey::default()
    }
}

#[tokio::test]
async fn an_operation_imports_once_and_can_be_discarded() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    let asked = || for_operation(&operation);
    let key = kms.service.import_key(&caller(), asked()).await.unwrap();
    let again = kms.service.import_key(&caller(), asked()).await.unwrap();
    assert_eq!(again, key);
    assert_eq!(kms.faulty.n_keys().await, 1);
    kms.service.discard(&caller(), &operation).await.unwrap();
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (0, 0));
}

#[tokio::test]
async fn an_import_that_a_crash_interrupted_is_removed_in_time() {
    let kms = fixture().await;
    kms.faulty.set(Fault::SilentAfterMaking);
    let service = Arc::clone(&kms.kms);
    let asked = for_operation(&OperationId::fresh());
    let taking = tokio::spawn(async move { service.import_key(&caller(), asked).await.is_ok() });
    kms.faulty.generation_begun().await;
    taking.abort();
    assert!(taking.await.unwrap_err().is_cancelled());
    kms.faulty.set(Fault::None);
    let kms = kms.restarted().await;
    assert_eq!(kms.get("/v1/keys").await.1["list"], json!([]));
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (1, 1));
    kms.reap_after(Duration::minutes(10)).await;
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (0, 0));
    let sent = base64(VECTOR.as_bytes());
    assert_eq!(import(&kms, &sent, FILESYSTEM).await.0, StatusCode::CREATED);
}
