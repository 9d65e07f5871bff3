//! Names and ids longer than an index of PostgreSQL takes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::issue::CertificateRole;
use serde_json::json;

use crate::support::{ForeignPlan, World, device_profile, root_body};

fn random_octets(n: usize) -> Vec<u8> {
    let digests = (0_u32..).map(|n| HashAlgorithm::Sha256.digest(&n.to_be_bytes()));
    digests.flatten().take(n).collect()
}

/// Such a text does not get shorter when PostgreSQL compresses it.
fn random(n_octets: usize) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(random_octets(n_octets));
    text.truncate(n_octets);
    text
}

#[tokio::test]
async fn a_common_name_may_have_any_length() {
    let world = World::new().await;
    world.root("root-a").await;
    let name = random(3_000);
    let issued = world.issue("root-a", &name).await;
    assert_eq!(issued["subject"]["common_name"], json!(name));
    assert_eq!(world.now(&issued).await, issued);
    let part = random(200);
    let list = format!("/v1/certificates?filter=subject.common_name[ct]{part}");
    let found = world.get(&list).await.with(StatusCode::OK);
    assert_eq!(found["list"], json!([issued]));
    // Its key is called as it is, as far as a name of a key goes.
    let mut body = root_body("root-b", &world.profile(device_profile()).await);
    body["subject"]["common_name"] = json!(name);
    let made = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    let found = world.get(&format!("/v1/cas/cn/{name}")).await;
    assert_eq!(found.with(StatusCode::OK)["list"], json!([made]));
    let asked = json!({
        "ca_id": "root-a", "key_spec": { "type": "ECDSA", "bits": 256 },
        "subject": { "common_name": name },
    });
    let made = world.post("/v1/certificates", asked).await;
    assert_eq!(
        made.with(StatusCode::CREATED)["subject"]["common_name"],
        json!(name)
    );
}

#[tokio::test]
async fn an_issuer_with_a_long_name_is_found() {
    let world = World::new().await;
    let name = random(3_000);
    let root = ForeignPlan::root(&name).make();
    let below = ForeignPlan {
        role: CertificateRole::EndEntity,
        ..ForeignPlan::below("device-1", &root)
    };
    let below = below.make();
    let body = json!({ "id": "root-a", "ca": root.wire(), "private_key": root.key_wire() });
    let imported = world.post("/v1/cas/import", body).await;
    imported.with(StatusCode::CREATED);
    let body = json!({ "certificate": below.wire() });
    let imported = world.post("/v1/certificates/import", body).await;
    let imported = imported.with(StatusCode::CREATED);
    assert_eq!(imported["issuer_metadata"]["id"], "root-a");
}

#[tokio::test]
async fn ids_have_255_octets_at_most() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let foreign = ForeignPlan::root("Foreign Root").make();
    let request = json!({ "subject": { "common_name": "x" }, "key_metadata": { "type": "ECDSA", "bits": 256 } });
    let bodies = [
        ("/v1/cas", root_body("", &profile)),
        ("/v1/cas/import", json!({ "ca": foreign.wire() })),
        ("/v1/cas/requests", request),
    ];
    for (path, mut body) in bodies {
        for n_octets in [256, 3_000] {
            body["id"] = json!(random(n_octets));
            let refused = world.post(path, body.clone()).await;
            assert_eq!(
                refused.refusal(),
                (400, "id is longer than 255 octets"),
                "{path}"
            );
        }
        body["id"] = json!(random(255));
        let made = world.post(path, body).await.with(StatusCode::CREATED);
        assert_eq!(made["id"], json!(random(255)));
        if path != "/v1/cas/requests" {
            let expired = json!({ "status": "EXPIRED" });
            let path = format!("/v1/cas/{}", random(255));
            let set = world.post(&format!("{path}/status"), expired).await;
            set.with(StatusCode::CREATED);
            world.delete(&path).await.with(StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn names_of_profiles_have_1000_octets_at_most() {
    let world = World::new().await;
    let mut profile = device_profile();
    profile["name"] = json!(random(1_000));
    let path = format!("/v1/profiles/{}", world.profile(profile.clone()).await);
    let text = "profile member name: it is longer than 1000 octets";
    for n_octets in [1_001, 3_000] {
        profile["name"] = json!(random(n_octets));
        let created = world.post("/v1/profiles", profile.clone()).await;
        assert_eq!(created.refusal(), (400, text));
        let updated = world.put(&path, profile.clone()).await;
        assert_eq!(updated.refusal(), (400, text));
    }
}

#[tokio::test]
async fn a_key_identifier_that_no_index_takes_is_not_imported() {
    let world = World::new().await;
    let root = |n_octets| {
        let plan = ForeignPlan {
            key_identifier: random_octets(n_octets),
            ..ForeignPlan::root("Foreign Root")
        };
        json!({ "ca": plan.make().wire() })
    };
    let refused = world.post("/v1/cas/import", root(501)).await;
    let text =
        "certificate cannot be imported: its subject key identifier is longer than 500 octets";
    assert_eq!(refused.refusal(), (400, text));
    let taken = world.post("/v1/cas/import", root(500)).await;
    taken.with(StatusCode::CREATED);
}
