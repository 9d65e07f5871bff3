//! What is done with all members of a group.

use http::Method;
use lamassu_client::{DmsClient, Peer, testing};
use lamassu_core::permission::Role;
use lamassu_core::query::QueryLimits;
use lamassu_db::{NextRun, params, sql, system_caller};
use lamassu_devices::{DevicesConfig, DevicesPorts, DevicesService, Owners};
use lamassu_http::Stack;
use lamassu_http::testing::TokenNamesRole;
use serde_json::{Value, json};
use time::Duration;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::groups::{criterion, id};
use crate::support::{Fixture, fixture};

impl Fixture {
    /// Has something done with the members of group 1; gives the action.
    async fn start(&self, body: Value) -> Value {
        let uri = format!("/v2/device-groups/{}/actions", id(1));
        let (status, action) = self.send(Method::POST, &uri, body).await;
        assert_eq!(status, 202, "{action}");
        action
    }

    async fn action(&self, action: &Value) -> Value {
        let action = action["id"].as_str().unwrap();
        let (status, action) = self
            .get(&format!("/v2/device-groups/{}/actions/{action}", id(1)))
            .await;
        assert_eq!(status, 200, "{action}");
        action
    }

    /// One step of whatever there is to do.
    async fn step(&self, service: &DevicesService) -> NextRun {
        let job = service.actions_job();
        job.run(&system_caller(job.name()), self.db.now())
            .await
            .unwrap()
    }

    /// Steps until there is nothing to do.
    async fn work_off(&self, service: &DevicesService) {
        let now = NextRun::At(self.db.now());
        for _ in 0..100 {
            if self.step(service).await != now {
                return;
            }
        }
        panic!("the actions never end");
    }

    /// As another process, or this one after a restart, has it.
    async fn restarted(&self) -> DevicesService {
        let ports = DevicesPorts {
            db: self.db.clone(),
            ca: std::sync::Arc::clone(&self.ca),
            config: DevicesConfig::default(),
        };
        DevicesService::new(ports).await.unwrap()
    }

    async fn fleet_of(&self, n: usize) {
        for n in 0..n {
            self.register(&format!("dev-{n:03}")).await;
        }
        self.group(1, None, json!([criterion("id", "ct", "dev-")]))
            .await;
    }
}

fn outcome(action: &Value) -> (&str, i64, i64, i64) {
    let n = |name: &str| action[name].as_i64().unwrap();
    (
        action["state"].as_str().unwrap(),
        n("matched"),
        n("succeeded"),
        n("failed"),
    )
}

#[tokio::test]
async fn an_action_that_cannot_be_read_holds_up_no_other_and_is_done_when_it_can() {
    let fixture = fixture().await;
    fixture.fleet_of(2).await;
    let tag = |tag: &str| json!({"action": "add_tags", "parameters": {"tags": [tag]}});
    let broken = fixture.start(tag("broken")).await;
    let other = fixture.start(tag("other")).await;
    let renamed = |word: &str| {
        sql(
            "UPDATE device_group_action SET action = $1 WHERE id = $2",
            params![word, broken["id"].as_str().unwrap()],
        )
    };
    fixture.execute(renamed("sing")).await;
    fixture.work_off(&fixture.local).await;
    let done = ("SUCCEEDED", 2, 2, 0);
    assert_eq!(outcome(&fixture.action(&other).await), done);
    let later = fixture.db.now() + Duration::minutes(1);
    assert_eq!(fixture.step(&fixture.local).await, NextRun::At(later));
    fixture.execute(renamed("add_tags")).await;
    fixture.work_off(&fixture.local).await;
    assert_eq!(outcome(&fixture.action(&broken).await), done);
}

