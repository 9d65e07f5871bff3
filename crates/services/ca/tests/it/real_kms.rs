//! Both services together: the keys are those of the real key management service.

use futures_util::future::join_all;
use http::{Method, StatusCode};
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{BOUND_RESOURCES, KeyStatus, KmsService as _};
use lamassu_core::pem::CsrDer;
use lamassu_core::query::ListRequest;
use serde_json::{Value, json};

use crate::support::{
    ForeignPlan, World, ask, caller, csr, device_profile, over_real_kms, p256, root_body, x509,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_key_makes_a_ca_that_issues() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let profile = world.profile(device_profile()).await;
    for (key_type, bits) in [
        ("ECDSA", 224),
        ("ECDSA", 256),
        ("ECDSA", 521),
        ("RSA", 2048),
        ("Ed25519", 256),
        ("ML-DSA", 65),
    ] {
        let id = format!("{key_type}-{bits}");
        let mut body = root_body(&id, &profile);
        body["key_metadata"] = json!({ "type": key_type, "bits": bits });
        let ca = ask(&router, Method::POST, "/v1/cas", Some(body.to_string())).await;
        let ca = ca.with(StatusCode::CREATED);
        assert_eq!(ca["certificate"]["key_metadata"]["type"], key_type);
        assert_eq!(ca["certificate"]["key_metadata"]["bits"], bits);
        let request = json!({ "csr": csr(&p256(), "device-1").to_wire() });
        let path = format!("/v1/cas/{id}/certificates/sign");
        let issued = ask(&router, Method::POST, &path, Some(request.to_string())).await;
        let issued = issued.with(StatusCode::CREATED);
        let key = x509(&ca["certificate"]).public_key().unwrap();
        assert_eq!(x509(&issued).verify_signed_by(&key), Ok(()));
        let key_id = KeyRef::from(ca["certificate"]["subject_key_id"].as_str().unwrap());
        let key = kms.key(&caller(), &key_id).await.unwrap();
        let used = json!([{ "resource_type": "certificate", "resource_id": ca["serial_number"] }]);
        assert_eq!(key.metadata.get(BOUND_RESOURCES), Some(&used));
        assert_eq!(key.name, format!("Key For CA CN={id}"));
    }
    assert_eq!(world.count("ca_operation").await, 0);
}

