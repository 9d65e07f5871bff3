//! Refused changes are in the audit log, with what was asked for and what was answered.

use http::Method;
use serde_json::{Value, json};

use crate::support::{ForeignPlan, World, ask, root_body};

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn each_refused_change_is_recorded_once_with_its_reason() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let profile = root["profile_id"].as_str().unwrap();
    let replace = json!({ "patches": [{ "op": "replace", "path": "/x", "value": 1 }] });
    let message = json!({ "message": "", "message_type": "raw", "signature_algorithm": "x" });
    let certificate = json!({
        "ca_id": "x", "subject": { "common_name": "c" }, "key_spec": { "type": "ECDSA", "bits": 256 },
    });
    let status = json!({ "status": "REVOKED", "revocation_reason": "Superseded" });
    let foreign = ForeignPlan::root("Root").make();
    let own = json!({ "certificate": root["certificate"]["certificate"] });
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    let cases = [
        (
            post.clone(),
            "/v1/cas",
            root_body("root-a", profile),
            "ca.create",
            "ca/root-a",
        ),
        (
            post.clone(),
            "/v1/cas/import",
            json!({ "id": "i", "ca": foreign.wire(), "profile_id": "x" }),
            "ca.import",
            "ca/i",
        ),
        (
            post.clone(),
            "/v1/cas/x/status",
            status.clone(),
            "ca.status.update",
            "ca/x",
        ),
        (
            post.clone(),
            "/v1/cas/x/profile",
            json!({ "profile_id": profile }),
            "ca.profile.update",
            "ca/x",
        ),
        (
            post.clone(),
            "/v1/cas/x/reissue",
            json!({}),
            "ca.reissue",
            "ca/x",
        ),
        (
            put.clone(),
            "/v1/cas/root-a/metadata",
            replace.clone(),
            "ca.metadata.update",
            "ca/root-a",
        ),
        (
            delete.clone(),
            "/v1/cas/root-a",
            Value::Null,
            "ca.delete",
            "ca/root-a",
        ),
        (
            post.clone(),
            "/v1/cas/root-a/signature/sign",
            message,
            "ca.sign.signature",
            "ca/root-a",
        ),
        (
            post.clone(),
            "/v1/cas/requests",
            json!({ "id": "r" }),
            "ca.request",
            "ca/request/r",
        ),
        (
            delete.clone(),
            "/v1/cas/requests/x",
            Value::Null,
            "ca.request.delete",
            "ca/request/x",
        ),
        (
            post.clone(),
            "/v1/cas/root-a/certificates/sign",
            json!({}),
            "ca.sign.certificate",
            "ca/root-a",
        ),
        (
            put.clone(),
            "/v1/certificates/ab/status",
            status,
            "certificate.status.update",
            "certificate/ab",
        ),
        (
            put,
            "/v1/certificates/ab/metadata",
            replace,
            "certificate.metadata.update",
            "certificate/ab",
        ),
        (
            delete.clone(),
            "/v1/certificates/ab",
            Value::Null,
            "certificate.delete",
            "certificate/ab",
        ),
        (
            post.clone(),
            "/v1/certificates",
            certificate,
            "certificate.create",
            "ca/x",
        ),
        (
            post.clone(),
            "/v1/certificates/import",
            own,
            "ca.certificate.import",
            "certificate",
        ),
        (
            post,
            "/v1/certificates/revocations",
            json!({}),
            "certificate.revocations",
            "certificate",
        ),
        (
            delete,
            "/v1/profiles/x",
            Value::Null,
            "profile.issuance.delete",
            "profile/x",
        ),
    ];
    let mut expected = Vec::new();
    for (method, path, body, operation, resource) in cases {
        let body = (!body.is_null()).then(|| body.to_string());
        let answer = ask(world.router(), method, path, body).await;
        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
        expected.push([operation, resource, answer.refusal().1].map(str::to_owned));
    }
    assert_eq!(world.refusals().await, expected);
    // Reads are no changes.
    world.get("/v1/cas/x").await;
    world.get("/v1/cas?bookmark=x").await;
    assert_eq!(world.refusals().await.len(), expected.len());
}

#[tokio::test]
async fn the_writing_of_profiles_is_recorded_too() {
    let world = World::new().await;
    let wrong = json!({ "name": "p", "common_name_pattern": "(" });
    let created = world.post("/v1/profiles", wrong.clone()).await;
    let updated = world.put("/v1/profiles/x", wrong).await;
    let record = |operation: &str, resource: &str, reason: &str| {
        [operation, resource, reason].map(str::to_owned)
    };
    assert_eq!(
        world.refusals().await,
        [
            record("profile.issuance.create", "profile/", created.refusal().1),
            record("profile.issuance.update", "profile/x", updated.refusal().1),
        ]
    );
}
