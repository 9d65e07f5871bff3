//! What starts, crashes and restarts leave.

use std::sync::Arc;

use http::StatusCode;
use lamassu_core::crypto_engine::CryptoEngine;
use lamassu_core::ids::{EngineId, OperationId, SerialNumber};
use lamassu_core::kms::{CreateKey, EngineStatus, KmsService as _};
use lamassu_db::{NextRun, params, sql};
use lamassu_kms::{Kms, KmsPorts, UnavailableEngine};
use serde_json::{Value, json};
use time::Duration;

use crate::faulty::Fault;
use crate::support::{
    FAULTY, FILESYSTEM, SOFTWARE, START, base64, caller, fixture, key_ref, p256_for, refusal,
    software, start, without_usage,
};

#[tokio::test]
async fn a_key_that_a_crash_left_half_made_is_nowhere_and_is_removed_in_time() {
    let kms = fixture().await;
    kms.faulty.set(Fault::SilentAfterMaking);
    let operation = OperationId::fresh();
    let service = Arc::clone(&kms.kms);
    let asked = p256_for(&operation);
    let making = tokio::spawn(async move { service.create_key(&caller(), asked).await.is_ok() });
    kms.faulty.generation_begun().await;
    making.abort();
    assert!(making.await.unwrap_err().is_cancelled());
    kms.faulty.set(Fault::None);
    let kms = kms.restarted().await;

    assert_eq!(kms.get("/v1/keys").await.1["list"], json!([]));
    assert_eq!(kms.get("/v1/stats").await.1["total_keys"], 0);
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (1, 1));
    let next = kms.reap_after(Duration::minutes(9)).await;
    assert_eq!(next, NextRun::At(START + Duration::minutes(10)));
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (1, 1));
    let next = kms.reap_after(Duration::minutes(1)).await;
    assert_eq!(next, NextRun::At(START + Duration::minutes(20)));
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (0, 0));
    assert_eq!(kms.told().await, []);
    // The same operation begins anew.
    kms.create_for(&operation).await.unwrap();
}

#[tokio::test]
async fn whoever_knows_that_nobody_else_runs_need_not_wait() {
    let kms = fixture().await;
    kms.faulty.set(Fault::SilentAfterMaking);
    let service = Arc::clone(&kms.kms);
    let asked = p256_for(&OperationId::fresh());
    let making = tokio::spawn(async move { service.create_key(&caller(), asked).await.is_ok() });
    kms.faulty.generation_begun().await;
    making.abort();
    assert!(making.await.unwrap_err().is_cancelled());
    kms.faulty.set(Fault::None);
    let id = kms.made_id(FAULTY).await;
    kms.faulty.set(Fault::Failing);
    kms.delete(&format!("/v1/keys/{id}")).await;
    kms.faulty.set(Fault::None);
    let kms = kms.restarted().await;

    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (2, 2));
    // What this process may have begun itself is left alone.
    let before = kms.db.now() - Duration::microseconds(1);
    kms.kms.settle_unfinished(before).await.unwrap();
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (2, 2));
    // An engine that fails meanwhile is asked again soon, not when others would look.
    kms.faulty.set(Fault::Failing);
    kms.kms.settle_unfinished(kms.db.now()).await.unwrap();
    assert_eq!(kms.n_rows().await, 2);
    kms.faulty.set(Fault::None);
    kms.reap_after(Duration::seconds(10)).await;
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (0, 0));
}

#[tokio::test]
async fn a_deletion_that_a_crash_interrupted_is_finished() {
    let kms = fixture().await;
    let id = kms.made_id(FAULTY).await;
    kms.faulty.set(Fault::Failing);
    kms.delete(&format!("/v1/keys/{id}")).await;
    kms.faulty.set(Fault::None);
    let kms = kms.restarted().await;
    kms.reap_after(Duration::seconds(59)).await;
    assert_eq!(kms.n_rows().await, 1);
    kms.reap_after(Duration::seconds(1)).await;
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (0, 0));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_holds_up_no_other() {
    let kms = fixture().await;
    let broken = kms.made_id(FAULTY).await;
    let other = kms.made_id(FAULTY).await;
    let volatile = kms.made_id(SOFTWARE).await;
    kms.faulty.set(Fault::Failing);
    for id in [&broken, &other] {
        kms.delete(&format!("/v1/keys/{id}")).await;
    }
    kms.faulty.set(Fault::None);
    for (column, id) in [("state", &broken), ("public_key", &volatile)] {
        let text = format!("UPDATE kms_key SET {column} = 'odd' WHERE key_id = $1");
        kms.execute(sql(text, params![id])).await;
    }
    // Not even the start.
    let kms = kms.restarted().await;
    kms.reap_after(Duration::minutes(1)).await;
    assert_eq!((kms.n_rows().await, kms.faulty.n_keys().await), (2, 1));
}

