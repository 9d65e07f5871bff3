//! Disabling keys.

use http::StatusCode;
use lamassu_crypto::Message;
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
