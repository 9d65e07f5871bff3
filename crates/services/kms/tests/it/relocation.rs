//! Moving keys between engines.

use std::sync::Arc;

use http::StatusCode;
use lamassu_core::ids::{EngineId, SerialNumber};
use lamassu_core::kms::KmsService as _;
use lamassu_crypto::Message;
use lamassu_db::sql;
use serde_json::{Value, json};
use time::Duration;

use crate::faulty::Fault;
use crate::support::{
    FAULTY, FILESYSTEM, Fixture, SOFTWARE, caller, fixture, key_ref, refusal, without_usage,
};

async fn move_to(kms: &Fixture, named: &str, engine: &str) -> (StatusCode, Value) {
    let path = format!("/v1/keys/{named}/move");
    kms.post(&path, json!({"engine_id": engine})).await
}

async fn signs(kms: &Fixture, named: &str) -> (StatusCode, Value) {
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    kms.post(&format!("/v1/keys/{named}/sign"), body).await
}

async fn n_leftovers(kms: &Fixture) -> usize {
    let query = sql("SELECT handle FROM kms_key_leftover", vec![]);
    kms.db.rows(query).await.unwrap().len()
}

#[tokio::test]
async fn a_moved_key_is_the_same_key_in_another_engine() {
    let kms = fixture().await;
    let before = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = before["key_id"].as_str().unwrap();
    kms.alias(id, "line-4").await;
    kms.alias(id, "line-5").await;
    let serial = SerialNumber::parse("5c3f").unwrap();
    let key = key_ref(id);
    kms.service
        .bind_certificate(&caller(), &key, &serial)
        .await
        .unwrap();
    let held = kms.service.signer(&caller(), &key).await.unwrap();
    let (_, previous) = without_usage(kms.get(&format!("/v1/keys/{id}")).await);

    let (status, moved) = move_to(&kms, "line-4", FAULTY).await;
    assert_eq!(status, StatusCode::OK, "{moved}");
    let mut expected = previous.clone();
    expected["engine_id"] = json!(FAULTY);
    expected["pkcs11_uri"] = json!(format!("pkcs11:token-id=faulty-1;id={id};type=private"));
    assert_eq!(moved, expected);
    assert_eq!((kms.n_key_files(), kms.faulty.n_keys().await), (0, 1));
    assert_eq!(n_leftovers(&kms).await, 0);
    let old_uri = before["pkcs11_uri"].as_str().unwrap();
    for named in [id, old_uri, "line-4", "line-5"] {
        let read = kms.get(&format!("/v1/keys/{named}")).await;
        assert_eq!(without_usage(read), (StatusCode::OK, expected.clone()));
        assert_eq!(signs(&kms, named).await.0, StatusCode::OK, "{named}");
    }
    // Whoever got a signer before the move signs on.
    let scheme = held.public_key().default_scheme();
    let signature = held.sign(scheme, Message::Raw(b"x")).await.unwrap();
    held.public_key()
        .verify(scheme, Message::Raw(b"x"), &signature)
        .unwrap();
    let events = kms.events().await;
    let event = events
        .iter()
        .find(|event| event["type"] == "kms.engine.update")
        .unwrap();
    assert_eq!(event["subject"], "kms/line-4");
    assert_eq!(
        event["data"],
        json!({"previous": previous, "updated": expected})
    );
    // There and back again, past a restart.
    assert_eq!(move_to(&kms, id, FILESYSTEM).await.0, StatusCode::OK);
    let kms = kms.restarted().await;
    assert_eq!((kms.n_key_files(), kms.faulty.n_keys().await), (1, 0));
    assert_eq!(signs(&kms, "line-5").await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_kind_of_key_can_be_moved() {
    let kms = fixture().await;
    for (algorithm, size) in [
        ("RSA", 2048),
        ("ECDSA", 224),
        ("ECDSA", 521),
        ("Ed25519", 256),
        ("ML-DSA", 44),
        ("ML-DSA", 87),
    ] {
        let key = kms.made(SOFTWARE, algorithm, size).await;
        let id = key["key_id"].as_str().unwrap();
        let (status, moved) = move_to(&kms, id, FILESYSTEM).await;
        assert_eq!(status, StatusCode::OK, "{algorithm} {size}: {moved}");
        assert_eq!(moved["public_key"], key["public_key"]);
    }
}

#[tokio::test]
async fn a_key_that_is_there_stays_and_an_unknown_engine_is_refused() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = key["key_id"].as_str().unwrap();
    assert_eq!(
        move_to(&kms, id, FILESYSTEM).await,
        (StatusCode::OK, key.clone())
    );
    let refused = move_to(&kms, id, "nope").await;
    assert_eq!(refused, refusal(400, "crypto engine not found"));
    // The engine of this key keeps its keys for itself.
    let kept = kms.made_id(FAULTY).await;
    kms.faulty.set(Fault::KeepsKeys);
    let refused = move_to(&kms, &kept, FILESYSTEM).await;
    let text = "operation not supported by crypto engine faulty-1";
    assert_eq!(refused, refusal(409, text));
    assert_eq!(n_leftovers(&kms).await, 0);
}

#[tokio::test]
async fn a_target_that_fails_or_mixes_keys_up_does_not_get_the_key() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = key["key_id"].as_str().unwrap();
    for (fault, status, text) in [
        (Fault::MixingUp, 500, "failed to import private key"),
        (Fault::Failing, 500, "failed to import private key"),
        (Fault::Unavailable, 503, "crypto engine unavailable"),
    ] {
        kms.faulty.set(fault);
        assert_eq!(move_to(&kms, id, FAULTY).await, refusal(status, text));
        kms.faulty.set(Fault::None);
        kms.reap_after(Duration::minutes(10)).await;
        assert_eq!((n_leftovers(&kms).await, kms.faulty.n_keys().await), (0, 0));
        let read = kms.get(&format!("/v1/keys/{id}")).await;
        assert_eq!(without_usage(read), (StatusCode::OK, key.clone()));
        assert_eq!(signs(&kms, id).await.0, StatusCode::OK);
    }
    assert_eq!(
        kms.told()
            .await
            .iter()
            .filter(|(event, _)| event == "kms.engine.update")
            .count(),
        0
    );
}

