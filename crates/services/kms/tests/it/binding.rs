//! Which certificates use a key.

use lamassu_core::ids::{OperationId, SerialNumber};
use lamassu_core::kms::{BOUND_RESOURCES, CreateKey, made_for_request};
use lamassu_db::{params, sql};
use serde_json::{Value, json};

use crate::support::{FILESYSTEM, Fixture, caller, fixture, key_ref, p256_for};

async fn bind(kms: &Fixture, named: &str, serial: &str) -> Result<(), String> {
    let serial = SerialNumber::parse(serial).unwrap();
    let bound = kms
        .service
        .bind_certificate(&caller(), &key_ref(named), &serial)
        .await;
    bound.map_err(|error| error.to_string())
}

fn resource(serial: &str) -> Value {
    json!({"resource_type": "certificate", "resource_id": serial})
}

#[tokio::test]
async fn a_certificate_is_bound_once() {
    let kms = fixture().await;
    let before = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = before["key_id"].as_str().unwrap();
    kms.alias(id, "line-4").await;
    bind(&kms, "line-4", "5C:3F").await.unwrap();
    bind(&kms, id, "5c3f").await.unwrap();
    bind(&kms, id, "01").await.unwrap();
    let (_, key) = kms.get(&format!("/v1/keys/{id}")).await;
    let metadata = json!({BOUND_RESOURCES: [resource("5c3f"), resource("01")]});
    assert_eq!(key["metadata"], metadata);
    let told = kms.told().await;
    let update = |named: &str| ("kms.metadata.update".to_owned(), format!("kms/{named}"));
    assert_eq!(told[2..], [update("line-4"), update(id)]);
    let event = &kms.events().await[2];
    assert_eq!(event["data"]["previous"]["metadata"], json!({}));
    let bound = json!({BOUND_RESOURCES: [resource("5c3f")]});
    assert_eq!(event["data"]["updated"]["metadata"], bound);
    assert_eq!(event["source"], "source://lamassu.io/ctx/source/service/ca");
}

#[tokio::test]
async fn a_member_of_another_shape_is_replaced_and_the_others_stay() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let odd = json!({BOUND_RESOURCES: "mine", "owner": "plant-a"});
    let statement = sql(
        "UPDATE kms_key SET metadata = $1 WHERE key_id = $2",
        params![odd, &id],
    );
    kms.execute(statement).await;
    bind(&kms, &id, "02").await.unwrap();
    let (_, key) = kms.get(&format!("/v1/keys/{id}")).await;
    let expected = json!({BOUND_RESOURCES: [resource("02")], "owner": "plant-a"});
    assert_eq!(key["metadata"], expected);
}

#[tokio::test]
async fn the_first_certificate_takes_the_place_of_the_request_for_it() {
    let kms = fixture().await;
    let asked = CreateKey {
        metadata: made_for_request(&"plant-7".into()),
        ..p256_for(&OperationId::fresh())
    };
    let made = kms.service.create_key(&caller(), asked).await.unwrap();
    let request = json!({"resource_type": "ca_request", "resource_id": "plant-7"});
    assert_eq!(
        Value::from(made.metadata),
        json!({ BOUND_RESOURCES: [request] })
    );
    let id = made.key_id.as_str();
    bind(&kms, id, "5c3f").await.unwrap();
    let (_, key) = kms.get(&format!("/v1/keys/{id}")).await;
    let expected = json!({ BOUND_RESOURCES: [resource("5c3f")] });
    assert_eq!(key["metadata"], expected);
}

#[tokio::test]
async fn an_unknown_key_is_not_bound() {
    let kms = fixture().await;
    assert_eq!(
        bind(&kms, "unknown", "01").await,
        Err("key not found".to_owned())
    );
}

#[tokio::test]
async fn a_binding_that_is_taken_back_lets_the_key_be_destroyed() {
    let kms = fixture().await;
    let made = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = made["key_id"].as_str().unwrap();
    bind(&kms, id, "5c3f").await.unwrap();
    bind(&kms, id, "01").await.unwrap();
    let unbind = async |serial: &str| {
        let serial = SerialNumber::parse(serial).unwrap();
        let named = key_ref(id);
        let service = &kms.service;
        service.unbind_certificate(&caller(), &named, &serial).await
    };
    let delete = async || {
        let deleted = kms.service.delete_key(&caller(), &key_ref(id)).await;
        deleted.map_err(|error| error.to_string())
    };
    for _ in 0..2 {
        unbind("5C:3F").await.unwrap();
    }
    let (_, key) = kms.get(&format!("/v1/keys/{id}")).await;
    assert_eq!(
        key["metadata"],
        json!({ BOUND_RESOURCES: [resource("01")] })
    );
    let in_use = "key is in use by certificates and cannot be deleted";
    assert_eq!(delete().await, Err(in_use.to_owned()));
    unbind("01").await.unwrap();
    assert_eq!(delete().await, Ok(()));
}
