//! Metadata of CAs and certificates, changed by JSON Patch.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::World;

fn add(path: &str, value: &Value) -> Value {
    json!({ "patches": [{ "op": "add", "path": path, "value": value }] })
}

#[tokio::test]
async fn both_verbs_patch_a_ca() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let path = "/v1/cas/root-a/metadata";
    let first = world
        .put(path, add("/lamassu.io~1iot~1aws", &json!({ "on": true })))
        .await;
    let first = first.with(StatusCode::OK);
    assert_eq!(
        first["metadata"],
        json!({ "lamassu.io/iot/aws": { "on": true } })
    );
    let event = world.last_event("ca.metadata.update").await;
    assert_eq!(event["subject"], "ca/root-a");
    assert_eq!(event["data"], json!({ "previous": root, "updated": first }));
    let second = world
        .patch(path, add("", &json!({ "tags": [1, null] })))
        .await;
    let second = second.with(StatusCode::OK);
    assert_eq!(second["metadata"], json!({ "tags": [1, null] }));
    assert_eq!(world.ca("root-a").await, second);
    // Nothing to do is done, and told.
    let empty = world.put(path, json!({ "Patches": [] })).await;
    assert_eq!(empty.with(StatusCode::OK), second);
    let told = world.events().await;
    let updates = told
        .iter()
        .filter(|(kind, _)| kind == "ca.metadata.update")
        .count();
    assert_eq!(updates, 3);
    // The certificate's are others.
    assert_eq!(second["certificate"]["metadata"], json!({}));
}

#[tokio::test]
async fn a_certificates_metadata_are_patched_under_its_serial_number() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = issued["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/metadata");
    let body = json!({ "Patches": [{ "op": "add", "path": "/tags/-", "value": "a" }] });
    let updated = world.put(&path, body).await.with(StatusCode::OK);
    assert_eq!(updated["metadata"], json!({ "tags": ["a"] }));
    let event = world.last_event("certificate.metadata.update").await;
    assert_eq!(
        event["data"],
        json!({ "previous": issued, "updated": updated })
    );
    assert_eq!(world.now(&issued).await, updated);
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let own = format!(
        "/v1/certificates/{}/metadata",
        root["serial_number"].as_str().unwrap()
    );
    let replace = json!({ "patches": [{ "op": "replace", "path": "/none", "value": 1 }] });
    for (path, unknown) in [
        ("/v1/cas/root-a/metadata", None),
        (own.as_str(), None),
        ("/v1/cas/nobody/metadata", Some("CA not found")),
        (
            "/v1/certificates/abcd/metadata",
            Some("certificate not found"),
        ),
    ] {
        for body in [json!({}), json!({ "patches": null })] {
            let answer = world.put(path, body).await;
            assert_eq!(answer.refusal(), (400, "struct validation error"), "{path}");
        }
        let answer = world.put(path, replace.clone()).await;
        match unknown {
            Some(text) => assert_eq!(answer.refusal(), (404, text)),
            None => {
                let (status, text) = answer.refusal();
                assert_eq!(status, 400);
                let start = "failed to apply patches to metadata: ";
                assert!(text.starts_with(start), "{text}");
            }
        }
    }
    assert_eq!(world.ca("root-a").await, root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_patches_at_once_all_survive() {
    let world = World::new().await;
    world.root("root-a").await;
    let paths: Vec<String> = (0..20).map(|n| format!("/member-{n}")).collect();
    let patches = paths
        .iter()
        .map(|path| world.put("/v1/cas/root-a/metadata", add(path, &json!(1))));
    for answer in join_all(patches).await {
        answer.with(StatusCode::OK);
    }
    let ca = world.ca("root-a").await;
    assert_eq!(ca["metadata"].as_object().unwrap().len(), 20);
}
