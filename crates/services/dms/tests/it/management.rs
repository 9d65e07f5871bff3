//! DMSs through the management API.

use std::sync::Arc;

use http::StatusCode;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_http::testing::AllowAll;
use lamassu_http::{Access, Stack};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::support::{World, dms};

#[tokio::test]
async fn a_dms_is_created_read_and_told() {
    let world = World::new().await;
    let created = world
        .created(json!({"ID": "factory-7", "name": "Factory 7", "metadata": {"site": "BIO"}}))
        .await;
    assert_eq!(created["id"], "factory-7");
    assert_eq!(created["creation_ts"], "2026-03-01T09:00:00Z");
    assert_eq!(created["metadata"], json!({"site": "BIO"}));
    let enrollment = &created["settings"]["enrollment_settings"];
    assert_eq!(
        enrollment["est_rfc7030_settings"]["client_certificate_settings"]["validation_cas"],
        json!([])
    );
    assert_eq!(
        created["settings"]["server_keygen_settings"],
        json!({"enabled": false, "key": {"type": "0", "bits": 0}})
    );
    let (status, read) = world.call("GET", "/v1/dms/factory-7", Value::Null).await;
    assert_eq!((status, &read), (StatusCode::OK, &created));
    let event = world.event("dms.create").await;
    assert_eq!(event["subject"], "dms/factory-7");
    assert_eq!(event["source"], "source://lamassu.io/ctx/source/service/ra");
    assert_eq!(event["data"], created);
}

/// No built-in role has one without the other; scopes of tokens may.
#[tokio::test]
async fn deleting_a_dms_needs_a_permission_of_its_own() {
    let world = World::new().await;
    let routes = (world.routes)(QueryLimits::default());
    let stack = Stack::new(Arc::new(AllowAll), TaskTracker::new()).mount("", &routes);
    let table = stack.route_table();
    let needed: Vec<_> = table
        .iter()
        .filter(|route| route.path == "/v1/dms/{id}")
        .map(|route| (route.info.method.as_str(), route.info.access))
        .collect();
    let needs = |action| Access::Permission(Permission::new("dms", action));
    let expected = [
        ("GET", needs("read")),
        ("PUT", needs("write")),
        ("DELETE", needs("delete")),
    ];
    assert_eq!(needed, expected);
}

