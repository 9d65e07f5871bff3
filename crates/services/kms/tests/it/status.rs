//! Disabling keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{KmsService as _, SignMessage};
use lamassu_crypto::Message;
use lamassu_kms::Kms;
use serde_json::{Value, json};

use crate::support::{FILESYSTEM, Fixture, SOFTWARE, caller, fixture, key_ref, refusal};

async fn set(kms: &Fixture, id: &str, status: &str) -> Value {
    let path = format!("/v1/keys/{id}/status");
    let (code, key) = kms.put(&path, json!({"status": status})).await;
    assert_eq!((code, &key["status"]), (StatusCode::OK, &json!(status)));
    key
}

#[tokio::test]
async fn a_disabled_key_does_not_sign_until_it_is_active_again() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let path = format!("/v1/keys/{id}");
    let body = json!({
        "algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw", "signature": "",
    });
    let (_, signed) = kms.post(&format!("{path}/sign"), body.clone()).await;
    set(&kms, &id, "DISABLED").await;
    let refused = kms.post(&format!("{path}/sign"), body.clone()).await;
    assert_eq!(refused, refusal(409, "key is disabled"));
    // What was signed before can still be verified.
    let mut verify = body.clone();
    verify["signature"] = signed["signature"].clone();
    let verified = kms.post(&format!("{path}/verify"), verify).await;
    assert_eq!(verified, (StatusCode::OK, json!({"valid": true})));
    let (_, listed) = kms.get("/v1/keys?filter=status[eq]DISABLED").await;
    assert_eq!(listed["list"][0]["key_id"], id);

    let kms = kms.restarted().await;
    let refused = kms.post(&format!("{path}/sign"), body.clone()).await;
    assert_eq!(refused, refusal(409, "key is disabled"));
    set(&kms, &id, "ACTIVE").await;
    assert_eq!(
        kms.post(&format!("{path}/sign"), body).await.0,
        StatusCode::OK
    );
    let told = kms.told().await;
    let n_told = told
        .iter()
        .filter(|(event, subject)| event == "kms.status.update" && *subject == format!("kms/{id}"))
        .count();
    assert_eq!(n_told, 2);
}

#[tokio::test]
async fn a_signer_that_a_service_holds_stops_as_well() {
    let kms = fixture().await;
    let id = kms.made_id(SOFTWARE).await;
    let signer = kms.service.signer(&caller(), &key_ref(&id)).await.unwrap();
    let sign = || async {
        let scheme = signer.public_key().default_scheme();
        let signed = signer.sign(scheme, Message::Raw(b"x")).await;
        signed.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(sign().await, Ok(()));
    set(&kms, &id, "DISABLED").await;
    assert_eq!(sign().await, Err("the key is disabled".to_owned()));
    let refused = kms.service.signer(&caller(), &key_ref(&id)).await;
    assert_eq!(refused.unwrap_err().to_string(), "key is disabled");
    set(&kms, &id, "ACTIVE").await;
    assert_eq!(sign().await, Ok(()));
    kms.delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(sign().await, Err("key not found".to_owned()));
}

/// Signs with a key, as a client and as a service that holds the signer in turn, until it does not sign
/// any more. Gives whether a signature that was begun after `changed` was made.
async fn sign_until_refused(
    kms: Arc<Kms>,
    held: Arc<dyn Signer>,
    id: KeyRef,
    changed: Arc<AtomicBool>,
) -> bool {
    let asked = || SignMessage {
        algorithm: "ECDSA_SHA_256".to_owned(),
        message: "x".into(),
        message_type: "raw".to_owned(),
    };
    loop {
        for as_client in [true, false] {
            let is_late = changed.load(Ordering::SeqCst);
            let is_signed = if as_client {
                kms.sign(&caller(), &id, asked()).await.is_ok()
            } else {
                let scheme = held.public_key().default_scheme();
                held.sign(scheme, Message::Raw(b"x")).await.is_ok()
            };
            if is_late {
                return is_signed;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_signature_begins_after_the_answer_to_a_change() {
    let kms = fixture().await;
    for round in 0..20 {
        let id = kms.made_id(SOFTWARE).await;
        let held = kms.kms.signer(&caller(), &key_ref(&id)).await.unwrap();
        let changed = Arc::new(AtomicBool::new(false));
        let signing: Vec<_> = (0..4)
            .map(|_| {
                let (service, held) = (Arc::clone(&kms.kms), Arc::clone(&held));
                let (id, changed) = (key_ref(&id), Arc::clone(&changed));
                tokio::spawn(sign_until_refused(service, held, id, changed))
            })
            .collect();
        if round % 2 == 0 {
            set(&kms, &id, "DISABLED").await;
        } else {
            let (code, answer) = kms.delete(&format!("/v1/keys/{id}")).await;
            assert_eq!(code, StatusCode::OK, "{answer}");
        }
        changed.store(true, Ordering::SeqCst);
        for signed in signing {
            assert!(!signed.await.unwrap(), "signed after the answer");
        }
    }
}

#[tokio::test]
async fn a_status_that_does_not_exist_is_refused() {
    let kms = fixture().await;
    let id = kms.made_id(SOFTWARE).await;
    for status in [json!("disabled"), json!(""), json!("REVOKED"), Value::Null] {
        let path = format!("/v1/keys/{id}/status");
        let refused = kms.put(&path, json!({"status": status})).await;
        assert_eq!(refused, refusal(400, "struct validation error"), "{status}");
    }
}
