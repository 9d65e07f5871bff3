//! Keys that several CAs, certificates and requests use: the end of one leaves the key to the others; and
//! names of keys that are those of other ones.

use http::{Method, StatusCode};
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::KmsService as _;
use lamassu_core::patch::PatchOperation;
use lamassu_crypto::{PrivateKey, PublicKey};
use lamassu_db::{WriteSet, params, sql};
use serde_json::{Value, json};

use crate::support::{
    Foreign, ForeignPlan, World, ask, caller, csr, device_profile, over_real_kms, p256, root_body,
    x509,
};

/// What certificates made elsewhere call their key.
const NAME: [u8; 20] = [0xab; 20];

async fn import(world: &World, id: &str, ca: &Foreign) -> Value {
    let body = json!({ "id": id, "ca": ca.wire(), "private_key": ca.key_wire() });
    let answer = world.post("/v1/cas/import", body).await;
    answer.with(StatusCode::CREATED)
}

async fn delete(world: &World, id: &str) {
    let body = json!({ "status": "EXPIRED" });
    let answer = world.post(&format!("/v1/cas/{id}/status"), body).await;
    answer.with(StatusCode::CREATED);
    let answer = world.delete(&format!("/v1/cas/{id}")).await;
    answer.with(StatusCode::OK);
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.open_cascades().await, 0);
}

fn key_of(certificate: &Value) -> String {
    x509(certificate).public_key().unwrap().key_id_sha256_hex()
}

