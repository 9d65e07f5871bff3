//! Keys of an engine that is configured and did not open: its token is away, for example.

use axum::body::Body;
use http::{Request, StatusCode};
use lamassu_core::ids::OperationId;
use serde_json::{Value, json};

use crate::support::{FAULTY, FILESYSTEM, Fixture, caller, fixture, key_ref, p256_for, sample};

/// A request with a body, answered with 503 that names the engine and says when to come back.
async fn is_put_off(kms: &Fixture, method: &str, uri: &str, body: Value) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(Body::from(body.to_string())).unwrap();
    let (status, headers, answer) = kms.exchange(request).await;
    let expected = json!({"err": "crypto engine faulty-1 did not open"});
    assert_eq!(
        (status, answer),
        (StatusCode::SERVICE_UNAVAILABLE, expected),
        "{uri}"
    );
    assert_eq!(headers["retry-after"], "2", "{uri}");
}

#[tokio::test]
async fn whatever_needs_an_engine_that_did_not_open_is_put_off() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    kms.create_for(&operation).await.unwrap();
    let id = kms.made_id(FAULTY).await;
    let elsewhere = kms.made_id(FILESYSTEM).await;
    let kms = kms.restarted_without_faulty().await;

    let sign = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    let new = json!({"algorithm": "ECDSA", "size": 256, "name": "x", "engine_id": FAULTY});
    let import = json!({"private_key": sample("prime256v1.sec1.pem"), "engine_id": FAULTY});
    let (from, into) = (
        json!({"engine_id": FILESYSTEM}),
        json!({"engine_id": FAULTY}),
    );
    for (method, uri, body) in [
        ("POST", format!("/v1/keys/{id}/sign"), sign),
        ("POST", format!("/v1/keys/{id}/move"), from),
        ("POST", format!("/v1/keys/{elsewhere}/move"), into),
        ("POST", "/v1/keys".to_owned(), new),
        ("POST", "/v1/keys/import".to_owned(), import),
        ("DELETE", format!("/v1/keys/{id}"), Value::Null),
    ] {
        is_put_off(&kms, method, &uri, body).await;
    }
    // What services ask is answered alike.
    let refused = [
        kms.service.signer(&caller(), &key_ref(&id)).await.map(drop),
        kms.service.discard(&caller(), &operation).await,
        kms.service
            .create_key(&caller(), p256_for(&OperationId::fresh()))
            .await
            .map(drop),
    ];
    for refused in refused {
        let refused = refused.unwrap_err().to_string();
        assert_eq!(refused, "crypto engine faulty-1 did not open");
    }
    // The key is there all the same: it is read, changed and verified with.
    let path = format!("/v1/keys/{id}");
    assert_eq!(kms.get(&path).await.0, StatusCode::OK);
    let name = json!({"name": "renamed"});
    let renamed = kms.put(&format!("{path}/name"), name).await;
    assert_eq!(renamed.0, StatusCode::OK);
    let verify = json!({
        "algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw", "signature": "",
    });
    let verified = kms.post(&format!("{path}/verify"), verify).await;
    assert_eq!(verified, (StatusCode::OK, json!({"valid": false})));
}
