//! Making keys.

use axum::body::Body;
use http::{Request, StatusCode};
use lamassu_core::ids::OperationId;
use serde_json::{Value, json};

use crate::faulty::Fault;
use crate::support::{
    FAULTY, FILESYSTEM, SOFTWARE, caller, fixture, published, refusal, unbase64, without_usage,
};

#[tokio::test]
async fn a_new_key_has_every_member_and_reads_back_the_same() {
    let kms = fixture().await;
    let body = json!({
        "algorithm": "ECDSA", "size": 256, "name": "line 4 signing key",
        "tags": ["b", "a", "b"], "metadata": {"n": 30, "critical": true, "none": null},
    });
    let (status, key) = kms.post("/v1/keys", body).await;
    assert_eq!(status, StatusCode::CREATED);
    let pem = String::from_utf8(unbase64(&key["public_key"])).unwrap();
    let key_id = published(&key).key_id_sha256_hex();
    let expected = json!({
        "pkcs11_uri": format!("pkcs11:token-id=filesystem-1;id={key_id};type=private"),
        "key_id": key_id,
        "name": "line 4 signing key",
        "aliases": [],
        "engine_id": FILESYSTEM,
        "has_private_key": true,
        "algorithm": "ECDSA",
        "size": 256,
        "public_key": key["public_key"],
        "creation_ts": "2026-03-02T09:15:27.481233Z",
        "tags": ["b", "a", "b"],
        "metadata": {"n": 30, "critical": true, "none": null},
        "status": "ACTIVE",
    });
    assert_eq!(key, expected);
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
    let read = kms.get(&format!("/v1/keys/{key_id}")).await;
    assert_eq!(read.1["usage"], json!({}));
    assert_eq!(without_usage(read), (StatusCode::OK, expected));
}

#[tokio::test]
async fn a_creation_is_told_and_audited_once() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 384).await;
    let subject = format!("kms/{}", key["key_id"].as_str().unwrap());
    let events = kms.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "kms.create");
    assert_eq!(events[0]["subject"], subject);
    assert_eq!(
        events[0]["source"],
        "source://lamassu.io/ctx/source/service/kms"
    );
    assert_eq!(events[0]["data"], key);
    let audited = kms.audited().await;
    assert_eq!(
        audited,
        [["kms.create".to_owned(), subject, "done".to_owned()]]
    );
}

#[tokio::test]
async fn what_is_missing_has_its_default() {
    let kms = fixture().await;
    for body in [
        r#"{"algorithm":"ECDSA","size":"256"}"#,
        r#"{"ALGORITHM":"ECDSA","Size":256,"tags":null,"metadata":null,"name":null,"x":1} trailing"#,
    ] {
        let (status, key) = kms.post_text("/v1/keys", body).await;
        assert_eq!(status, StatusCode::CREATED, "{key}");
        assert_eq!(key["size"], 256);
        assert_eq!(key["name"], key["key_id"]);
        assert_eq!(key["tags"], json!([]));
        assert_eq!(key["metadata"], json!({}));
        assert_eq!(key["engine_id"], FILESYSTEM);
    }
}

