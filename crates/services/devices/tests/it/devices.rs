//! Registering and reading devices.

use std::sync::Arc;

use http::StatusCode;
use lamassu_core::clock::ManualClock;
use lamassu_core::permission::Role;
use lamassu_core::query::QueryLimits;
use lamassu_devices::routes;
use lamassu_http::Stack;
use lamassu_http::route_audit::audit;
use lamassu_http::testing::TokenNamesRole;
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::support::{START, fixture, post, service};

#[tokio::test]
async fn a_registered_device_reads_back_as_it_was_answered() {
    let fixture = fixture().await;
    let body = json!({
        "id": "dev-1", "alias": "hall 3", "tags": ["iot", "eu"], "metadata": {"site": {"n": 1.5}},
        "dms_id": "fleet-1", "icon": "Router", "icon_color": "#25ee32-#222222",
    });
    let (status, created) = fixture.post("/v1/devices", body.to_string()).await;
    assert_eq!(status, StatusCode::CREATED);
    let expected = json!({
        "id": "dev-1", "tags": ["iot", "eu"], "status": "NO_IDENTITY", "icon": "Router",
        "icon_color": "#25ee32-#222222", "creation_timestamp": "2026-03-01T09:00:00Z",
        "metadata": {"site": {"n": 1.5}}, "dms_owner": "fleet-1", "slots": {},
        "events": {"2026-03-01T09:00:00Z": {"type": "CREATED", "description": ""}},
    });
    assert_eq!(created, expected);
    assert_eq!(
        fixture.get("/v1/devices/dev-1").await,
        (StatusCode::OK, expected.clone())
    );

    let events = fixture.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["type"], "device.create");
    assert_eq!(events[0]["subject"], "device/dev-1");
    assert_eq!(
        events[0]["source"],
        "source://lamassu.io/ctx/source/service/devmanager"
    );
    assert_eq!(events[0]["data"], expected);
}

#[tokio::test]
async fn what_a_registration_leaves_out_has_defaults() {
    let fixture = fixture().await;
    let body = r#"{"ID":"dev-1","dms_id":"fleet-1","tags":null,"metadata":null,"icon":""}"#;
    let (status, created) = fixture.post("/v1/devices", body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(created["icon"], "Cpu");
    assert_eq!(created["icon_color"], "#888888-#e0e0e0");
    assert_eq!(created["tags"], json!([]));
    assert_eq!(created["metadata"], json!({}));
}

#[tokio::test]
async fn a_device_needs_a_well_formed_id_and_a_dms() {
    let fixture = fixture().await;
    let bodies = [
        json!({"dms_id": "fleet-1"}),
        json!({"id": "dev-1"}),
        json!({"id": "dev\n1", "dms_id": "fleet-1"}),
        json!({"id": "x".repeat(513), "dms_id": "fleet-1"}),
    ];
    for body in bodies {
        let answer = fixture.post("/v1/devices", body.to_string()).await;
        let refusal = json!({"err": "struct validation error"});
        assert_eq!(answer, (StatusCode::BAD_REQUEST, refusal), "{body}");
    }
    assert_eq!(
        fixture.post("/v1/devices", "{").await.0,
        StatusCode::BAD_REQUEST
    );
    let longest = json!({"id": "x".repeat(512), "dms_id": "fleet-1"}).to_string();
    assert_eq!(
        fixture.post("/v1/devices", longest).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_unknown_device_is_a_bad_request() {
    let fixture = fixture().await;
    let answer = fixture.get("/v1/devices/nobody").await;
    assert_eq!(
        answer,
        (StatusCode::BAD_REQUEST, json!({"err": "device not found"}))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_registered_once() {
    let fixture = fixture().await;
    let body = r#"{"id":"dev-1","dms_id":"fleet-1"}"#;
    let tasks: Vec<_> = (0..20)
        .map(|_| tokio::spawn(post(fixture.router.clone(), "/v1/devices", body)))
        .collect();
    let mut created = 0;
    for task in tasks {
        let (status, answer) = task.await.unwrap();
        if status == StatusCode::CREATED {
            created += 1;
        } else {
            assert_eq!(status, StatusCode::CONFLICT);
            assert_eq!(answer, json!({"err": "device already exists"}));
        }
    }
    assert_eq!(created, 1);
    assert_eq!(fixture.event_types(0).await, ["device.create"]);
}

#[tokio::test]
async fn a_device_may_be_called_like_a_path() {
    let fixture = fixture().await;
    fixture.register("dms").await;
    fixture.register("a/b c").await;
    assert_eq!(fixture.get("/v1/devices/dms").await.1["id"], "dms");
    assert_eq!(fixture.get("/v1/devices/a%2Fb%20c").await.1["id"], "a/b c");
}

#[tokio::test]
async fn no_route_is_open() {
    let (_db, service, _dir) = service(Arc::new(ManualClock::at(START))).await;
    let clock = Arc::new(ManualClock::at(START));
    let routes = routes(Arc::new(service), clock, QueryLimits::default());
    let stack = Stack::new(Arc::new(TokenNamesRole), TaskTracker::new()).mount("", &routes);
    let table = stack.route_table();
    let router = stack.build().unwrap();
    let open = audit(&router, &table, |role: Role| role.name().to_owned()).await;
    assert_eq!(open, []);
    assert_eq!(table.len(), 56);
}

/// PostgreSQL stores no U+0000 in texts, and one database must not take what the other does not.
#[tokio::test]
async fn the_character_nul_is_refused_by_name_on_every_database() {
    let fixture = fixture().await;
    let bodies = [
        (r#"{"id":"a\u0000","dms_id":"f"}"#, "id"),
        (r#"{"id":"a","dms_id":"f","alias":"\u0000"}"#, "alias"),
        (r#"{"id":"a","dms_id":"f","tags":["x","\u0000"]}"#, "tags"),
        (
            r#"{"id":"a","dms_id":"f","metadata":{"a":{"b":"\u0000"}}}"#,
            "metadata.a.b",
        ),
        (
            r#"{"id":"a","dms_id":"f","metadata":{"a\u0000":1}}"#,
            r"metadata.a\u0000",
        ),
    ];
    for (body, place) in bodies {
        let (status, answer) = fixture.post("/v1/devices", body).await;
        let expected =
            format!("json: field {place} holds the character U+0000, which cannot be stored");
        assert_eq!(
            (status, &answer["err"]),
            (StatusCode::BAD_REQUEST, &json!(expected))
        );
    }
    let paths = [
        ("/v1/devices/a%00", "path parameter id"),
        ("/v1/devices/dms/%00", "path parameter dms_id"),
        (
            "/v1/devices?filter=id%5Beq%5Da%00",
            "query parameter filter",
        ),
        ("/v1/devices?bookmark=%00", "query parameter bookmark"),
        ("/v1/stats?filter=id%5Bct%5D%00", "query parameter filter"),
    ];
    for (path, place) in paths {
        let (status, answer) = fixture.get(path).await;
        let expected = format!("{place} holds the character U+0000, which cannot be stored");
        assert_eq!(
            (status, &answer["err"]),
            (StatusCode::BAD_REQUEST, &json!(expected)),
            "{path}"
        );
    }
    for path in ["%2524.a == \"%2500\"", "$.a == \"\\u0000\""] {
        let path = path.replace(' ', "%20").replace('"', "%22");
        let (status, answer) = fixture
            .get(&format!("/v1/devices?filter=metadata%5Bjsonpath%5D{path}"))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
}