/// A client of the reference asks the key manager for the key of a CA by what its certificate calls it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_an_imported_ca_is_found_by_the_name_in_its_certificate() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let foreign = |serial: u8| {
        let plan = ForeignPlan {
            key_identifier: vec![0xab; 20],
            serial: vec![serial],
            ..ForeignPlan::root("Foreign Root")
        };
        plan.make()
    };
    for (id, ca) in [("one", foreign(1)), ("another", foreign(2))] {
        let body = json!({ "id": id, "ca": ca.wire(), "private_key": ca.key_wire() });
        let answer = ask(
            &router,
            Method::POST,
            "/v1/cas/import",
            Some(body.to_string()),
        )
        .await;
        answer.with(StatusCode::CREATED);
        // The first has the alias; where it is taken, a CA is imported all the same.
        let named = kms
            .key(&caller(), &KeyRef::from("ab".repeat(20).as_str()))
            .await;
        let named = named.unwrap();
        assert_eq!(named.aliases, ["ab".repeat(20)]);
        if id == "one" {
            let key = ca.certificate.public_key().unwrap();
            assert_eq!(named.key_id.as_str(), key.key_id_sha256_hex());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_creates_keeps_its_key() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let body = root_body("root-a", &world.profile(device_profile()).await).to_string();
    let answers =
        join_all((0..20).map(|_| ask(&router, Method::POST, "/v1/cas", Some(body.clone())))).await;
    let created = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    assert_eq!(created, 1);
    for answer in answers
        .iter()
        .filter(|answer| answer.status != StatusCode::CREATED)
    {
        assert_eq!(answer.refusal(), (409, "CA already exists"));
    }
    let keys = kms.keys(&caller(), &ListRequest::default()).await.unwrap();
    assert_eq!(keys.list.len(), 1);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_kms_does_not_make_is_refused_in_its_words() {
    let world = World::new().await;
    let (router, _kms) = over_real_kms(&world.db).await;
    let mut body = root_body("root-a", &world.profile(device_profile()).await);
    body["key_metadata"] = json!({ "type": "RSA", "bits": 1000 });
    let refused = ask(&router, Method::POST, "/v1/cas", Some(body.to_string())).await;
    let (status, text) = refused.refusal();
    assert_eq!(status, 400);
    assert!(
        text.starts_with("key size 1000 is not supported for key type RSA in engine"),
        "{text}"
    );
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_key_signs_nothing_and_is_named_as_the_reason() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let profile = world.profile(device_profile()).await;
    let post = async |path: &str, body: Value| {
        ask(&router, Method::POST, path, Some(body.to_string())).await
    };
    let made = async |body: Value| {
        let ca = post("/v1/cas", body).await.with(StatusCode::CREATED);
        ca["certificate"]["subject_key_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let subject_key = made(root_body("root-b", &profile)).await;
    let ca_key = made(root_body("root-a", &profile)).await;
    let with_key = json!({
        "ca_id": "root-a", "key_spec": { "key_identifier": subject_key },
        "subject": { "common_name": "service-1" },
    });
    let mut ca_with_key = root_body("root-c", &profile);
    ca_with_key["key_metadata"] = json!({ "key_id": subject_key });
    let asked = json!({ "csr": csr(&p256(), "device-1").to_wire() });
    let sign = "/v1/cas/root-a/certificates/sign";
    // From here on the key is in memory.
    post(sign, asked.clone()).await.with(StatusCode::CREATED);
    let message = json!({
        "message": "aGVsbG8=", "message_type": "raw", "signature_algorithm": "ECDSA_SHA_256",
    });
    for (key, requests) in [
        (
            &subject_key,
            vec![("/v1/certificates", with_key), ("/v1/cas", ca_with_key)],
        ),
        (
            &ca_key,
            vec![
                (sign, asked),
                ("/v1/cas/root-a/signature/sign", message),
                ("/v1/cas/root-a/reissue", Value::Null),
            ],
        ),
    ] {
        let key = KeyRef::from(key.as_str());
        let disabled = kms.set_status(&caller(), &key, KeyStatus::Disabled).await;
        disabled.unwrap();
        for (path, body) in requests {
            let refused = post(path, body).await;
            assert_eq!(refused.refusal(), (409, "key is disabled"), "{path}");
        }
    }
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_pending_request_goes_with_the_request_only() {
    let world = World::new().await;
    let (router, kms) = over_real_kms(&world.db).await;
    let asked = json!({
        "id": "plant-7", "subject": { "common_name": "Plant 7" },
        "key_metadata": { "type": "ECDSA", "bits": 256 },
    });
    let ask = async |method, path: &str, body: Option<&Value>| {
        ask(&router, method, path, body.map(Value::to_string)).await
    };
    for is_answered in [false, true] {
        let made = ask(Method::POST, "/v1/cas/requests", Some(&asked)).await;
        let made = made.with(StatusCode::CREATED);
        let key = KeyRef::from(made["key_id"].as_str().unwrap());
        let gone = async || kms.key(&caller(), &key).await.unwrap_err().to_string();
        let refused = kms.delete_key(&caller(), &key).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "key belongs to a pending CA request and cannot be deleted"
        );
        if !is_answered {
            let withdrawn = ask(Method::DELETE, "/v1/cas/requests/plant-7", None).await;
            withdrawn.with(StatusCode::NO_CONTENT);
            assert_eq!(gone().await, "key not found");
            continue;
        }
        // The answer: the CA uses the key, until it is deleted.
        let request = CsrDer::from_wire(made["csr"].as_str().unwrap()).unwrap();
        world.root("root-a").await;
        let of_cas = json!({
            "csr": request.to_wire(), "profile": {
                "sign_as_ca": true, "honor_subject": true, "key_usage": ["CertSign"],
                "validity": { "type": "Duration", "duration": "20d" },
            },
        });
        let answer = world.sign("root-a", of_cas).await.with(StatusCode::CREATED);
        let ca = json!({ "id": "plant-7", "ca": answer["certificate"] });
        let imported = ask(Method::POST, "/v1/cas/import", Some(&ca)).await;
        imported.with(StatusCode::CREATED);
        let expired = json!({ "status": "EXPIRED" });
        let status = ask(Method::POST, "/v1/cas/plant-7/status", Some(&expired)).await;
        status.with(StatusCode::CREATED);
        let deleted = ask(Method::DELETE, "/v1/cas/plant-7", None).await;
        deleted.with(StatusCode::OK);
        assert_eq!(gone().await, "key not found");
    }
}
