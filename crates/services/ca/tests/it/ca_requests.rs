use http::{Method, StatusCode};
use lamassu_core::pem::CsrDer;
use lamassu_x509::CertificationRequest;
use serde_json::{Value, json};

use crate::kms::{Asked, Fault};
use crate::support::{ForeignPlan, World, ask, caller, device_profile, p256, root_body};

fn body(id: &str) -> Value {
    json!({
        "id": id,
        "subject": { "common_name": "Plant 7", "organization": "Acme" },
        "key_metadata": { "type": "ECDSA", "bits": 384 },
        "metadata": { "ticket": 4711 },
    })
}

#[tokio::test]
async fn a_request_holds_a_new_key_and_asks_for_a_ca() {
    let world = World::new().await;
    let made = world
        .post("/v1/cas/requests", body("plant-7"))
        .await
        .with(StatusCode::CREATED);
    let csr = CsrDer::from_wire(made["csr"].as_str().unwrap()).unwrap();
    let csr = CertificationRequest::from_der(csr.der().clone()).unwrap();
    let asked = csr.requested_extensions();
    let key_id = csr
        .clone()
        .verify()
        .unwrap()
        .public_key()
        .key_id_sha256_hex();
    assert_eq!(
        made,
        json!({
            "id": "plant-7", "key_id": key_id, "engine_id": "memory-1",
            "subject": {
                "common_name": "Plant 7", "organization": "Acme", "organization_unit": "",
                "country": "", "state": "", "locality": "",
            },
            "key_metadata": { "type": "ECDSA", "bits": 384, "strength": "HIGH" },
            "metadata": { "ticket": 4711 },
            "creation_ts": "2026-03-02T09:15:27.481233Z",
            "status": "PENDING", "fingerprint": "", "csr": made["csr"],
        })
    );
    assert!(asked.basic_constraints().unwrap().unwrap().ca);
    assert_eq!(
        asked.key_usage().unwrap(),
        Some(lamassu_x509::KeyUsage::ca())
    );
    let read = world.get("/v1/cas/requests/plant-7").await;
    assert_eq!(read.with(StatusCode::OK), made);
    assert_eq!(world.last_event("ca.request").await["data"], made);
    assert_eq!(world.count("ca_operation").await, 0);
    assert_eq!(world.count("certificate_authority").await, 0);
    let read = world.get("/v1/cas/requests/nobody").await;
    assert_eq!(read.refusal(), (404, "CA request not found"));
}

#[tokio::test]
async fn a_taken_id_or_a_key_that_waits_already_is_a_conflict() {
    let world = World::new().await;
    let key = world.kms.hold(p256());
    let mut with_key = body("a");
    with_key["key_id"] = json!(key.key_id);
    let made = world.post("/v1/cas/requests", with_key.clone()).await;
    let made = made.with(StatusCode::CREATED);
    assert_eq!(made["key_id"], json!(key.key_id));
    assert_eq!(made["key_metadata"]["bits"], 256);
    let refused = (409, "CA request already exists");
    let again = world.post("/v1/cas/requests", body("a")).await;
    assert_eq!(again.refusal(), refused);
    with_key["id"] = json!("b");
    let again = world.post("/v1/cas/requests", with_key.clone()).await;
    assert_eq!(again.refusal(), refused);
    assert_eq!(world.kms.n_keys(), 1);
    with_key["key_id"] = json!("nothing");
    let unknown = world.post("/v1/cas/requests", with_key).await;
    assert_eq!(unknown.refusal(), (404, "key not found"));
}

#[tokio::test]
async fn lists_of_requests_are_filtered() {
    let world = World::new().await;
    for id in ["a", "b"] {
        world
            .post("/v1/cas/requests", body(id))
            .await
            .with(StatusCode::CREATED);
    }
    let listed = async |query: &str| {
        let page = world.get(&format!("/v1/cas/requests?{query}")).await;
        let page = page.with(StatusCode::OK);
        page["list"].as_array().unwrap().len()
    };
    assert_eq!(listed("").await, 2);
    assert_eq!(listed("filter=id[equal]b").await, 1);
    assert_eq!(listed("filter=status[equal]ISSUED").await, 0);
    assert_eq!(
        listed("filter=subject.common_name[contains_ignorecase]plant").await,
        2
    );
}

