//! How often keys are used.

use std::sync::atomic::{AtomicI64, Ordering};

use http::StatusCode;
use lamassu_crypto::Message;
use lamassu_db::{PostgresOptions, sql};
use lamassu_testing::{Cut, PostgresProxy, PostgresServer, TestDatabase};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{FAULTY, FILESYSTEM, Fixture, SOFTWARE, caller, fixture, fixture_on, key_ref};

async fn usage(kms: &Fixture, id: &str) -> Value {
    let (status, mut key) = kms.get(&format!("/v1/keys/{id}")).await;
    assert_eq!(status, StatusCode::OK, "{key}");
    key["usage"].take()
}

async fn sign(kms: &Fixture, id: &str) {
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    let (status, _) = kms.post(&format!("/v1/keys/{id}/sign"), body).await;
    assert_eq!(status, StatusCode::OK);
}

async fn n_buckets(kms: &Fixture) -> usize {
    let query = sql("SELECT key_id FROM kms_key_usage", vec![]);
    kms.db.rows(query).await.unwrap().len()
}

#[tokio::test]
async fn uses_are_counted_per_operation_and_survive_a_restart() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    assert_eq!(usage(&kms, &id).await, json!({}));
    sign(&kms, &id).await;
    kms.clock.advance(Duration::seconds(1));
    let signer = kms.service.signer(&caller(), &key_ref(&id)).await.unwrap();
    let scheme = signer.public_key().default_scheme();
    signer
        .sign(scheme, Message::Raw(b"platform"))
        .await
        .unwrap();
    let signed = json!({"sign": {"count": 2, "last_used_ts": "2026-03-02T09:15:28.481233Z"}});
    assert_eq!(usage(&kms, &id).await, signed);
    assert_eq!(n_buckets(&kms).await, 0);
    kms.kms.flush_usage().await.unwrap();
    assert_eq!((usage(&kms, &id).await, n_buckets(&kms).await), (signed, 1));

    // A day later there is another row; what was refused does not count.
    kms.clock.advance(Duration::days(1));
    sign(&kms, &id).await;
    let body = json!({
        "algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw", "signature": "",
    });
    kms.post(&format!("/v1/keys/{id}/verify"), body.clone())
        .await;
    kms.post(&format!("/v1/keys/{id}/sign"), json!({"algorithm": "x"}))
        .await;
    kms.kms.flush_usage().await.unwrap();
    kms.kms.flush_usage().await.unwrap();
    let kms = kms.restarted().await;
    let last = "2026-03-03T09:15:28.481233Z";
    let expected = json!({
        "sign": {"count": 3, "last_used_ts": last},
        "verify": {"count": 1, "last_used_ts": last},
    });
    assert_eq!(usage(&kms, &id).await, expected);
    assert_eq!(n_buckets(&kms).await, 3);
    // Lists and events do without.
    let (_, page) = kms.get("/v1/keys").await;
    assert_eq!(page["list"][0].get("usage"), None);
}

#[tokio::test]
async fn uses_follow_a_key_that_moves_and_end_with_it() {
    let kms = fixture().await;
    let id = kms.made_id(SOFTWARE).await;
    sign(&kms, &id).await;
    kms.kms.flush_usage().await.unwrap();
    let body = json!({"engine_id": FAULTY});
    let (status, _) = kms.post(&format!("/v1/keys/{id}/move"), body).await;
    assert_eq!(status, StatusCode::OK);
    sign(&kms, &id).await;
    assert_eq!(usage(&kms, &id).await["sign"]["count"], 2);
    kms.delete(&format!("/v1/keys/{id}")).await;
    kms.kms.flush_usage().await.unwrap();
    assert_eq!(n_buckets(&kms).await, 0);
}

#[tokio::test]
async fn what_two_processes_count_is_added_up() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    sign(&kms, &id).await;
    kms.kms.flush_usage().await.unwrap();
    let kms = kms.restarted().await;
    sign(&kms, &id).await;
    sign(&kms, &id).await;
    kms.kms.flush_usage().await.unwrap();
    assert_eq!(usage(&kms, &id).await["sign"]["count"], 3);
    assert_eq!(n_buckets(&kms).await, 1);
}

/// Each use is seen from the moment it is counted, and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_are_seen_once_while_they_are_being_stored() {
    const USES: i64 = 1_000;
    let kms = fixture().await;
    let id = kms.made_id(SOFTWARE).await;
    let signer = kms.service.signer(&caller(), &key_ref(&id)).await.unwrap();
    let scheme = signer.public_key().default_scheme();
    let (begun, ended) = (AtomicI64::new(0), AtomicI64::new(0));
    let use_it = async {
        for _ in 0..USES {
            begun.fetch_add(1, Ordering::SeqCst);
            signer.sign(scheme, Message::Raw(b"x")).await.unwrap();
            ended.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    };
    let store = async {
        while ended.load(Ordering::SeqCst) < USES {
            kms.kms.flush_usage().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let look = async {
        while ended.load(Ordering::SeqCst) < USES {
            let least = ended.load(Ordering::SeqCst);
            let usage = usage(&kms, &id).await;
            let seen = usage["sign"]["count"].as_i64().unwrap_or(0);
            let most = begun.load(Ordering::SeqCst);
            assert!(
                (least..=most).contains(&seen),
                "{seen}, not {least} to {most}"
            );
        }
    };
    tokio::join!(use_it, store, look);
}

/// On a server that is lost while it commits, so that nobody knows what it has stored.
#[tokio::test]
async fn what_is_perhaps_stored_is_counted_once() {
    if !TestDatabase::fresh().is_postgres() {
        return; // Only a connection can be lost.
    }
    for cut in [Cut::AnswerAndBeyond, Cut::Before] {
        let server = PostgresServer::shared();
        let proxy = PostgresProxy::start(server.port()).await.unwrap();
        let options = PostgresOptions {
            hosts: vec![("127.0.0.1".to_owned(), proxy.port())],
            ..server.fresh_schema()
        };
        let kms = fixture_on(TestDatabase::Postgres(Box::new(options))).await;
        let id = kms.made_id(FILESYSTEM).await;
        sign(&kms, &id).await;
        proxy.cut_at_commit(cut);
        let flushed = kms.kms.flush_usage().await;
        assert_eq!(flushed.is_err(), cut == Cut::AnswerAndBeyond, "{flushed:?}");
        assert!(proxy.was_cut());
        proxy.come_back();
        assert_eq!(usage(&kms, &id).await["sign"]["count"], 1, "{cut:?}");
        wait_until_stored(&kms).await;
        sign(&kms, &id).await;
        wait_until_stored(&kms).await;
        assert_eq!(usage(&kms, &id).await["sign"]["count"], 2, "{cut:?}");
        let kms = kms.restarted().await;
        assert_eq!(usage(&kms, &id).await["sign"]["count"], 2, "{cut:?}");
        let batches = sql("SELECT id FROM kms_key_usage_batch", vec![]);
        assert_eq!(kms.db.rows(batches).await.unwrap().len(), 1, "{cut:?}");
    }
}

async fn wait_until_stored(kms: &Fixture) {
    let stored = async { while kms.kms.flush_usage().await.is_err() {} };
    let deadline = std::time::Duration::from_secs(30);
    tokio::time::timeout(deadline, stored)
        .await
        .expect("stored");
}