#[tokio::test]
async fn an_action_goes_on_where_a_restart_interrupted_it() {
    let fixture = fixture().await;
    fixture.fleet_of(150).await;
    fixture.register("other").await;
    let action = fixture
        .start(json!({"action": "add_tags", "parameters": {"tags": ["eu", "new"]}}))
        .await;
    assert_eq!(outcome(&action), ("QUEUED", 0, 0, 0));
    let n = fixture.events().await.len();
    // It begins, and does the first devices.
    fixture.step(&fixture.local).await;
    fixture.step(&fixture.local).await;
    assert_eq!(
        outcome(&fixture.action(&action).await),
        ("RUNNING", 150, 64, 0)
    );
    // Who joins later is not touched, and a step whose end nobody noted is repeated.
    fixture.register("dev-999").await;
    let undone = sql(
        "INSERT INTO device_group_action_member (action_id, device_id) VALUES ($1, 'dev-000')",
        params![action["id"].as_str().unwrap()],
    );
    fixture.execute(undone).await;
    let again = fixture.restarted().await;
    fixture.work_off(&again).await;
    let done = fixture.action(&action).await;
    // One of them twice.
    assert_eq!(outcome(&done), ("SUCCEEDED", 150, 151, 0));
    assert_ne!(done["finished_at"], Value::Null);
    assert_eq!(
        fixture
            .ids("/v2/devices?filter=tags[ct]eu&count=true&page_size=1000")
            .await
            .len(),
        150
    );
    let events = fixture.event_types(n).await;
    let count = |event_type: &str| events.iter().filter(|known| *known == event_type).count();
    // Each device once, the action at its start and its end.
    assert_eq!(count("device.update"), 150);
    assert_eq!(count("device-group.action.update"), 2);
}