#[tokio::test]
async fn every_kind_of_key_can_be_made_in_both_engines() {
    let kms = fixture().await;
    let kinds = [
        ("RSA", 2048),
        ("ECDSA", 224),
        ("ECDSA", 256),
        ("ECDSA", 384),
        ("ECDSA", 521),
        ("Ed25519", 256),
        ("ML-DSA", 44),
        ("ML-DSA", 65),
        ("ML-DSA", 87),
    ];
    for engine in [FILESYSTEM, SOFTWARE] {
        for (algorithm, size) in kinds {
            let key = kms.made(engine, algorithm, size).await;
            assert_eq!(key["algorithm"], algorithm);
            assert_eq!(key["size"], size);
            assert_eq!(key["engine_id"], engine);
        }
    }
    assert_eq!(kms.n_key_files(), kinds.len());
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_its_text() {
    let kms = fixture().await;
    let unmarshal = |got: &str| format!("json: cannot unmarshal {got} into field size of type int");
    let unsupported = "key size 512 is not supported for key type RSA in engine Golang";
    let cases = [
        ("", "EOF".to_owned()),
        (r#"{"algorithm":"RSA""#, "unexpected EOF".to_owned()),
        ("{}", "struct validation error".to_owned()),
        (
            r#"{"size":256,"name":"x"}"#,
            "struct validation error".to_owned(),
        ),
        (
            r#"{"algorithm":"RSA","name":"x"}"#,
            "struct validation error".to_owned(),
        ),
        (
            r#"{"algorithm":"RSA","size":0}"#,
            "struct validation error".to_owned(),
        ),
        (
            r#"{"algorithm":"RSA","size":null}"#,
            "struct validation error".to_owned(),
        ),
        (
            r#"{"algorithm":"RSA","size":"0"}"#,
            "struct validation error".to_owned(),
        ),
        (r#"{"algorithm":"RSA","size":"big"}"#, unmarshal("string")),
        (r#"{"algorithm":"RSA","size":""}"#, unmarshal("string")),
        (r#"{"algorithm":"RSA","size":-2048}"#, unmarshal("number")),
        (r#"{"algorithm":"RSA","size":2048.5}"#, unmarshal("number")),
        (
            r#"{"algorithm":"RSA","size":5000000000}"#,
            unmarshal("number"),
        ),
        (r#"{"algorithm":"RSA","size":true}"#, unmarshal("bool")),
        (r#"{"algorithm":"RSA","size":[2048]}"#, unmarshal("array")),
        (
            r#"{"algorithm":"RSA","size":{"bits":[1]}}"#,
            unmarshal("object"),
        ),
        (
            r#"{"algorithm":"RSA","size":2048,"engine_id":"nope"}"#,
            "crypto engine not found".to_owned(),
        ),
        (r#"{"algorithm":"RSA","size":512}"#, unsupported.to_owned()),
        (
            r#"{"algorithm":"ECDSA","size":123}"#,
            "key size 123 is not supported for key type ECDSA in engine Golang".to_owned(),
        ),
        (
            r#"{"algorithm":"Ed25519","size":255,"engine_id":"software-1"}"#,
            "key size 255 is not supported for key type Ed25519 in engine Software".to_owned(),
        ),
        (
            r#"{"algorithm":"ML-DSA","size":50}"#,
            "key size 50 is not supported for key type ML-DSA in engine Golang".to_owned(),
        ),
        (
            r#"{"algorithm":"FOO","size":256}"#,
            "key type FOO is not supported in engine Golang".to_owned(),
        ),
        (
            r#"{"algorithm":"rsa","size":2048}"#,
            "key type rsa is not supported in engine Golang".to_owned(),
        ),
    ];
    for (body, text) in cases {
        let refused = kms.post_text("/v1/keys", body).await;
        assert_eq!(refused, refusal(400, &text), "{body}");
    }
    assert_eq!(kms.n_rows().await, 0);
    assert_eq!(kms.events().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_engine_that_fails_leaves_no_trace() {
    let kms = fixture().await;
    let body = json!({"algorithm": "ECDSA", "size": 256, "engine_id": FAULTY});
    for (fault, status, text) in [
        (Fault::Failing, 500, "crypto engine failure"),
        (Fault::Unavailable, 503, "crypto engine unavailable"),
        (Fault::Busy, 503, "key generation queue is full"),
    ] {
        kms.faulty.set(fault);
        let refused = kms.post("/v1/keys", body.clone()).await;
        assert_eq!(refused, refusal(status, text));
    }
    // While it fails, it cannot be asked to forget what it may have begun.
    assert_eq!(kms.get("/v1/keys").await.1["list"], json!([]));
    kms.faulty.set(Fault::None);
    kms.reap_after(time::Duration::minutes(11)).await;
    assert_eq!(kms.n_rows().await, 0);
    assert_eq!(kms.faulty.n_keys().await, 0);
    assert_eq!(kms.events().await, Vec::<Value>::new());
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let kms = fixture().await;
    kms.faulty.set(Fault::Busy);
    let body = json!({"algorithm": "RSA", "size": 4096, "engine_id": FAULTY}).to_string();
    let request = Request::post("/v1/keys").body(Body::from(body)).unwrap();
    let (status, headers, _) = kms.exchange(request).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "2");
}

#[tokio::test]
async fn an_operation_makes_one_key() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    let key = kms.create_for(&operation).await.unwrap();
    let again = kms.create_for(&operation).await.unwrap();
    assert_eq!(again, key);
    assert_eq!(kms.faulty.n_keys().await, 1);
    assert_eq!(kms.told().await.len(), 1);
}

#[tokio::test]
async fn an_operation_under_way_is_not_begun_a_second_time() {
    let kms = fixture().await;
    kms.faulty.set(Fault::Gated);
    let operation = OperationId::fresh();
    let first = kms.create_for(&operation);
    let second = async {
        kms.faulty.generation_begun().await;
        let refused = kms.create_for(&operation).await.unwrap_err();
        kms.faulty.open_gate();
        refused.to_string()
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second, "key generation queue is full");
    assert_eq!(first.unwrap().name, "for an operation");
    assert_eq!(kms.faulty.n_keys().await, 1);
}

#[tokio::test]
async fn an_operation_that_cannot_name_a_key_is_refused() {
    let kms = fixture().await;
    let operation = OperationId::from("../outside");
    let refused = kms.create_for(&operation).await.unwrap_err();
    assert_eq!(refused.to_string(), "struct validation error");
    let refused = kms
        .service
        .discard(&caller(), &operation)
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "struct validation error");
}
