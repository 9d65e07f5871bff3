//! Destroying keys.

use http::StatusCode;
use lamassu_core::ids::{OperationId, SerialNumber};
use lamassu_core::kms::{CreateKey, made_for_request};
use serde_json::json;
use time::Duration;

use crate::faulty::Fault;
use crate::support::{
    FAULTY, FILESYSTEM, SOFTWARE, caller, fixture, key_ref, p256_for, refusal, without_usage,
};

#[tokio::test]
async fn a_deleted_key_is_gone_with_its_file_and_its_row() {
    let kms = fixture().await;
    let key = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = key["key_id"].as_str().unwrap();
    let uri = key["pkcs11_uri"].as_str().unwrap();
    kms.alias(id, "line-4").await;
    let deleted = kms.delete(&format!("/v1/keys/{uri}")).await;
    assert_eq!(deleted, (StatusCode::OK, json!({"status": "deleted"})));
    for reference in [id, uri, "line-4"] {
        let path = format!("/v1/keys/{reference}");
        assert_eq!(kms.get(&path).await, refusal(404, "key not found"));
        assert_eq!(kms.delete(&path).await, refusal(404, "key not found"));
    }
    assert_eq!(kms.n_key_files(), 0);
    assert_eq!(kms.n_rows().await, 0);
}

#[tokio::test]
async fn a_deletion_is_told_with_the_callers_name_for_the_key() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    kms.alias(&id, "line-4").await;
    kms.delete("/v1/keys/line-4").await;
    let event = kms.events().await.pop().unwrap();
    assert_eq!(event["type"], "kms.delete");
    assert_eq!(event["subject"], "kms/line-4");
    assert_eq!(event["data"], json!({"Identifier": "line-4"}));
    let audited = kms.audited().await.pop().unwrap();
    assert_eq!(
        audited,
        [
            "kms.delete".to_owned(),
            format!("kms/{id}"),
            "done".to_owned()
        ]
    );
}

#[tokio::test]
async fn a_key_that_certificates_use_stays() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let serial = SerialNumber::parse("5c3f").unwrap();
    kms.service
        .bind_certificate(&caller(), &key_ref(&id), &serial)
        .await
        .unwrap();
    let refused = kms.delete(&format!("/v1/keys/{id}")).await;
    let text = "key is in use by certificates and cannot be deleted";
    assert_eq!(refused, refusal(409, text));
    assert_eq!(kms.get(&format!("/v1/keys/{id}")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_key_that_a_request_for_a_ca_waits_with_stays() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    let asked = CreateKey {
        metadata: made_for_request(&"plant-7".into()),
        ..p256_for(&operation)
    };
    let made = kms.service.create_key(&caller(), asked).await.unwrap();
    let path = format!("/v1/keys/{}", made.key_id);
    let text = "key belongs to a pending CA request and cannot be deleted";
    assert_eq!(kms.delete(&path).await, refusal(409, text));
    // Whoever withdraws the request undoes what made the key.
    kms.service.discard(&caller(), &operation).await.unwrap();
    assert_eq!(kms.get(&path).await, refusal(404, "key not found"));
}

#[tokio::test]
async fn an_engine_that_cannot_delete_keeps_the_key_as_it_was() {
    let kms = fixture().await;
    let before = kms.made(FAULTY, "ECDSA", 256).await;
    let path = format!("/v1/keys/{}", before["key_id"].as_str().unwrap());
    kms.faulty.set(Fault::CannotDelete);
    let text = "operation not supported by crypto engine faulty-1";
    assert_eq!(kms.delete(&path).await, refusal(409, text));
    assert_eq!(
        without_usage(kms.get(&path).await),
        (StatusCode::OK, before)
    );
    assert_eq!(kms.told().await.len(), 1);
    assert_eq!(kms.audited().await.pop().unwrap()[2], "refused");
}

#[tokio::test]
async fn what_an_engine_did_not_delete_is_gone_and_the_reaper_finishes() {
    let kms = fixture().await;
    let id = kms.made_id(FAULTY).await;
    let path = format!("/v1/keys/{id}");
    kms.faulty.set(Fault::Failing);
    assert_eq!(
        kms.delete(&path).await,
        refusal(500, "crypto engine failure")
    );
    assert_eq!(kms.get(&path).await, refusal(404, "key not found"));
    kms.reap_after(Duration::minutes(2)).await;
    assert_eq!(kms.faulty.n_keys().await, 1);
    kms.faulty.set(Fault::None);
    kms.reap_after(Duration::minutes(1)).await;
    assert_eq!((kms.faulty.n_keys().await, kms.n_rows().await), (0, 0));
    let told = kms.told().await.pop().unwrap();
    assert_eq!(told, ("kms.delete".to_owned(), format!("kms/{id}")));
}

#[tokio::test]
async fn a_key_whose_engine_is_not_there_is_not_deleted() {
    let kms = fixture().await;
    let id = kms.made_id(FAULTY).await;
    let filesystem = kms.filesystem();
    let kms = kms.restarted_with(vec![filesystem]).await;
    let path = format!("/v1/keys/{id}");
    assert_eq!(kms.delete(&path).await, refusal(500, "engine not found"));
    assert_eq!(kms.get(&path).await.0, StatusCode::OK);
}

#[tokio::test]
async fn discarding_an_operation_destroys_what_it_made() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    let key = kms.create_for(&operation).await.unwrap();
    kms.service.discard(&caller(), &operation).await.unwrap();
    assert_eq!((kms.faulty.n_keys().await, kms.n_rows().await), (0, 0));
    let told = kms.told().await.pop().unwrap();
    assert_eq!(
        told,
        ("kms.delete".to_owned(), format!("kms/{}", key.key_id))
    );
    // Again, and for what never was.
    kms.service.discard(&caller(), &operation).await.unwrap();
    kms.service
        .discard(&caller(), &OperationId::fresh())
        .await
        .unwrap();
    assert_eq!(kms.told().await.len(), 2);
}

