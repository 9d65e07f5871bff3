//! Deleting CAs and certificates.

use http::StatusCode;
use lamassu_ca::CaConfig;
use lamassu_db::NextRun;
use serde_json::{Value, json};
use time::Duration;

use crate::kms::Fault;
use crate::support::{ForeignPlan, World, caller};

async fn expire(world: &World, id: &str) {
    let body = json!({ "status": "EXPIRED" });
    world
        .post(&format!("/v1/cas/{id}/status"), body)
        .await
        .with(StatusCode::CREATED);
}

/// What the validation authority says once it has made the last CRLs; how many it was asked for.
pub(crate) async fn settle(world: &World) -> usize {
    let retired = world.reached.retired_cas(&caller()).await.unwrap();
    for ca in &retired {
        let settled = world.reached.settle_retired_ca(&caller(), &ca.job).await;
        settled.unwrap();
    }
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    retired.len()
}

fn state(certificate: &Value) -> (&str, &str) {
    (
        certificate["status"].as_str().unwrap(),
        certificate["revocation_reason"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn a_deleted_ca_is_gone_and_what_it_issued_is_revoked() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let deeper = world.issue("sub-a", "device-2").await;
    expire(&world, "root-a").await;
    let answer = world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!(answer, json!({}));
    let gone = (404, "CA not found");
    for path in ["/v1/cas/root-a", "/v1/cas/root-a/certificates"] {
        assert_eq!(world.get(path).await.refusal(), gone);
    }
    let listed = world.get("/v1/certificates?filter=issuer_meta.id[eq]root-a");
    let listed = listed.await.with(StatusCode::OK);
    assert_eq!(listed["list"].as_array().unwrap().len(), 3);
    assert_eq!(world.delete("/v1/cas/root-a").await.refusal(), gone);
    let cessation = ("REVOKED", "CessationOfOperation");
    assert_eq!(state(&world.ca("sub-a").await["certificate"]), cessation);
    for certificate in [&issued, &deeper] {
        assert_eq!(state(&world.now(certificate).await), cessation);
    }
    assert_eq!(world.now(&root["certificate"]).await["status"], "EXPIRED");
    let event = world.last_event("ca.delete").await;
    assert_eq!(event["subject"], "ca/root-a");
    let data = json!({ "CAID": "root-a", "CascadeDelete": false });
    assert_eq!(event["data"], data);
    let record = ("ca.delete".to_owned(), "ca/root-a".to_owned());
    assert!(world.audit().await.contains(&record));
    // Its key is destroyed once the last CRL is made, the other one stays.
    assert_eq!((settle(&world).await, world.kms.n_keys()), (1, 1));
    assert_eq!(world.open_cascades().await, 0);
}

#[tokio::test]
async fn an_id_is_free_at_once_and_its_new_ca_is_untouched() {
    let world = World::new().await;
    world.root("root-a").await;
    let old = world.issue("root-a", "device-1").await;
    world.multiply(&old, 1_200).await;
    expire(&world, "root-a").await;
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!(world.open_cascades().await, 1);
    world.clock.advance(Duration::microseconds(1));
    world.root("root-a").await;
    let new = world.issue("root-a", "device-1").await;
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!((settle(&world).await, world.open_cascades().await), (1, 0));
    assert_eq!(world.now(&old).await["status"], "REVOKED");
    assert_eq!(world.now(&new).await["status"], "ACTIVE");
    assert_eq!(world.ca("root-a").await["certificate"]["status"], "ACTIVE");
}

#[tokio::test]
async fn only_cas_that_issue_nothing_any_more_are_deleted() {
    let world = World::new().await;
    world.root("root-a").await;
    assert_eq!(
        world.delete("/v1/cas/root-a").await.refusal(),
        (400, "CA Status inconsistent")
    );
    expire(&world, "root-a").await;
    for query in ["true", "1"] {
        let path = format!("/v1/cas/root-a?cascade_delete={query}");
        assert_eq!(
            world.delete(&path).await.refusal(),
            (
                403,
                "cascade delete operations are not allowed by configuration"
            )
        );
    }
    // Nothing else means yes.
    let path = "/v1/cas/root-a?cascade_delete=True";
    world.delete(path).await.with(StatusCode::OK);
}

#[tokio::test]
async fn a_cascade_deletes_those_below_that_may_be() {
    let config = CaConfig {
        allow_cascade_delete: true,
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    let root = world.root("root-a").await;
    let sub = world.sub(&root, "sub-a").await;
    world.sub(&sub, "sub-b").await;
    let revoked = json!({ "status": "REVOKED", "revocation_reason": "KeyCompromise" });
    world
        .post("/v1/cas/root-a/status", revoked)
        .await
        .with(StatusCode::CREATED);
    let path = "/v1/cas/root-a?cascade_delete=true";
    world.delete(path).await.with(StatusCode::OK);
    for id in ["root-a", "sub-a", "sub-b"] {
        let answer = world.get(&format!("/v1/cas/{id}")).await;
        assert_eq!(answer.refusal(), (404, "CA not found"), "{id}");
    }
    let told = world.events().await;
    let deleted: Vec<&str> = told
        .iter()
        .filter(|(kind, _)| kind == "ca.delete")
        .map(|(_, subject)| subject.as_str())
        .collect();
    assert_eq!(deleted, ["ca/sub-b", "ca/sub-a", "ca/root-a"]);
    // The lowest one issued nothing.
    assert_eq!((world.kms.n_keys(), settle(&world).await), (2, 2));
    assert_eq!(world.kms.n_keys(), 0);
}

#[tokio::test]
async fn a_cascade_leaves_those_below_that_are_in_use_revoked() {
    let config = CaConfig {
        allow_cascade_delete: true,
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    let root = world.root("root-a").await;
    world.sub(&root, "sub-a").await;
    expire(&world, "root-a").await;
    let path = "/v1/cas/root-a?cascade_delete=true";
    world.delete(path).await.with(StatusCode::OK);
    assert_eq!(world.ca("sub-a").await["certificate"]["status"], "REVOKED");
}

#[tokio::test]
async fn a_key_that_cannot_be_destroyed_now_is_destroyed_later() {
    let world = World::new().await;
    world.root("root-a").await;
    expire(&world, "root-a").await;
    world.kms.fail(Fault::CannotDelete);
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!((world.kms.n_keys(), world.open_cascades().await), (1, 1));
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap_err();
    world.kms.fail(Fault::None);
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!((world.kms.n_keys(), world.open_cascades().await), (0, 0));
}

#[tokio::test]
async fn the_key_of_a_deleted_ca_waits_for_the_last_crl() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    expire(&world, "root-a").await;
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    let retired = world.reached.retired_cas(&caller()).await.unwrap();
    let [ca] = retired.as_slice() else {
        panic!("{retired:?}")
    };
    assert_eq!(ca.ca.as_str(), "root-a");
    assert_eq!(ca.certificate.subject.common_name, "root-a");
    assert_eq!(json!(ca.last_end), issued["valid_to"]);
    // Its job is under way meanwhile, and the CA is gone.
    let path = format!("/v1/jobs/{}", ca.job);
    let shown = world.get(&path).await.with(StatusCode::OK);
    assert_eq!(
        (&shown["kind"], &shown["status"]),
        (&json!("DELETE_CA"), &json!("RUNNING"))
    );
    assert_eq!(
        world.get("/v1/cas/root-a").await.refusal(),
        (404, "CA not found")
    );
    let job = world.service.cascades_job();
    let next = job.run(&caller(), world.db.now()).await.unwrap();
    let until = world.db.now() + Duration::HOUR;
    assert!(matches!(next, NextRun::At(at) if at == until), "{next:?}");
    assert_eq!(world.kms.n_keys(), 1);
    // Nobody makes it: the key goes all the same.
    world.clock.advance(Duration::HOUR);
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!((world.kms.n_keys(), world.open_cascades().await), (0, 0));
    assert_eq!(world.reached.retired_cas(&caller()).await.unwrap(), []);
    // Too late, and of no effect.
    let late = world.reached.settle_retired_ca(&caller(), &ca.job).await;
    late.unwrap();
    let shown = world.get(&path).await.with(StatusCode::OK);
    assert_eq!(shown["status"], "DONE");
}

#[tokio::test]
async fn how_long_the_key_of_a_deleted_ca_waits_is_a_setting() {
    let config = lamassu_ca::CaConfig {
        final_crl_wait: "30s".parse().unwrap(),
        ..lamassu_ca::CaConfig::default()
    };
    let world = World::with_config(config).await;
    world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    expire(&world, "root-a").await;
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    let job = world.service.cascades_job();
    world.clock.advance(Duration::seconds(29));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(world.kms.n_keys(), 1);
    world.clock.advance(Duration::SECOND);
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!((world.kms.n_keys(), world.open_cascades().await), (0, 0));
}

/// Of what has ended, nobody asks whether it is revoked; and who has the key signs on.
#[tokio::test]
async fn a_key_without_a_last_crl_to_sign_is_destroyed_at_once() {
    let world = World::new().await;
    world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    world.clock.advance(Duration::days(400));
    expire(&world, "root-a").await;
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!((world.kms.n_keys(), world.open_cascades().await), (0, 0));
}

/// What a certificate calls its key is up to whoever makes it: only a CA with the name and the key of the
/// deleted one goes on with its CRLs.
#[tokio::test]
async fn an_unrelated_ca_that_calls_its_key_the_same_leaves_the_last_crl_to_be_made() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    let ski = root["certificate"]["subject_key_id"].as_str().unwrap();
    let plan = ForeignPlan {
        key_identifier: hex::decode(ski).unwrap(),
        ..ForeignPlan::root("root-a")
    };
    let body = json!({ "id": "unrelated", "ca": plan.make().wire() });
    let imported = world.post("/v1/cas/import", body).await;
    let imported = imported.with(StatusCode::CREATED);
    assert_eq!(imported["certificate"]["subject_key_id"], ski);
    expire(&world, "root-a").await;
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!((settle(&world).await, world.kms.n_keys()), (1, 0));
}

#[tokio::test]
async fn a_certificate_is_deleted_once_its_ca_is_gone() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = issued["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}");
    assert_eq!(
        world.delete(&path).await.refusal(),
        (400, "cannot delete certificate: issuer CA still exists")
    );
    expire(&world, "root-a").await;
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    world.delete(&path).await.with(StatusCode::NO_CONTENT);
    let event = world.last_event("certificate.delete").await;
    assert_eq!(event["subject"], format!("certificate/{serial}"));
    assert_eq!(event["data"], json!({ "SerialNumber": serial }));
    assert_eq!(
        world.delete(&path).await.refusal(),
        (404, "certificate not found")
    );
    let own = root["serial_number"].as_str().unwrap();
    let own = world.delete(&format!("/v1/certificates/{own}")).await;
    own.with(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_deleted_ca_never_comes_back_whatever_it_was() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    let body = json!({ "id": "root-b", "ca": foreign.wire() });
    let imported = world.post("/v1/cas/import", body).await;
    let imported = imported.with(StatusCode::CREATED);
    let hold = json!({ "status": "REVOKED", "revocation_reason": "CertificateHold" });
    let inactive = json!({ "status": "INACTIVE" });
    for (id, status, ca) in [("root-a", hold, &root), ("root-b", inactive, &imported)] {
        let answer = world.post(&format!("/v1/cas/{id}/status"), status).await;
        answer.with(StatusCode::CREATED);
        let answer = world.delete(&format!("/v1/cas/{id}")).await;
        answer.with(StatusCode::OK);
        let own = world.now(&ca["certificate"]).await;
        assert_eq!(state(&own), ("REVOKED", "CessationOfOperation"), "{id}");
        let path = format!(
            "/v1/certificates/{}/status",
            own["serial_number"].as_str().unwrap()
        );
        assert_eq!(
            world
                .put(&path, json!({ "status": "ACTIVE" }))
                .await
                .refusal(),
            (400, "new status transition not allowed for certificate")
        );
    }
}
