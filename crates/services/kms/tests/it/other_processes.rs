//! What one process does to a key ends what others have read of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lamassu_core::crypto_engine::{CryptoEngine, EngineError, Signer};
use lamassu_core::kms::KmsService as _;
use lamassu_crypto::Message;
use lamassu_kms::Kms;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{FAULTY, FILESYSTEM, Fixture, caller, fixture, key_ref, start};

/// Far below the time after which memory is given up by itself.
const HEARD: Duration = Duration::from_secs(10);

/// Another process over the same keys. On SQLite, where there can be none, another service in this one.
async fn another(kms: &Fixture) -> Arc<Kms> {
    let engines: Vec<Arc<dyn CryptoEngine>> = vec![
        kms.filesystem(),
        Arc::<crate::faulty::Faulty>::clone(&kms.faulty),
    ];
    let other = Arc::new(start(&kms.another_db().await, engines).await.unwrap());
    let running = Arc::clone(&other);
    tokio::spawn(async move { running.run(&CancellationToken::new()).await });
    other
}

async fn sign(signer: &dyn Signer) -> Result<(), EngineError> {
    let scheme = signer.public_key().default_scheme();
    signer.sign(scheme, Message::Raw(b"x")).await.map(drop)
}

/// Signs until the outcome is the expected one.
async fn soon(signer: &dyn Signer, expected: Result<(), &str>) {
    let begun = Instant::now();
    loop {
        let outcome = sign(signer).await.map_err(|error| error.to_string());
        if outcome == expected.map_err(str::to_owned) {
            return;
        }
        assert!(begun.elapsed() < HEARD, "{outcome:?}, not {expected:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_disabled_moved_or_deleted_elsewhere_is_heard_of() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let other = another(&kms).await;
    let held = other.signer(&caller(), &key_ref(&id)).await.unwrap();
    soon(held.as_ref(), Ok(())).await;

    let path = format!("/v1/keys/{id}");
    let set = async |status: &str| {
        let body = json!({"status": status});
        let (code, key) = kms.put(&format!("{path}/status"), body).await;
        assert_eq!(code, 200, "{key}");
    };
    set("DISABLED").await;
    soon(held.as_ref(), Err("the key is disabled")).await;
    let refused = other.signer(&caller(), &key_ref(&id)).await;
    assert_eq!(refused.unwrap_err().to_string(), "key is disabled");
    set("ACTIVE").await;
    soon(held.as_ref(), Ok(())).await;

    let into = json!({"engine_id": FAULTY});
    let (code, key) = kms.post(&format!("{path}/move"), into).await;
    assert_eq!(code, 200, "{key}");
    soon(held.as_ref(), Ok(())).await;
    let (code, answer) = kms.delete(&path).await;
    assert_eq!(code, 200, "{answer}");
    soon(held.as_ref(), Err("key not found")).await;
}