#[tokio::test]
async fn discarding_an_operation_finds_a_key_that_was_moved() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    let key = kms.create_for(&operation).await.unwrap();
    for engine in [FILESYSTEM, SOFTWARE] {
        let path = format!("/v1/keys/{}/move", key.key_id);
        let (status, moved) = kms.post(&path, json!({"engine_id": engine})).await;
        assert_eq!(status, StatusCode::OK, "{moved}");
        // To the operation it is still the key that it made.
        let again = kms.create_for(&operation).await.unwrap();
        assert_eq!(again.key_id, key.key_id);
    }
    kms.service.discard(&caller(), &operation).await.unwrap();
    assert_eq!(kms.n_rows().await, 0);
}

#[tokio::test]
async fn discarding_a_key_in_the_making_leaves_nothing_of_it() {
    let kms = fixture().await;
    kms.faulty.set(Fault::Gated);
    let operation = OperationId::fresh();
    let making = kms.create_for(&operation);
    let discarding = async {
        kms.faulty.generation_begun().await;
        kms.service.discard(&caller(), &operation).await.unwrap();
        kms.faulty.open_gate();
    };
    let (made, ()) = tokio::join!(making, discarding);
    assert_eq!(made.unwrap_err().to_string(), "key not found");
    assert_eq!((kms.faulty.n_keys().await, kms.n_rows().await), (0, 0));
    assert_eq!(kms.told().await, []);
}

#[tokio::test]
async fn discarding_spares_a_key_that_certificates_use() {
    let kms = fixture().await;
    let operation = OperationId::fresh();
    let key = kms.create_for(&operation).await.unwrap();
    let serial = SerialNumber::parse("01").unwrap();
    let named = key_ref(key.key_id.as_str());
    kms.service
        .bind_certificate(&caller(), &named, &serial)
        .await
        .unwrap();
    let refused = kms
        .service
        .discard(&caller(), &operation)
        .await
        .unwrap_err();
    let text = "key is in use by certificates and cannot be deleted";
    assert_eq!(refused.to_string(), text);
}
