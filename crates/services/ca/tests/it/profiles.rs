use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{World, device_profile};

#[tokio::test]
async fn a_profile_is_stored_as_it_is_shown() {
    let world = World::new().await;
    let created = world
        .post(
            "/v1/profiles",
            json!({ "id": "mine", "name": "Empty", "extended_key_usages": null }),
        )
        .await
        .with(StatusCode::CREATED);
    let id = created["id"].as_str().unwrap();
    assert_ne!(id, "mine");
    let expected = json!({
        "id": id, "name": "Empty", "description": "",
        "validity": { "type": "", "time": "0001-01-01T00:00:00Z" },
        "sign_as_ca": false,
        "honor_key_usage": false, "key_usage": [],
        "honor_extended_key_usages": false, "extended_key_usages": [],
        "honor_subject": false,
        "subject": {
            "common_name": "", "organization": "", "organization_unit": "",
            "country": "", "state": "", "locality": "",
        },
        "honor_extensions": false,
        "crypto_enforcement": {
            "enabled": false,
            "allow_rsa_keys": false, "allowed_rsa_key_sizes": null,
            "allow_ecdsa_keys": false, "allowed_ecdsa_key_sizes": null,
        },
    });
    assert_eq!(created, expected);
    assert_eq!(
        world
            .get(&format!("/v1/profiles/{id}"))
            .await
            .with(StatusCode::OK),
        expected
    );
}

#[tokio::test]
async fn an_update_replaces_all_but_what_older_clients_do_not_know() {
    let world = World::new().await;
    let mut profile = device_profile();
    profile["crypto_enforcement"] =
        json!({ "enabled": true, "allow_ed25519_keys": true, "allow_mldsa_keys": true });
    let id = world.profile(profile).await;
    let path = format!("/v1/profiles/{id}");
    let body = json!({
        "id": "other", "name": "Renamed", "extended_key_usages": null,
        "crypto_enforcement": { "enabled": true, "allow_mldsa_keys": null },
    });
    let updated = world.put(&path, body).await.with(StatusCode::OK);
    assert_eq!(updated["id"], json!(id));
    assert_eq!(updated["name"], "Renamed");
    assert_eq!(updated["honor_subject"], false);
    assert_eq!(updated["extended_key_usages"], json!([]));
    assert_eq!(updated["crypto_enforcement"]["allow_ed25519_keys"], true);
    assert_eq!(updated["crypto_enforcement"].get("allow_mldsa_keys"), None);
    assert_eq!(world.get(&path).await.with(StatusCode::OK), updated);
}

#[tokio::test]
async fn unknown_profiles_are_not_found() {
    let world = World::new().await;
    let expected = (404, "issuance profile not found");
    assert_eq!(world.get("/v1/profiles/x").await.refusal(), expected);
    assert_eq!(
        world.put("/v1/profiles/x", json!({})).await.refusal(),
        expected
    );
    assert_eq!(world.delete("/v1/profiles/x").await.refusal(), expected);
    assert_eq!(world.count("issuance_profile").await, 0);
}

#[tokio::test]
async fn malformed_profiles_have_the_texts_of_the_wire() {
    let world = World::new().await;
    let cases = [
        (
            json!({ "key_usage": ["certsign"] }),
            "unknown key usage: certsign",
        ),
        (json!({ "key_usage": 7 }), "invalid format"),
        (
            json!({ "extended_key_usages": ["Nothing"] }),
            "unsupported ext key usage",
        ),
        (
            json!({ "validity": { "type": "Duration", "duration": "5x" } }),
            "time: unknown unit \"x\" in duration \"5x\"",
        ),
        (
            json!({ "validity": { "type": "Duration", "duration": "-1h" } }),
            "struct validation error",
        ),
    ];
    for (body, text) in cases {
        assert_eq!(
            world.post("/v1/profiles", body).await.refusal(),
            (400, text)
        );
    }
}

#[tokio::test]
async fn every_change_is_told_and_recorded() {
    let world = World::new().await;
    let id = world.profile(device_profile()).await;
    let path = format!("/v1/profiles/{id}");
    world
        .put(&path, json!({ "name": "B" }))
        .await
        .with(StatusCode::OK);
    let change = world.last_event("profile.issuance.update").await;
    assert_eq!(change["data"]["previous"]["name"], "Devices");
    assert_eq!(change["data"]["updated"]["name"], "B");
    world.delete(&path).await.with(StatusCode::NO_CONTENT);
    let removed = world.last_event("profile.issuance.delete").await;
    assert_eq!(removed["data"], json!({ "ProfileID": id }));
    assert_eq!(
        removed["source"],
        "source://lamassu.io/ctx/source/service/ca"
    );
    let subject = format!("profile/{id}");
    let told: Vec<(String, String)> = [
        "profile.issuance.create",
        "profile.issuance.update",
        "profile.issuance.delete",
    ]
    .map(|kind| (kind.to_owned(), subject.clone()))
    .into();
    assert_eq!(world.events().await, told);
    assert_eq!(world.audit().await, told);
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let world = World::new().await;
    for name in ["b", "C", "a"] {
        world.profile(json!({ "name": name })).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let list = page["list"].as_array().unwrap().iter();
        list.map(|profile| profile["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = world
        .get("/v1/profiles?sort_by=name&page_size=2")
        .await
        .with(StatusCode::OK);
    assert_eq!(names(&first), ["a", "b"]);
    let next = first["next"].as_str().unwrap();
    let second = world
        .get(&format!("/v1/profiles?bookmark={next}"))
        .await
        .with(StatusCode::OK);
    assert_eq!(
        (names(&second), second["next"].as_str()),
        (vec!["C".to_owned()], Some(""))
    );
    let one = world
        .get("/v1/profiles?filter=name[eq_ic]c")
        .await
        .with(StatusCode::OK);
    assert_eq!(names(&one), ["C"]);
    assert_eq!(
        world
            .get("/v1/profiles?bookmark=bm90aGluZw")
            .await
            .refusal(),
        (400, "not a valid bookmark")
    );
}