#[tokio::test]
async fn what_one_device_waits_for_is_not_done_twice_with_the_others() {
    let fixture = fixture().await;
    fixture.fleet_of(3).await;
    // Only a new owner is asked about.
    for (device, owner) in [
        ("dev-000", "fleet-1"),
        ("dev-001", "fleet-2"),
        ("dev-002", "fleet-1"),
    ] {
        let patch = json!({"dms_owner": owner, "metadata": {"notes": []}});
        let uri = format!("/v2/devices/{device}");
        assert_eq!(fixture.send(Method::PATCH, &uri, patch).await.0, 200);
    }
    let nobody_listens = Peer::new(&testing::loopback(1), "", testing::service_token()).unwrap();
    let owners = Owners::Elsewhere(std::sync::Arc::new(DmsClient::new(&nobody_listens)));
    fixture.local.ask_for_owners(owners);
    let patch = json!([
        {"op": "replace", "path": "/dms_owner", "value": "fleet-1"},
        {"op": "add", "path": "/metadata/notes/-", "value": "moved"},
    ]);
    let action = fixture
        .start(json!({"action": "patch", "parameters": {"json_patch": patch}}))
        .await;
    fixture.step(&fixture.local).await;
    for _ in 0..2 {
        let job = fixture.local.actions_job();
        let now = fixture.db.now();
        job.run(&system_caller(job.name()), now).await.unwrap_err();
        let so_far = fixture.action(&action).await;
        assert_eq!(outcome(&so_far), ("RUNNING", 3, 2, 0));
    }
    let again = fixture.restarted().await;
    fixture.work_off(&again).await;
    let done = fixture.action(&action).await;
    assert_eq!(outcome(&done), ("SUCCEEDED", 3, 3, 0));
    for n in 0..3 {
        let device = fixture.get(&format!("/v2/devices/dev-00{n}")).await.1;
        assert_eq!(device["metadata"]["notes"], json!(["moved"]), "{device}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_with_a_device_is_told() {
    let fixture = fixture().await;
    fixture.fleet_of(3).await;
    fixture.bound("dev-bound", "0a").await;
    assert_eq!(
        fixture
            .send(Method::DELETE, "/v2/devices/dev-001", Value::Null)
            .await
            .0,
        200
    );
    let action = fixture
        .start(json!({"action": "patch", "parameters": {"merge_patch": {"dms_owner": "fleet-2"}}}))
        .await;
    fixture.work_off(&fixture.local).await;
    let done = fixture.action(&action).await;
    assert_eq!(outcome(&done), ("PARTIALLY_FAILED", 4, 3, 1));
    assert_eq!(
        done["errors"],
        json!([{"device_id": "dev-001", "code": "device_decommissioned",
                "err": "device status does not allow this operation"}])
    );
    let action = fixture
        .start(
            json!({"action": "revoke_identity", "parameters": {"reason": "KeyCompromise"},
            "filter": ["id[eq]dev-000"]}),
        )
        .await;
    fixture.work_off(&fixture.local).await;
    let failed = fixture.action(&action).await;
    assert_eq!(outcome(&failed), ("FAILED", 1, 0, 1));
    assert_eq!(failed["errors"][0]["code"], "slot_not_found");
    let list = format!("/v2/device-groups/{}/actions?filter=state[eq]FAILED", id(1));
    assert_eq!(fixture.ids(&list).await, [action["id"].as_str().unwrap()]);
}

#[tokio::test]
async fn identities_are_revoked_devices_retired_and_purged() {
    let fixture = fixture().await;
    fixture
        .group(1, None, json!([criterion("id", "ct", "dev-")]))
        .await;
    for (device, serial) in [("dev-1", "0a"), ("dev-2", "0b")] {
        fixture.bound(device, serial).await;
    }
    fixture
        .start(
            json!({"action": "revoke_identity", "parameters": {"reason": "Superseded"},
            "filter": ["id[eq]dev-1"]}),
        )
        .await;
    fixture.work_off(&fixture.local).await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
    assert_eq!(fixture.statuses("dev-2").await, ("ACTIVE", "ACTIVE"));
    let action = fixture.start(json!({"action": "purge"})).await;
    fixture.work_off(&fixture.local).await;
    // Nobody is retired yet.
    assert_eq!(
        outcome(&fixture.action(&action).await),
        ("SUCCEEDED", 0, 0, 0)
    );
    fixture
        .start(json!({"action": "decommission", "parameters": {"comment": "end of line"}}))
        .await;
    fixture
        .start(json!({"action": "purge", "filter": ["id[eq]dev-2"]}))
        .await;
    fixture.work_off(&fixture.local).await;
    assert_eq!(fixture.ids("/v1/devices").await, ["dev-1"]);
    assert_eq!(
        fixture.get("/v1/devices/dev-1").await.1["status"],
        "DECOMMISSIONED"
    );
    let remove = json!({"action": "remove_tags", "parameters": {"tags": ["a"]}});
    let (_, patched) = fixture
        .send(
            Method::PATCH,
            "/v2/devices/dev-1",
            json!({"tags": ["a", "b"]}),
        )
        .await;
    assert_eq!(patched["tags"], json!(["a", "b"]));
    fixture.start(remove).await;
    fixture.work_off(&fixture.local).await;
    assert_eq!(
        fixture.get("/v1/devices/dev-1").await.1["tags"],
        json!(["b"])
    );
}

#[tokio::test]
async fn a_dry_run_counts_and_does_nothing() {
    let fixture = fixture().await;
    fixture.fleet_of(3).await;
    let uri = format!("/v2/device-groups/{}/actions", id(1));
    let body = json!({"action": "decommission", "dry_run": true, "filter": ["id[ne]dev-001"]});
    assert_eq!(
        fixture.send(Method::POST, &uri, body).await,
        (200, json!({"matched": 2, "sample": ["dev-000", "dev-002"]}))
    );
    assert_eq!(fixture.ids(&uri).await, Vec::<String>::new());
    fixture.work_off(&fixture.local).await;
    assert_eq!(
        fixture.get("/v2/devices/dev-000").await.1["status"],
        "NO_IDENTITY"
    );
}

#[tokio::test]
async fn a_cancelled_action_leaves_the_rest_alone() {
    let fixture = fixture().await;
    fixture.fleet_of(100).await;
    let action = fixture
        .start(json!({"action": "add_tags", "parameters": {"tags": ["eu"]}}))
        .await;
    fixture.step(&fixture.local).await;
    fixture.step(&fixture.local).await;
    let uri = format!(
        "/v2/device-groups/{}/actions/{}",
        id(1),
        action["id"].as_str().unwrap()
    );
    let (status, cancelled) = fixture.send(Method::DELETE, &uri, Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(outcome(&cancelled), ("CANCELLED", 100, 64, 0));
    fixture.work_off(&fixture.local).await;
    let after = fixture.action(&action).await;
    assert_eq!(after, cancelled);
    assert_eq!(
        fixture.send(Method::DELETE, &uri, Value::Null).await,
        (200, after)
    );
    assert_eq!(
        fixture
            .ids("/v2/devices?filter=tags[ct]eu&page_size=1000")
            .await
            .len(),
        64
    );
    // With its group it ends too, and after thirty days nothing is left of either.
    fixture.start(json!({"action": "purge"})).await;
    let group = format!("/v2/device-groups/{}", id(1));
    assert_eq!(
        fixture.send(Method::DELETE, &group, Value::Null).await.0,
        204
    );
    fixture
        .refuses(
            Method::GET,
            &uri,
            Value::Null,
            (404, "device group not found"),
        )
        .await;
    fixture.work_off(&fixture.local).await;
    let count = async || {
        let rows = sql("SELECT state FROM device_group_action", vec![]);
        let rows = fixture.db.rows(rows).await.unwrap();
        let states = rows.iter().map(|row| row.get::<String>("state").unwrap());
        states.collect::<Vec<_>>()
    };
    assert_eq!(count().await, ["CANCELLED", "CANCELLED"]);
    fixture.clock.advance(Duration::days(29));
    fixture.work_off(&fixture.local).await;
    assert_eq!(count().await.len(), 2);
    fixture.clock.advance(Duration::days(2));
    fixture.work_off(&fixture.local).await;
    assert_eq!(count().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_action_is_refused() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    let uri = format!("/v2/device-groups/{}/actions", id(1));
    for (body, text) in [
        (json!({"action": "explode"}), ""),
        (
            json!({"action": "purge", "nope": 1}),
            "unknown field 'nope'",
        ),
        (
            json!({"action": "purge", "parameters": {"x": 1}}),
            "invalid parameters: purge has no parameters",
        ),
        (
            json!({"action": "patch"}),
            "invalid parameters: either merge_patch or json_patch is needed",
        ),
        (
            json!({"action": "add_tags", "parameters": {"tags": []}}),
            "invalid parameters: no tags, empty ones or too many",
        ),
        (json!({"action": "revoke_identity"}), ""),
        (
            json!({"action": "revoke_identity", "parameters": {"reason": "Boredom"}}),
            "invalid parameters: unknown revocation reason",
        ),
        (
            json!({"action": "decommission", "parameters": {"reason": "CertificateHold"}}),
            "invalid parameters: a decommissioned device cannot be on hold",
        ),
        (
            json!({"action": "purge", "filter": ["nope[eq]x"]}),
            "unknown filter field 'nope'",
        ),
    ] {
        let (status, answer) = fixture.send(Method::POST, &uri, body.clone()).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(text.is_empty() || answer["err"] == text, "{body}: {answer}");
    }
    for (uri, text) in [
        (format!("{uri}/nope"), "action not found"),
        (
            format!("/v2/device-groups/{}/actions/nope", id(9)),
            "device group not found",
        ),
    ] {
        fixture
            .refuses(Method::GET, &uri, Value::Null, (404, text))
            .await;
        fixture
            .refuses(Method::DELETE, &uri, Value::Null, (404, text))
            .await;
    }
}

/// Whoever may manage groups needs the permission of the deed besides; no role of ours has the one
/// without the other, so a reader is told from a manager.
#[tokio::test]
async fn an_action_needs_the_permission_of_what_it_does() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    let routes = (fixture.routes)(QueryLimits::default());
    let stack = Stack::new(std::sync::Arc::new(TokenNamesRole), TaskTracker::new());
    let router = stack.mount("", &routes).build().unwrap();
    let uri = format!("/v2/device-groups/{}/actions", id(1));
    for (role, status) in [(Role::DeviceManager, 202), (Role::Auditor, 403)] {
        let request = http::Request::post(&uri)
            .header("authorization", format!("Bearer {}", role.name()))
            .body(axum::body::Body::from(
                json!({"action": "purge"}).to_string(),
            ));
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{}", role.name());
    }
}