#[tokio::test]
async fn a_move_that_a_crash_interrupted_leaves_the_key_where_it_was() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    kms.faulty.set(Fault::SilentAfterMaking);
    let service = Arc::clone(&kms.kms);
    let (key, target) = (key_ref(&id), EngineId::from(FAULTY));
    let moving =
        tokio::spawn(async move { service.move_key(&caller(), &key, &target).await.is_ok() });
    kms.faulty.generation_begun().await;
    moving.abort();
    assert!(moving.await.unwrap_err().is_cancelled());
    kms.faulty.set(Fault::None);
    let kms = kms.restarted().await;
    assert_eq!(kms.faulty.n_keys().await, 1);
    assert_eq!(signs(&kms, &id).await.0, StatusCode::OK);
    kms.reap_after(Duration::minutes(9)).await;
    assert_eq!((n_leftovers(&kms).await, kms.faulty.n_keys().await), (1, 1));
    kms.reap_after(Duration::minutes(1)).await;
    assert_eq!((n_leftovers(&kms).await, kms.faulty.n_keys().await), (0, 0));
    assert_eq!(signs(&kms, &id).await.0, StatusCode::OK);
    // And now it can be moved.
    assert_eq!(move_to(&kms, &id, FAULTY).await.0, StatusCode::OK);
    assert_eq!((kms.n_key_files(), kms.faulty.n_keys().await), (0, 1));
}

#[tokio::test]
async fn what_the_old_engine_does_not_forget_is_forgotten_later() {
    let kms = fixture().await;
    let id = kms.made_id(FAULTY).await;
    kms.faulty.set(Fault::DeletionFails);
    let (status, moved) = move_to(&kms, &id, FILESYSTEM).await;
    assert_eq!(
        (status, &moved["engine_id"]),
        (StatusCode::OK, &json!(FILESYSTEM))
    );
    assert_eq!((kms.faulty.n_keys().await, n_leftovers(&kms).await), (1, 1));
    assert_eq!(signs(&kms, &id).await.0, StatusCode::OK);
    kms.reap_after(Duration::minutes(2)).await;
    assert_eq!((kms.faulty.n_keys().await, n_leftovers(&kms).await), (1, 1));
    // What is left there does not stand in the way of moving back.
    assert_eq!(move_to(&kms, &id, FAULTY).await.0, StatusCode::OK);
    kms.faulty.set(Fault::None);
    kms.reap_after(Duration::minutes(2)).await;
    assert_eq!((kms.faulty.n_keys().await, n_leftovers(&kms).await), (1, 0));
    assert_eq!(kms.n_key_files(), 0);
    assert_eq!(signs(&kms, &id).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_moves_at_once_one_wins_and_nothing_is_left() {
    let kms = Arc::new(fixture().await);
    let id = kms.made_id(FILESYSTEM).await;
    let begin = |engine: &'static str| {
        let (kms, id) = (Arc::clone(&kms), id.clone());
        tokio::spawn(async move { move_to(&kms, &id, engine).await.0 })
    };
    let (one, other) = tokio::join!(begin(SOFTWARE), begin(FAULTY));
    let statuses = [one.unwrap(), other.unwrap()];
    assert!(statuses.contains(&StatusCode::OK), "{statuses:?}");
    assert_eq!((kms.n_key_files(), n_leftovers(&kms).await), (0, 0));
    assert_eq!(signs(&kms, &id).await.0, StatusCode::OK);
}