/// Name of the key, issuer and serial number are up to whoever makes a certificate elsewhere.
#[tokio::test]
async fn the_key_of_another_ca_outlives_a_deleted_one_whatever_its_certificate_says() {
    let world = World::new().await;
    let active = world.root("active").await;
    let key = key_of(&active["certificate"]);
    let own_serial = hex::decode(active["serial_number"].as_str().unwrap()).unwrap();
    for (id, serial) in [("same-serial", own_serial), ("own-serial", vec![9])] {
        let plan = ForeignPlan {
            key: world.kms.private(&key),
            key_identifier: NAME.to_vec(),
            serial,
            ..ForeignPlan::root("Another Name")
        };
        let body = json!({ "id": id, "ca": plan.make().wire() });
        let other = world.post("/v1/cas/import", body).await;
        let other = other.with(StatusCode::CREATED);
        assert_eq!(other["certificate"]["type"], "MANAGED");
        let before = world.kms.bound(&key);
        delete(&world, id).await;
        assert_eq!((world.kms.n_keys(), world.kms.bound(&key)), (1, before));
    }
    let issued = world.issue("active", "device-1").await;
    let public = x509(&active["certificate"]).public_key().unwrap();
    assert_eq!(x509(&issued).verify_signed_by(&public), Ok(()));
    // The last CA with the key takes it along.
    let body = json!({ "status": "REVOKED", "revocation_reason": "CessationOfOperation" });
    let serial = issued["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    world.put(&path, body).await.with(StatusCode::OK);
    world.clock.advance(time::Duration::DAY);
    delete(&world, "active").await;
    assert_eq!(world.kms.n_keys(), 0);
}

/// CAs are read in pages.
#[tokio::test]
async fn a_ca_with_the_key_is_found_behind_a_thousand_others() {
    let world = World::new().await;
    let doomed = world.root("doomed").await;
    let key = key_of(&doomed["certificate"]);
    let mut twin = root_body("twin", doomed["profile_id"].as_str().unwrap());
    twin["key_metadata"] = json!({ "key_id": key });
    let twin = world.post("/v1/cas", twin).await.with(StatusCode::CREATED);
    assert_eq!(key_of(&twin["certificate"]), key);
    world.root("many").await;
    let columns = "revision, created_at, certificate_id, level, profile_id, metadata, next_window";
    let text = format!(
        "WITH RECURSIVE counter(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < 1100) \
         INSERT INTO certificate_authority (id, {columns}) \
         SELECT id || '-' || i, {columns} FROM certificate_authority, counter WHERE id = 'many'"
    );
    let mut set = WriteSet::new();
    set.execute(sql(text, params![]));
    world.db.commit(set).await.unwrap();
    let bound = world.kms.bound(&key);
    delete(&world, "doomed").await;
    assert_eq!((world.kms.n_keys(), world.kms.bound(&key)), (2, bound));
    delete(&world, "twin").await;
    assert_eq!(world.kms.n_keys(), 1);
}

#[tokio::test]
async fn a_key_with_a_certificate_in_use_outlives_the_ca() {
    let world = World::new().await;
    let doomed = world.root("doomed").await;
    world.root("stays").await;
    let key = key_of(&doomed["certificate"]);
    let body = json!({ "csr": csr(&world.kms.private(&key), "signer").to_wire() });
    let signer = world.sign("stays", body).await.with(StatusCode::CREATED);
    assert_eq!(signer["type"], "MANAGED");
    let bound = world.kms.bound(&key);
    assert_eq!(bound.len(), 2);
    delete(&world, "doomed").await;
    assert_eq!((world.kms.n_keys(), world.kms.bound(&key)), (2, bound));
}

#[tokio::test]
async fn a_key_that_a_request_waits_with_outlives_the_ca() {
    let world = World::new().await;
    let root = world.root("doomed").await;
    let key = key_of(&root["certificate"]);
    let request = json!({
        "id": "asked", "subject": { "common_name": "Asked" }, "key_metadata": { "key_id": key },
    });
    let answer = world.post("/v1/cas/requests", request).await;
    assert_eq!(answer.with(StatusCode::CREATED)["key_id"], json!(key));
    let bound = world.kms.bound(&key);
    delete(&world, "doomed").await;
    assert_eq!((world.kms.n_keys(), world.kms.bound(&key)), (1, bound));
}

/// What certificates call their key says nothing of whose key it is.
#[tokio::test]
async fn the_key_of_the_deleted_ca_is_destroyed_and_none_that_is_called_the_same() {
    let world = World::new().await;
    let plan = |serial| ForeignPlan {
        key_identifier: NAME.to_vec(),
        serial: vec![serial],
        ..ForeignPlan::root("Root")
    };
    let ids = ["first", "second", "third"];
    let mut keys = Vec::new();
    for (id, serial) in ids.into_iter().zip(1..) {
        let ca = import(&world, id, &plan(serial).make()).await;
        keys.push(key_of(&ca["certificate"]));
    }
    // In an order in which each has certificates of other keys before it and behind it.
    for (n_left, index) in [(2, 1), (1, 2), (0, 0)] {
        delete(&world, ids[index]).await;
        assert_eq!(world.kms.n_keys(), n_left);
        let gone = KeyRef::from(keys[index].as_str());
        world.kms.key(&caller(), &gone).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_alias_is_called_like_another_key_is_not_taken_for_it() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let profile = world.profile(device_profile()).await;
    let post = async |path: &str, body: Value| {
        let answer = ask(&router, Method::POST, path, Some(body.to_string())).await;
        answer.with(StatusCode::CREATED)
    };
    let made = post("/v1/cas", root_body("made", &profile)).await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    let device = p256();
    let names = [foreign.key.public_key(), device.public_key()].map(PublicKey::key_id_sha256_hex);
    let patches = names.iter().map(|name| PatchOperation {
        op: "add".to_owned(),
        path: Some("/-".to_owned()),
        value: Some(name.as_str().into()),
        ..PatchOperation::default()
    });
    let key = KeyRef::from(key_of(&made["certificate"]));
    let named = kms.patch_aliases(&caller(), &key, patches.collect()).await;
    assert_eq!(named.unwrap().aliases.len(), 2);
    let another = ForeignPlan {
        key: PrivateKey::from_der(&foreign.key.to_pkcs8_der().unwrap()).unwrap(),
        serial: hex::decode(made["serial_number"].as_str().unwrap()).unwrap(),
        ..ForeignPlan::root("Another")
    };
    let alone = json!({ "id": "alone", "ca": another.make().wire() });
    let alone = post("/v1/cas/import", alone).await;
    assert_eq!(alone["certificate"]["type"], "IMPORTED_WITHOUT_KEY");
    // Its key is not here: that of somebody else stays.
    let answer = ask(&router, Method::DELETE, "/v1/cas/alone", None).await;
    answer.with(StatusCode::OK);
    kms.key(&caller(), &key).await.unwrap();
    let body = json!({
        "id": "imported", "ca": foreign.wire(), "private_key": foreign.key_wire(),
        "profile_id": profile,
    });
    let imported = post("/v1/cas/import", body).await;
    assert_eq!(imported["certificate"]["type"], "IMPORTED_WITH_KEY");
    let body = json!({ "csr": csr(&device, "device-1").to_wire() });
    for (id, ca) in [("made", &made), ("imported", &imported)] {
        let issued = post(&format!("/v1/cas/{id}/certificates/sign"), body.clone()).await;
        assert_eq!(issued["type"], "IMPORTED_WITHOUT_KEY", "{id}");
        let public = x509(&ca["certificate"]).public_key().unwrap();
        assert_eq!(x509(&issued).verify_signed_by(&public), Ok(()), "{id}");
    }
}

/// The key of this CA is elsewhere, and somebody gave another key the name that its certificate gives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_under_the_name_of_a_cas_key_signs_nothing_for_it() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let profile = world.profile(device_profile()).await;
    let post = async |path: &str, body: Value| {
        ask(&router, Method::POST, path, Some(body.to_string())).await
    };
    let made = post("/v1/cas", root_body("made", &profile)).await;
    let made = made.with(StatusCode::CREATED);
    let foreign = ForeignPlan {
        key_identifier: NAME.to_vec(),
        ..ForeignPlan::root("Elsewhere")
    };
    let foreign = foreign.make();
    let body = json!({ "id": "foreign", "ca": foreign.wire(), "profile_id": profile });
    let answer = post("/v1/cas/import", body).await;
    answer.with(StatusCode::CREATED);
    let alias = json!({ "op": "add", "path": "/-", "value": hex::encode(NAME) });
    let alias: PatchOperation = serde_json::from_value(alias).unwrap();
    let key = KeyRef::from(key_of(&made["certificate"]));
    let named = kms.patch_aliases(&caller(), &key, vec![alias]).await;
    named.unwrap();
    let message = json!({
        "message": "aGVsbG8=", "message_type": "raw", "signature_algorithm": "ECDSA_SHA_256",
    });
    let signed = post("/v1/cas/foreign/signature/sign", message).await;
    let (status, text) = signed.refusal();
    assert_eq!(status, 500);
    assert!(text.contains("the key of the CA is not here"), "{text}");
    let body = json!({ "csr": csr(&p256(), "device-1").to_wire() });
    let issued = post("/v1/cas/foreign/certificates/sign", body).await;
    assert!(issued.refusal().1.contains("the key of the CA is not here"));
}