#[tokio::test]
async fn keys_in_files_survive_a_restart() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 521).await;
    let kms = kms.restarted().await;
    let path = format!("/v1/keys/{}", key["key_id"].as_str().unwrap());
    assert_eq!(without_usage(kms.get(&path).await), (StatusCode::OK, key));
    let body =
        json!({"algorithm": "ECDSA_SHA_512", "message": base64(b"x"), "message_type": "raw"});
    assert_eq!(
        kms.post(&format!("{path}/sign"), body).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn keys_in_memory_end_with_the_process_unless_certificates_use_them() {
    let kms = fixture().await;
    let unused = kms.made_id(SOFTWARE).await;
    let used = kms.made(SOFTWARE, "ECDSA", 256).await;
    let used_id = used["key_id"].as_str().unwrap();
    let serial = SerialNumber::parse("5c3f").unwrap();
    kms.service
        .bind_certificate(&caller(), &key_ref(used_id), &serial)
        .await
        .unwrap();
    let told_before = kms.told().await.len();

    let kms = kms.restarted().await;
    let gone = kms.get(&format!("/v1/keys/{unused}")).await;
    assert_eq!(gone, refusal(404, "key not found"));
    let (_, lost) = kms.get(&format!("/v1/keys/{used_id}")).await;
    assert_eq!(lost["has_private_key"], false);
    let uri = format!("pkcs11:token-id=software-1;id={used_id};type=public");
    assert_eq!(lost["pkcs11_uri"], uri);
    let told = kms.told().await.split_off(told_before);
    assert_eq!(told, [("kms.delete".to_owned(), format!("kms/{unused}"))]);

    // A second restart has nothing to tell, and the lost key does not sign but verifies.
    let kms = kms.restarted().await;
    assert_eq!(kms.told().await.len(), told_before + 1);
    let path = format!("/v1/keys/{used_id}");
    let body = json!({
        "algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw", "signature": "",
    });
    let refused = kms.post(&format!("{path}/sign"), body.clone()).await;
    assert_eq!(refused, refusal(500, "could not get signing key"));
    let verified = kms.post(&format!("{path}/verify"), body).await;
    assert_eq!(verified, (StatusCode::OK, json!({"valid": false})));
}

#[tokio::test]
async fn the_keys_of_a_missing_engine_are_shown_and_counted_but_do_not_sign() {
    let kms = fixture().await;
    let id = kms.made_id(FAULTY).await;
    let filesystem = kms.filesystem();
    let kms = kms.restarted_with(vec![filesystem]).await;
    let path = format!("/v1/keys/{id}");
    assert_eq!(kms.get(&path).await.0, StatusCode::OK);
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    let refused = kms.post(&format!("{path}/sign"), body).await;
    assert_eq!(refused, refusal(500, "engine not found"));
    let (_, stats) = kms.get("/v1/stats").await;
    let per_engine = json!({FAULTY: 1, FILESYSTEM: 0});
    assert_eq!(stats["keys_distribution_per_engine"], per_engine);
}

#[tokio::test]
async fn starting_on_an_empty_store_tells_nothing() {
    let kms = fixture().await.restarted().await;
    assert_eq!(kms.events().await, Vec::<Value>::new());
    assert_eq!(kms.audited().await.len(), 0);
}

#[tokio::test]
async fn a_service_without_its_default_engine_does_not_start() {
    let kms = fixture().await;
    let refused = start(&kms.db, vec![Arc::new(software(SOFTWARE))])
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "could not find the default crypto engine"
    );
}

#[tokio::test]
async fn two_engines_of_one_id_do_not_start() {
    let kms = fixture().await;
    let twins: Vec<Arc<dyn CryptoEngine>> = vec![
        Arc::new(software(FILESYSTEM)),
        Arc::new(software(FILESYSTEM)),
    ];
    let refused = start(&kms.db, twins).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "two crypto engines have the id filesystem-1"
    );
}

#[tokio::test]
async fn an_engine_that_did_not_open_is_lived_without() {
    let kms = fixture().await;
    let ports = KmsPorts {
        db: kms.db.clone(),
        engines: vec![kms.filesystem()],
        default_engine: EngineId::from(FILESYSTEM),
        unavailable: vec![UnavailableEngine {
            id: EngineId::from("hsm-1"),
            engine_type: "pkcs11".to_owned(),
            cause: "no token".into(),
        }],
    };
    let service = Kms::new(ports).await.unwrap();
    let engines = service.engines(&caller()).await.unwrap();
    let told: Vec<_> = engines
        .iter()
        .map(|engine| (engine.id.as_str(), engine.health.status))
        .collect();
    let expected = [
        (FILESYSTEM, EngineStatus::Ok),
        ("hsm-1", EngineStatus::Unopened),
    ];
    assert_eq!(told, expected);
    assert_eq!(engines[1].engine_type, "PKCS11");
    assert_eq!(engines[1].supported_key_types, []);
    // The process is ready: the others work.
    assert_eq!(service.check_engines().await, Ok(()));
    let asked = CreateKey {
        engine_id: EngineId::from("hsm-1"),
        ..p256_for(&OperationId::fresh())
    };
    let refused = service.create_key(&caller(), asked).await.unwrap_err();
    assert_eq!(refused.to_string(), "crypto engine hsm-1 did not open");
}
