//! A CA that has the id of a deleted one: what that one issued is not taken for its own.

use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use crate::deletion::settle;
use crate::support::{Foreign, ForeignPlan, World, caller, device_profile};

/// Ends a CA and deletes it, some time before the next one has its id.
async fn delete(world: &World, id: &str) {
    let body = json!({ "status": "EXPIRED" });
    let answer = world.post(&format!("/v1/cas/{id}/status"), body).await;
    answer.with(StatusCode::CREATED);
    let answer = world.delete(&format!("/v1/cas/{id}")).await;
    answer.with(StatusCode::OK);
    world.clock.advance(Duration::SECOND);
}

async fn import(world: &World, id: &str, ca: &Foreign, profile: &str) -> Value {
    let body = json!({
        "id": id, "ca": ca.wire(), "private_key": ca.key_wire(), "profile_id": profile,
    });
    let answer = world.post("/v1/cas/import", body).await;
    answer.with(StatusCode::CREATED)
}

fn serials<'a>(certificates: impl IntoIterator<Item = &'a Value>) -> Vec<&'a str> {
    let serials = certificates.into_iter();
    let serials = serials.map(|certificate| certificate["serial_number"].as_str().unwrap());
    let mut serials: Vec<&str> = serials.collect();
    serials.sort_unstable();
    serials
}

async fn revoked(world: &World, id: &str) -> Value {
    let path = format!("/internal/v1/cas/{id}/revoked?limit=10");
    world.get(&path).await.with(StatusCode::OK)
}

#[tokio::test]
async fn certificates_of_a_deleted_ca_are_not_those_of_the_next_one_with_its_id() {
    let world = World::new().await;
    let first = world.root("factory").await;
    let old = world.issue("factory", "device-1").await;
    delete(&world, "factory").await;
    let second = world.root("factory").await;
    // The last CRL of the first one is not made yet.
    assert_eq!(
        serials(revoked(&world, "factory").await.as_array().unwrap()),
        serials([&old])
    );
    assert_eq!((settle(&world).await, world.open_cascades().await), (1, 0));
    assert_eq!(revoked(&world, "factory").await, json!([]));
    let new = world.issue("factory", "device-2").await;
    let listed = world.get("/v1/cas/factory/certificates").await;
    let listed = listed.with(StatusCode::OK);
    assert_eq!(
        serials(listed["list"].as_array().unwrap()),
        serials([&second["certificate"], &new])
    );
    assert_eq!(
        world.get("/v1/stats/factory").await.with(StatusCode::OK),
        json!({ "ACTIVE": 2, "EXPIRED": 0, "REVOKED": 0 })
    );
    let body = json!({ "ca_id": "factory", "revocation_reason": "Superseded" });
    let job = world.post("/v1/certificates/revocations", body).await;
    assert_eq!(job.with(StatusCode::ACCEPTED)["done"], 1);
    // Those of the first one say whose id that was, and until when. By that they are listed.
    let former = "factory@2026-03-02T09:15:28.481233Z";
    for path in [
        format!("/v1/cas/{former}/certificates"),
        format!("/v1/certificates?filter=issuer_meta.id[eq]{former}"),
        "/v1/certificates?filter=issuer_meta.id[ct]factory@".to_owned(),
    ] {
        let listed = world.get(&path).await.with(StatusCode::OK);
        assert_eq!(
            serials(listed["list"].as_array().unwrap()),
            serials([&old, &first["certificate"]]),
            "{path}"
        );
    }
    let nobody = world.get("/v1/cas/factory@2026-03-02T09:15:29Z/certificates");
    assert_eq!(nobody.await.refusal(), (404, "CA not found"));
    for (certificate, status) in [(&old, "REVOKED"), (&first["certificate"], "EXPIRED")] {
        let serial = certificate["serial_number"].as_str().unwrap();
        let now = world.now(certificate).await;
        assert_eq!(now["status"], status);
        let issuer = &now["issuer_metadata"];
        assert_eq!(issuer["id"], "factory@2026-03-02T09:15:28.481233Z");
        assert_eq!(issuer["serial_number"], first["serial_number"]);
        for ca in ["factory", "factory@2026-03-02T09:15:28.481233Z"] {
            let path = format!("/v1/certificates/{serial}?ca_id={ca}");
            assert_eq!(world.get(&path).await.with(StatusCode::OK), now, "{ca}");
        }
        let path = format!("/v1/certificates/{serial}/download?chain=true");
        let (_, _, chain) = world.octets(&path).await;
        let chain = String::from_utf8(chain.to_vec()).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 1);
        let gone = world.delete(&format!("/v1/certificates/{serial}")).await;
        gone.with(StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn very_many_certificates_of_a_deleted_ca_are_told_apart_by_the_job() {
    let world = World::new().await;
    world.root("factory").await;
    let old = world.issue("factory", "device-1").await;
    world.multiply(&old, 2_500).await;
    delete(&world, "factory").await;
    world.root("factory").await;
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!((settle(&world).await, world.open_cascades().await), (1, 0));
    assert_eq!(
        world.get("/v1/stats/factory").await.with(StatusCode::OK),
        json!({ "ACTIVE": 1, "EXPIRED": 0, "REVOKED": 0 })
    );
}

/// They were here before it, and it adopts them under an id that another CA had.
#[tokio::test]
async fn what_an_imported_ca_issued_is_its_own_under_whatever_id() {
    let world = World::new().await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    let below = ForeignPlan::below("Foreign Sub", &foreign).make();
    let device = ForeignPlan::below("device", &foreign).make();
    let body = json!({ "id": "sub", "ca": below.wire() });
    let sub = world.post("/v1/cas/import", body).await;
    let sub = sub.with(StatusCode::CREATED);
    let body = json!({ "certificate": device.wire() });
    let orphan = world.post("/v1/certificates/import", body).await;
    let orphan = orphan.with(StatusCode::CREATED);
    let root = world.root("factory").await;
    let old_sub = world.sub(&root, "old-sub").await;
    delete(&world, "factory").await;
    let profile = world.profile(device_profile()).await;
    import(&world, "factory", &foreign, &profile).await;
    assert_eq!((settle(&world).await, world.open_cascades().await), (1, 0));
    for certificate in [&sub["certificate"], &orphan] {
        let now = world.now(certificate).await;
        assert_eq!(now["issuer_metadata"]["id"], "factory");
        assert_eq!(now["status"], "ACTIVE");
    }
    let old_sub = world.now(&old_sub["certificate"]).await;
    assert_eq!(old_sub["status"], "REVOKED");
    assert_ne!(old_sub["issuer_metadata"]["id"], "factory");
}

/// Its CRL has to name them.
#[tokio::test]
async fn a_ca_that_comes_back_with_its_key_has_what_it_issued() {
    let world = World::new().await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    let profile = world.profile(device_profile()).await;
    import(&world, "factory", &foreign, &profile).await;
    let old = world.issue("factory", "device-1").await;
    delete(&world, "factory").await;
    settle(&world).await;
    import(&world, "factory", &foreign, &profile).await;
    assert_eq!(world.open_cascades().await, 0);
    assert_eq!(world.now(&old).await["issuer_metadata"]["id"], "factory");
    assert_eq!(
        serials(revoked(&world, "factory").await.as_array().unwrap()),
        serials([&old])
    );
}