#[tokio::test]
async fn refusals_have_their_texts() {
    let world = World::new().await;
    world.created(json!({"id": "a", "name": "A"})).await;
    let cases = [
        (
            "POST",
            "/v1/dms",
            json!({"id": "a", "name": "again"}),
            409,
            "DMS already exists",
        ),
        (
            "POST",
            "/v1/dms",
            json!({"name": "no id"}),
            400,
            "struct validation error",
        ),
        (
            "POST",
            "/v1/dms",
            json!({"id": "no-name"}),
            400,
            "struct validation error",
        ),
        ("GET", "/v1/dms/b", Value::Null, 404, "DMS not found"),
        (
            "PUT",
            "/v1/dms/b",
            json!({"name": "B"}),
            404,
            "DMS not found",
        ),
        (
            "PUT",
            "/v1/dms/a",
            json!({"id": "b"}),
            400,
            "id of the body differs from the id of the path",
        ),
        (
            "GET",
            "/v1/dms?filter=name[jsonpath]x",
            Value::Null,
            400,
            "invalid filter operand 'jsonpath' for field 'name' of type 0",
        ),
        (
            "GET",
            "/v1/dms?bookmark=x",
            Value::Null,
            400,
            "not a valid bookmark",
        ),
        (
            "POST",
            "/v1/dms",
            json!({"id": "c", "name": "C", "settings": {"reenrollment_settings": {"reenrollment_delta": ""}}}),
            400,
            "time: invalid duration \"\"",
        ),
        (
            "POST",
            "/v1/dms",
            json!({"id": "c", "name": "C", "settings": {"issuance_profile": {"sign_as_ca": true}}}),
            400,
            "issuance profile signs CA certificates and cannot be used for enrollment",
        ),
        (
            "PUT",
            "/v1/dms/a",
            json!({"name": "A", "settings": {"issuance_profile": {"sign_as_ca": true}}}),
            400,
            "issuance profile signs CA certificates and cannot be used for enrollment",
        ),
    ];
    for (method, path, body, status, text) in cases {
        let (answered, reply) = world.call(method, path, body).await;
        assert_eq!(
            (answered.as_u16(), reply["err"].as_str()),
            (status, Some(text)),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn of_twenty_parallel_creations_one_succeeds() {
    let world = std::sync::Arc::new(World::new().await);
    let creations = (0..20).map(|_| {
        let world = std::sync::Arc::clone(&world);
        async move {
            world
                .call("POST", "/v1/dms", json!({"id": "a", "name": "A"}))
                .await
                .0
        }
    });
    let mut created = 0;
    for creation in creations.collect::<JoinSet<_>>().join_all().await {
        match creation {
            StatusCode::CREATED => created += 1,
            other => assert_eq!(other, StatusCode::CONFLICT),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(
        world
            .event_types()
            .await
            .iter()
            .filter(|name| *name == "dms.create")
            .count(),
        1
    );
}

#[tokio::test]
async fn an_update_replaces_everything_but_what_it_cannot_know() {
    let world = World::new().await;
    let created = world
        .created(dms(
            "a",
            &json!({}),
            &json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}}),
        ))
        .await;
    let mut sent = created.clone();
    sent["name"] = json!("renamed");
    sent["metadata"] = Value::Null;
    // As dashboards save it: without re-enrollment's own authentication.
    sent["settings"]["reenrollment_settings"]
        .as_object_mut()
        .unwrap()
        .remove("est_rfc7030_settings");
    sent["settings"]["enrollment_settings"]["enrollment_ca"] = json!("other");
    let (status, updated) = world.call("PUT", "/v1/dms/a", sent).await;
    assert_eq!(status, StatusCode::OK, "{updated}");
    assert_eq!(updated["name"], "renamed");
    assert_eq!(updated["metadata"], json!({}));
    assert_eq!(updated["creation_ts"], created["creation_ts"]);
    let settings = &updated["settings"];
    assert_eq!(
        settings["reenrollment_settings"]["est_rfc7030_settings"]["auth_mode"],
        "NO_AUTH"
    );
    assert_eq!(settings["enrollment_settings"]["enrollment_ca"], "other");
    let event = world.event("dms.update").await;
    assert_eq!(
        event["data"],
        json!({"previous": created, "updated": updated})
    );
    let (_, read) = world.call("GET", "/v1/dms/a", Value::Null).await;
    assert_eq!(read, updated);
}

#[tokio::test]
async fn parallel_updates_all_succeed_one_after_the_other() {
    let world = std::sync::Arc::new(World::new().await);
    world.created(json!({"id": "a", "name": "0"})).await;
    let updates = (1..=5).map(|n| {
        let world = std::sync::Arc::clone(&world);
        async move {
            world
                .call("PUT", "/v1/dms/a", json!({"name": n.to_string()}))
                .await
                .0
        }
    });
    for update in updates.collect::<JoinSet<_>>().join_all().await {
        assert_eq!(update, StatusCode::OK);
    }
    assert_eq!(
        world
            .event_types()
            .await
            .iter()
            .filter(|name| *name == "dms.update")
            .count(),
        5
    );
}

#[tokio::test]
async fn lists_are_filtered_sorted_paged_and_counted() {
    let world = World::new().await;
    for (id, region) in [("c", "eu-1"), ("a", "us-1"), ("b", "us-2")] {
        world
            .created(json!({"id": id, "name": format!("dms {id}"), "metadata": {"region": region}}))
            .await;
    }
    let ids = |page: &Value| {
        let list = page["list"].as_array().unwrap();
        list.iter()
            .map(|dms| dms["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (_, first) = world
        .call(
            "GET",
            "/v1/dms?page_size=2&sort_by=id&sort_mode=asc",
            Value::Null,
        )
        .await;
    assert_eq!(ids(&first), ["a", "b"]);
    let next = first["next"].as_str().unwrap();
    let (_, second) = world
        .call("GET", &format!("/v1/dms?bookmark={next}"), Value::Null)
        .await;
    assert_eq!(ids(&second), ["c"]);
    assert_eq!(second["next"], "");
    let (_, named) = world
        .call("GET", "/v1/dms?filter=name[contains]s%20b", Value::Null)
        .await;
    assert_eq!(ids(&named), ["b"]);
    let (status, stats) = world.call("GET", "/v1/stats", Value::Null).await;
    assert_eq!((status, stats), (StatusCode::OK, json!({"total": 3})));
    let (_, filtered) = world
        .call("GET", "/v1/stats?filter=id[ne]a", Value::Null)
        .await;
    assert_eq!(filtered, json!({"total": 2}));
}

#[tokio::test]
async fn each_refused_change_is_recorded_with_its_reason() {
    let world = World::new().await;
    world.created(json!({"id": "a", "name": "A"})).await;
    let cases = [
        (
            "POST",
            "/v1/dms",
            json!({"id": "a", "name": "again"}),
            "dms.create",
            "dms/a",
        ),
        (
            "PUT",
            "/v1/dms/x",
            json!({"id": "x", "name": "X"}),
            "dms.update",
            "dms/x",
        ),
        (
            "PUT",
            "/v1/dms/x/metadata",
            json!({"patches": []}),
            "dms.metadata.update",
            "dms/x",
        ),
        ("DELETE", "/v1/dms/x", Value::Null, "dms.delete", "dms/x"),
        (
            "POST",
            "/v1/dms/a/passwords",
            json!({}),
            "dms.password.create",
            "dms/a/passwords",
        ),
        (
            "DELETE",
            "/v1/dms/a/passwords/p",
            Value::Null,
            "dms.password.revoke",
            "dms/a/passwords/p",
        ),
        (
            "POST",
            "/v1/dms/bind-identity",
            json!({"device_id": "d", "certificate_serial_number": "01"}),
            "device.bind",
            "device/d",
        ),
    ];
    let mut expected = Vec::new();
    for (method, path, body, operation, resource) in cases {
        let (status, answer) = world.call(method, path, body).await;
        assert!(status.is_client_error(), "{path}: {status}");
        let text = answer["err"].as_str().unwrap().to_owned();
        expected.push((operation.to_owned(), resource.to_owned(), text));
    }
    assert_eq!(world.refusals().await, expected);
}
