//! Refused changes are in the audit log, with what was asked for and what was answered.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::faulty::Fault;
use crate::support::{FAULTY, FILESYSTEM, base64, fixture};

#[tokio::test]
async fn each_refused_change_is_recorded_once_with_its_reason() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let at = |below: &str| format!("/v1/keys/{id}/{below}");
    let unknown = |below: &str| format!("/v1/keys/x/{below}");
    let replace = json!({"patches": [{"op": "replace", "path": "/x", "value": 1}]});
    let message = json!({
        "algorithm": "RSA", "message": base64(b"x"), "message_type": "raw", "signature": "",
    });
    let (post, put) = (Method::POST, Method::PUT);
    let own = format!("kms/{id}");
    let cases = [
        (
            post.clone(),
            "/v1/keys".to_owned(),
            json!({"algorithm": "RSA", "size": 512}),
            "kms.create",
            "kms",
        ),
        (
            post.clone(),
            "/v1/keys/import".to_owned(),
            json!({}),
            "kms.import",
            "kms",
        ),
        (
            put.clone(),
            unknown("name"),
            json!({"name": "a"}),
            "kms.name.update",
            "kms/x",
        ),
        (
            put.clone(),
            unknown("tags"),
            json!({"tags": []}),
            "kms.tags.update",
            "kms/x",
        ),
        (
            put.clone(),
            at("metadata"),
            replace.clone(),
            "kms.metadata.update",
            &own,
        ),
        (
            put.clone(),
            at("aliases"),
            replace,
            "kms.aliases.update",
            &own,
        ),
        (
            put,
            unknown("status"),
            json!({"status": "DISABLED"}),
            "kms.status.update",
            "kms/x",
        ),
        (
            post.clone(),
            at("move"),
            json!({"engine_id": "nope"}),
            "kms.engine.update",
            &own,
        ),
        (
            Method::DELETE,
            "/v1/keys/x".to_owned(),
            Value::Null,
            "kms.delete",
            "kms/x",
        ),
        (post.clone(), at("sign"), message.clone(), "kms.sign", &own),
        (post, at("verify"), message, "kms.verify", &own),
    ];
    let mut expected = Vec::new();
    for (method, path, body, operation, resource) in cases {
        let (status, answer) = kms.change(method, &path, &body).await;
        assert!(status.is_client_error(), "{path}: {status} {answer}");
        let reason = answer["err"].as_str().unwrap();
        expected.push([operation, resource, reason].map(str::to_owned));
    }
    assert_eq!(kms.refusals().await, expected);
}

#[tokio::test]
async fn failures_are_recorded_and_what_is_away_is_not() {
    let kms = fixture().await;
    let body = json!({"algorithm": "ECDSA", "size": 256, "engine_id": FAULTY});
    kms.faulty.set(Fault::Unavailable);
    let (status, _) = kms.post("/v1/keys", body.clone()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    kms.faulty.set(Fault::Failing);
    let (status, _) = kms.post("/v1/keys", body).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let failed = ["kms.create", "kms", "crypto engine failure"].map(str::to_owned);
    assert_eq!(kms.refusals().await, [failed]);
}

#[tokio::test]
async fn what_clients_name_is_cut_and_reads_are_no_changes() {
    let kms = fixture().await;
    let long = "x".repeat(5_000);
    kms.put(&format!("/v1/keys/{long}/name"), json!({"name": "a"}))
        .await;
    kms.get(&format!("/v1/keys/{long}")).await;
    kms.get("/v1/keys?bookmark=x").await;
    let refusals = kms.refusals().await;
    let lengths: Vec<_> = refusals.iter().map(|refusal| refusal[1].len()).collect();
    assert_eq!(lengths, [256]);
}