#[tokio::test]
async fn the_key_of_a_deleted_request_is_destroyed_whatever_happens() {
    let world = World::new().await;
    for id in ["a", "b"] {
        world
            .post("/v1/cas/requests", body(id))
            .await
            .with(StatusCode::CREATED);
    }
    let gone = world.delete("/v1/cas/requests/a").await;
    gone.with(StatusCode::NO_CONTENT);
    assert_eq!(world.kms.n_keys(), 1);
    world.kms.fail(Fault::CannotDiscard);
    let gone = world.delete("/v1/cas/requests/b").await;
    gone.with(StatusCode::NO_CONTENT);
    assert_eq!(world.kms.n_keys(), 1);
    world.kms.fail(Fault::None);
    let job = world.service.operations_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (0, 0)
    );
    let again = world.delete("/v1/cas/requests/a").await;
    assert_eq!(again.refusal(), (404, "CA request not found"));
    let event = world.last_event("ca.request.delete").await;
    assert_eq!(event["data"], json!({ "CARequestID": "b" }));
}

#[tokio::test]
async fn a_key_that_existed_before_stays_when_its_request_goes() {
    let world = World::new().await;
    let key = world.kms.hold(p256());
    let mut with_key = body("a");
    with_key["key_metadata"] = json!({ "key_id": key.key_id });
    world
        .post("/v1/cas/requests", with_key)
        .await
        .with(StatusCode::CREATED);
    let gone = world.delete("/v1/cas/requests/a").await;
    gone.with(StatusCode::NO_CONTENT);
    assert_eq!(world.kms.n_keys(), 1);
}

#[tokio::test]
async fn a_key_that_signs_no_request_is_destroyed() {
    let world = World::new().await;
    world.kms.fail(Fault::WrongKey);
    let answer = world.post("/v1/cas/requests", body("a")).await;
    assert_eq!(
        answer.refusal(),
        (
            500,
            "KMS sign operation failed: the key's own request failed"
        )
    );
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (0, 0)
    );
}

/// The certificate that answers the request of this id, from a CA elsewhere.
async fn answer(world: &World, id: &str) -> Value {
    let asked = world.post("/v1/cas/requests", body(id)).await;
    let asked = asked.with(StatusCode::CREATED);
    let plan = ForeignPlan {
        key: world.kms.private(asked["key_id"].as_str().unwrap()),
        ..ForeignPlan::root("Plant 7")
    };
    json!({ "id": "plant-7", "ca": plan.make().wire() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_withdrawn_meanwhile_takes_no_ca_s_key_along() {
    let world = World::new().await;
    let answer = answer(&world, "a").await;
    let other = world.replica().await;
    world.kms.meanwhile(Asked::Key, async move {
        let gone = ask(&other, Method::DELETE, "/v1/cas/requests/a", None).await;
        gone.with(StatusCode::NO_CONTENT);
    });
    let refused = world.post("/v1/cas/import", answer.clone()).await;
    assert_eq!(refused.refusal().0, 503);
    assert_eq!(world.count("certificate_authority").await, 0);
    let again = world.post("/v1/cas/import", answer).await;
    let again = again.with(StatusCode::CREATED);
    assert_eq!(again["certificate"]["type"], "IMPORTED_WITHOUT_KEY");
}

#[tokio::test]
async fn nobody_begins_to_use_a_key_that_is_about_to_be_destroyed() {
    let world = World::new().await;
    let answer = answer(&world, "a").await;
    let asked = world.get("/v1/cas/requests/a").await.with(StatusCode::OK);
    let profile = world.profile(device_profile()).await;
    let mut root = root_body("root-a", &profile);
    root["key_metadata"] = json!({ "key_id": asked["key_id"] });
    world.kms.fail(Fault::CannotDiscard);
    let gone = world.delete("/v1/cas/requests/a").await;
    gone.with(StatusCode::NO_CONTENT);
    for (path, body) in [("/v1/cas/import", answer), ("/v1/cas", root)] {
        assert_eq!(world.post(path, body).await.refusal().0, 503, "{path}");
    }
    world.kms.fail(Fault::None);
    let job = world.service.operations_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.kms.n_keys(), 0);
    assert_eq!(world.count("certificate_authority").await, 0);
}

#[tokio::test]
async fn the_id_of_a_request_that_waits_is_for_its_key() {
    let world = World::new().await;
    let answer = answer(&world, "plant-7").await;
    let other = ForeignPlan::root("Plant 7").make();
    let body = json!({ "id": "plant-7", "ca": other.wire(), "private_key": other.key_wire() });
    let refused = world.post("/v1/cas/import", body).await;
    assert_eq!(
        refused.refusal(),
        (
            400,
            "certificate cannot be imported: it is not the certificate of request plant-7's key"
        )
    );
    assert_eq!(world.kms.n_keys(), 1);
    let imported = world.post("/v1/cas/import", answer).await;
    imported.with(StatusCode::CREATED);
    let asked = world.get("/v1/cas/requests/plant-7").await;
    assert_eq!(asked.with(StatusCode::OK)["status"], "ISSUED");
}
