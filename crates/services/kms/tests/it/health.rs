//! What engines say about themselves.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::advance;

use crate::faulty::Fault;
use crate::support::{FAULTY, FILESYSTEM, Fixture, SOFTWARE, fixture};

async fn health(kms: &Fixture) -> Vec<(String, Value)> {
    let (status, engines) = kms.get("/v1/engines").await;
    assert_eq!(status, StatusCode::OK);
    let engines = engines.as_array().unwrap();
    engines
        .iter()
        .map(|engine| {
            (
                engine["id"].as_str().unwrap().to_owned(),
                engine["health"].clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn engines_say_in_order_whether_they_work() {
    let kms = fixture().await;
    let ok = json!({"status": "ok"});
    let expected = [FILESYSTEM, SOFTWARE, FAULTY].map(|id| (id.to_owned(), ok.clone()));
    assert_eq!(health(&kms).await, expected);
    assert_eq!(kms.kms.check_engines().await, Ok(()));
}

#[tokio::test]
async fn an_engine_that_fails_says_why_and_recovers() {
    let kms = fixture().await;
    kms.faulty.set(Fault::Unavailable);
    let failing = json!({"status": "failing", "error": "the engine is unavailable"});
    assert_eq!(health(&kms).await[2].1, failing);
    let unready = "faulty-1: the engine is unavailable".to_owned();
    assert_eq!(kms.kms.check_engines().await, Err(unready));
    // The others go on.
    kms.made(FILESYSTEM, "ECDSA", 256).await;
    kms.faulty.set(Fault::None);
    tokio::time::pause();
    advance(std::time::Duration::from_secs(6)).await;
    assert_eq!(kms.kms.check_engines().await, Ok(()));
}

#[tokio::test]
async fn every_engine_announces_every_kind_of_key() {
    let kms = fixture().await;
    let (_, engines) = kms.get("/v1/engines").await;
    let expected = json!([
        {"type": "RSA", "sizes": [2048, 3072, 4096, 8192]},
        {"type": "ECDSA", "sizes": [224, 256, 384, 521]},
        {"type": "Ed25519", "sizes": [256]},
        {"type": "ML-DSA", "sizes": [44, 65, 87]},
    ]);
    for engine in engines.as_array().unwrap() {
        assert_eq!(engine["supported_key_types"], expected);
        assert_eq!(engine["default"], engine["id"] == FILESYSTEM);
    }
}
