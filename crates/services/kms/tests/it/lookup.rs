//! Finding keys and engines.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use lamassu_core::kms::{KmsError, KmsService as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    FAULTY, FILESYSTEM, SOFTWARE, caller, fixture, key_ref, refusal, without_usage,
};

#[tokio::test]
async fn engines_are_shown_in_the_order_of_the_configuration() {
    let kms = fixture().await;
    let (status, engines) = kms.get("/v1/engines").await;
    assert_eq!(status, StatusCode::OK);
    let types = json!([
        {"type": "RSA", "sizes": [2048, 3072, 4096, 8192]},
        {"type": "ECDSA", "sizes": [224, 256, 384, 521]},
        {"type": "Ed25519", "sizes": [256]},
        {"type": "ML-DSA", "sizes": [44, 65, 87]},
    ]);
    let first = json!({
        "type": "GOLANG",
        "security_level": 0,
        "provider": "Golang",
        "name": "Filesystem",
        "metadata": {"site": "lab"},
        "supported_key_types": types,
        "id": FILESYSTEM,
        "default": true,
        "health": {"status": "ok"},
    });
    assert_eq!(engines[0], first);
    let shown = |engine: &Value| (engine["id"].clone(), engine["default"].clone());
    let others: Vec<_> = engines.as_array().unwrap()[1..].iter().map(shown).collect();
    assert_eq!(
        others,
        [
            (json!(SOFTWARE), json!(false)),
            (json!(FAULTY), json!(false))
        ]
    );
    assert_eq!(engines[1]["provider"], "Software");
    assert_eq!(engines[1]["metadata"], json!({}));
}

#[tokio::test]
async fn a_key_is_found_by_its_id_and_by_both_spellings_of_its_uri() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = key["key_id"].as_str().unwrap();
    let encoded = format!("pkcs11%3Atoken-id%3Dfilesystem-1%3Bid%3D{id}%3Btype%3Dprivate");
    for reference in [
        id.to_owned(),
        key["pkcs11_uri"].as_str().unwrap().to_owned(),
        encoded,
        // Only the id counts: a key may have moved.
        format!("pkcs11:type=public;id={id};token-id=elsewhere"),
    ] {
        let found = kms.get(&format!("/v1/keys/{reference}")).await;
        assert_eq!(
            without_usage(found),
            (StatusCode::OK, key.clone()),
            "{reference}"
        );
    }
}

#[tokio::test]
async fn an_alias_finds_a_key_unless_it_is_the_id_of_another() {
    let kms = fixture().await;
    let first = kms.made_id(FILESYSTEM).await;
    let second = kms.made_id(FILESYSTEM).await;
    kms.alias(&first, r#"a/b "c""#).await;
    let (_, found) = kms.get("/v1/keys/a%2Fb%20%22c%22").await;
    assert_eq!(found["key_id"], first);
    assert_eq!(found["aliases"], json!([r#"a/b "c""#]));
    kms.alias(&second, &first).await;
    let (_, found) = kms.get(&format!("/v1/keys/{first}")).await;
    assert_eq!(found["key_id"], first);
}

#[tokio::test]
async fn uris_do_not_name_aliases_and_names_find_nothing() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    kms.alias(&id, "line-4").await;
    for unknown in [
        "unknown".to_owned(),
        "a%20key".to_owned(),
        "LINE-4".to_owned(),
        id.to_uppercase(),
        "pkcs11:token-id=filesystem-1;id=line-4;type=private".to_owned(),
    ] {
        let refused = kms.get(&format!("/v1/keys/{unknown}")).await;
        assert_eq!(refused, refusal(404, "key not found"), "{unknown}");
    }
}

/// Who asks together with others, some of whom go away, is answered for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_at_the_same_time_are_answered_each() {
    let kms = fixture().await;
    let first = kms.made_id(FILESYSTEM).await;
    let second = kms.made_id(SOFTWARE).await;
    kms.alias(&first, "line-4").await;
    // An alias that is the id of another key.
    kms.alias(&first, &second).await;
    let uri = format!("pkcs11:token-id=x;id={second};type=private");
    let cases = [
        (first.as_str(), Some(&first)),
        ("line-4", Some(&first)),
        (second.as_str(), Some(&second)),
        (uri.as_str(), Some(&second)),
        ("unknown", None),
        ("pkcs11:token-id=x;id=line-4;type=private", None),
    ];
    let mut asking = Vec::new();
    for round in 0..100 {
        for (named, expected) in cases {
            let (service, key) = (Arc::clone(&kms.kms), key_ref(named));
            let found = tokio::spawn(async move { service.key(&caller(), &key).await });
            if round % 3 == 0 {
                found.abort();
            } else {
                asking.push((found, named, expected));
            }
        }
    }
    for (found, named, expected) in asking {
        let found = timeout(Duration::from_secs(30), found).await;
        let found = found.expect("nobody waits for ever").unwrap();
        match (found, expected) {
            (Ok(key), Some(id)) => assert_eq!(key.key_id.as_str(), id, "{named}"),
            (Err(KmsError::KeyNotFound), None) => {}
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_incomplete_uri_is_refused_everywhere() {
    let kms = fixture().await;
    let expected = refusal(400, "invalid id format: missing required fields");
    let uri = "/v1/keys/pkcs11:token-id=filesystem-1;type=private";
    assert_eq!(kms.get(uri).await, expected);
    assert_eq!(kms.delete(uri).await, expected);
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw", "signature": ""});
    assert_eq!(
        kms.post(&format!("{uri}/sign"), body.clone()).await,
        expected
    );
    assert_eq!(kms.post(&format!("{uri}/verify"), body).await, expected);
}

#[tokio::test]
async fn a_closed_database_is_overload_and_nothing_else() {
    let kms = fixture().await;
    kms.db.close().await;
    let (status, body) = kms.get("/v1/keys/some-key").await;
    assert_eq!((status, body), refusal(503, "storage unavailable"));
    let key = key_ref("some-key");
    let (from, all) = (caller(), 0..200);
    let all = futures_util::future::join_all(all.map(|_| kms.kms.key(&from, &key))).await;
    for refused in all {
        assert_eq!(refused.unwrap_err().to_string(), "storage unavailable");
    }
}
