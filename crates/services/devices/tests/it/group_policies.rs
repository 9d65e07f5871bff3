//! Policies of groups, and what they come to.

use http::Method;
use lamassu_core::device::CreateDevice;
use lamassu_core::duration::WireDuration;
use serde_json::{Value, json};

use crate::groups::{criterion, id};
use crate::support::{Fixture, caller, fixture};

impl Fixture {
    async fn with_policies(&self, n: u32, policies: Value) {
        let uri = format!("/v2/device-groups/{}", id(n));
        let (_, group) = self.get(&uri).await;
        let body = json!({"name": group["name"], "parent_id": group["parent_id"],
            "criteria": group["criteria"], "priority": group["priority"], "policies": policies});
        let (status, answer) = self.send(Method::PUT, &uri, body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn prioritised(&self, n: u32, priority: i32) {
        let uri = format!("/v2/device-groups/{}", id(n));
        let (status, answer) = self
            .send(Method::PATCH, &uri, json!({"priority": priority}))
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn policies(&self, device: &str) -> Value {
        let (status, policies) = self.get(&format!("/v2/devices/{device}/policies")).await;
        assert_eq!(status, 200, "{policies}");
        policies
    }
}

#[tokio::test]
async fn what_is_no_policy_is_refused() {
    let fixture = fixture().await;
    for (policies, text) in [
        (
            json!({"nope": 1}),
            "invalid policy 'nope': there is no such policy",
        ),
        (json!({"renewal": 1}), "invalid policy 'renewal': no object"),
        (
            json!({"renewal": {"x": "1d"}}),
            "invalid policy 'renewal': unknown member 'x'",
        ),
        (
            json!({"renewal": {"critical_delta": "-1d"}}),
            "invalid policy 'renewal': a duration is negative",
        ),
        (json!({"slots": {"max_versions": -1}}), ""),
        (
            json!({"slots": {"preventive_delta": "1d"}}),
            "invalid policy 'slots': unknown member 'preventive_delta'",
        ),
        (
            json!({"required_tags": "iot"}),
            "invalid policy 'required_tags': no list of tags",
        ),
        (
            json!({"required_tags": {"tags": ["a"], "mode": "maybe"}}),
            "",
        ),
        (
            json!({"metadata_schema": {"schema": {}, "mode": "never"}}),
            "",
        ),
        (json!({"custom": []}), "invalid policy 'custom': no object"),
    ] {
        let body = json!({"name": "x", "policies": policies});
        let (status, answer) = fixture.send(Method::POST, "/v2/device-groups", body).await;
        assert_eq!(status, 400, "{policies}: {answer}");
        assert!(
            text.is_empty() || answer["err"] == text,
            "{policies}: {answer}"
        );
        assert_eq!(answer["code"], "validation_failed");
    }
}

#[tokio::test]
async fn children_override_member_by_member_and_null_removes() {
    let fixture = fixture().await;
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2))] {
        fixture.group(n, parent, json!([])).await;
    }
    let schema = json!({"required": ["location"]});
    fixture
        .with_policies(
            1,
            json!({
                "renewal": {"preventive_delta": "30d", "critical_delta": "7d"},
                "custom": {"owner": "a", "site": "b"},
                "metadata_schema": {"schema": schema},
                "required_tags": ["iot"],
            }),
        )
        .await;
    fixture
        .with_policies(
            2,
            json!({
                "renewal": {"critical_delta": "1d"}, "custom": null,
                "required_tags": {"tags": ["eu"], "mode": "warn"},
            }),
        )
        .await;
    let uri = format!("/v2/device-groups/{}/policies", id(2));
    let (_, policies) = fixture.get(&uri).await;
    let schemas = json!([{"group_id": id(1), "schema": schema, "mode": "enforce"}]);
    let iot = json!({"group_id": id(1), "tags": ["iot"], "mode": "enforce"});
    let eu = json!({"group_id": id(2), "tags": ["eu"], "mode": "warn"});
    assert_eq!(
        policies,
        json!({
            "own": {"renewal": {"critical_delta": "1d"}, "custom": null,
                    "required_tags": {"tags": ["eu"], "mode": "warn"}},
            "inherited": {
                "renewal": {"preventive_delta": "4w2d", "critical_delta": "1w"},
                "custom": {"owner": "a", "site": "b"},
                "metadata_schema": schemas, "required_tags": [iot],
            },
            "effective": {
                "renewal": {"preventive_delta": "4w2d", "critical_delta": "1d"},
                "metadata_schema": schemas, "required_tags": [iot, eu],
            },
        })
    );
    fixture
        .with_policies(
            3,
            json!({"metadata_schema": null, "required_tags": null, "renewal": null}),
        )
        .await;
    let uri = format!("/v2/device-groups/{}/policies", id(3));
    assert_eq!(fixture.get(&uri).await.1["effective"], json!({}));
}

#[tokio::test]
async fn of_several_groups_the_highest_priority_wins_and_is_named() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture.group(1, None, json!([])).await;
    fixture.group(2, Some(1), json!([])).await;
    fixture
        .group(3, None, json!([criterion("id", "eq", "dev-1")]))
        .await;
    fixture
        .group(4, None, json!([criterion("id", "eq", "other")]))
        .await;
    fixture
        .with_policies(
            1,
            json!({"renewal": {"preventive_delta": "1w"}, "required_tags": ["a"]}),
        )
        .await;
    fixture
        .with_policies(
            2,
            json!({"renewal": {"preventive_delta": "2w", "critical_delta": "2d"}}),
        )
        .await;
    fixture
        .with_policies(
            3,
            json!({"renewal": {"critical_delta": "3d"}, "required_tags": ["b"]}),
        )
        .await;
    fixture
        .with_policies(4, json!({"renewal": {"critical_delta": "4d"}}))
        .await;
    let source = |n: u32| json!({"group_id": id(n), "group_name": format!("group-{n}")});
    // Deeper ones come later.
    let policies = fixture.policies("dev-1").await;
    assert_eq!(
        policies["effective"]["renewal"],
        json!({"preventive_delta": "2w", "critical_delta": "2d"})
    );
    assert_eq!(
        policies["sources"],
        json!({"/renewal/preventive_delta": source(2), "/renewal/critical_delta": source(2)})
    );
    let tags = |n: u32, tag: &str| json!({"group_id": id(n), "tags": [tag], "mode": "enforce"});
    assert_eq!(
        policies["effective"]["required_tags"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    fixture.prioritised(3, 1).await;
    let policies = fixture.policies("dev-1").await;
    assert_eq!(policies["effective"]["renewal"]["critical_delta"], "3d");
    assert_eq!(policies["sources"]["/renewal/critical_delta"], source(3));
    assert_eq!(policies["sources"]["/renewal/preventive_delta"], source(2));
    assert_eq!(
        policies["effective"]["required_tags"],
        json!([tags(1, "a"), tags(3, "b")])
    );
}

#[tokio::test]
async fn renewal_is_told_of_devices_that_are_about_to_be_registered_too() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "jitp")]))
        .await;
    let asked = async |device: &str, tags: Option<&str>| {
        let create = tags.map(|tag| CreateDevice {
            tags: vec![tag.to_owned()],
            dms_id: "fleet-1".into(),
            ..CreateDevice::default()
        });
        let (caller, device) = (caller(), device.into());
        let found = fixture
            .service
            .enrolling_device(&caller, &device, create.as_ref());
        let found = found.await.unwrap();
        (found.device.is_some(), found.renewal.critical_delta)
    };
    // Nobody says anything.
    assert_eq!(asked("dev-1", None).await, (true, None));
    assert_eq!(asked("nobody", None).await, (false, None));
    fixture
        .with_policies(1, json!({"renewal": {"critical_delta": "3d"}}))
        .await;
    let three_days = Some(WireDuration::from_secs(3 * 86_400));
    assert_eq!(asked("dev-1", None).await, (true, None));
    assert_eq!(asked("dev-2", Some("jitp")).await, (false, three_days));
    assert_eq!(asked("dev-2", Some("other")).await, (false, None));
    // What is there counts, not what it would be registered as.
    assert_eq!(asked("dev-1", Some("jitp")).await, (true, None));
    assert_eq!(asked("nobody", None).await, (false, None));
}

#[tokio::test]
async fn enrollments_are_told_what_becomes_of_the_certificate_before() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture.group(1, None, json!([])).await;
    let asked = async || {
        let (caller, device) = (caller(), "dev-1".into());
        let found = fixture.service.enrolling_device(&caller, &device, None);
        let policy = found.await.unwrap().superseded;
        (policy.overlap, policy.revoke_superseded)
    };
    assert_eq!(asked().await, (None, None));
    fixture
        .with_policies(
            1,
            json!({"slots": {"overlap": "1h", "revoke_superseded": true}}),
        )
        .await;
    let hours = |hours: i64| Some(WireDuration::from_secs(hours * 3_600));
    assert_eq!(asked().await, (hours(1), Some(true)));
    // The slot's own word counts more.
    let own = json!({"secret_type": "x509", "policy": {"overlap": "24h"}});
    let uri = "/v2/devices/dev-1/slots/identity";
    assert_eq!(fixture.send(Method::PUT, uri, own).await.0, 201);
    assert_eq!(asked().await, (hours(24), Some(true)));
}

#[tokio::test]
async fn metadata_and_tags_keep_the_rules_of_every_group() {
    let fixture = fixture().await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "strict")]))
        .await;
    fixture.group(2, None, json!([])).await;
    fixture
        .with_policies(
            1,
            json!({
                "metadata_schema": {"schema": {"required": ["location"],
                    "properties": {"location": {"type": "string"}}}},
                "required_tags": ["iot"],
            }),
        )
        .await;
    fixture
        .with_policies(
            2,
            json!({"metadata_schema": {"schema": {"maxProperties": 1}, "mode": "warn"}}),
        )
        .await;
    let device = |tags: Value, metadata: Value| json!({"id": "dev-1", "dms_owner": "f", "tags": tags, "metadata": metadata});
    let broken = format!("a policy of device group {} is broken", id(1));
    let (status, answer) = fixture
        .send(
            Method::POST,
            "/v2/devices",
            device(json!(["strict", "iot"]), json!({})),
        )
        .await;
    assert_eq!((status, &answer["err"]), (422, &json!(broken)));
    assert_eq!(answer["code"], "metadata_schema_violation");
    assert_eq!(
        answer["details"],
        json!([{"field": "/metadata/location", "reason": "required"}])
    );
    let good = json!({"location": "B3"});
    let (status, answer) = fixture
        .send(
            Method::POST,
            "/v2/devices",
            device(json!(["strict"]), good.clone()),
        )
        .await;
    assert_eq!(
        (status, &answer["details"][0]["reason"]),
        (422, &json!("'iot' is required"))
    );
    let (status, answer) = fixture
        .send(
            Method::POST,
            "/v2/devices",
            device(json!(["strict", "iot"]), good),
        )
        .await;
    assert_eq!(
        (status, &answer["warnings"]),
        (201, &Value::Null),
        "{answer}"
    );
    let patch = |body: Value| fixture.send(Method::PATCH, "/v2/devices/dev-1", body);
    let (status, answer) = patch(json!({"metadata": {"location": 3}})).await;
    assert_eq!(
        (status, &answer["details"][0]["field"]),
        (422, &json!("/metadata/location"))
    );
    // What only warns is stored.
    let (status, answer) = patch(json!({"metadata": {"n": 1}})).await;
    assert_eq!(status, 200);
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{answer}");
    assert!(warnings[0].as_str().unwrap().contains(&id(2)), "{answer}");
    // The groups are those of the device as it will be.
    let (status, _) = patch(json!({"tags": [], "metadata": {"location": null, "n": null}})).await;
    assert_eq!(status, 200);
    assert_eq!(patch(json!({"tags": ["strict", "iot"]})).await.0, 422);
    // Clients of v1 know no such refusal.
    let v1 = json!({"id": "dev-2", "dms_id": "f", "tags": ["strict"]});
    assert_eq!(fixture.send(Method::POST, "/v1/devices", v1).await.0, 201);
    let patches = json!({"patches": [{"op": "add", "path": "/location", "value": 3}]});
    let uri = "/v1/devices/dev-2/metadata";
    assert_eq!(fixture.send(Method::PUT, uri, patches).await.0, 200);
}

#[tokio::test]
async fn slots_take_from_groups_what_they_do_not_say_themselves() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture.group(1, None, json!([])).await;
    fixture
        .with_policies(1, json!({"slots": {"overlap": "1h", "max_versions": 2}}))
        .await;
    let versions = "/v2/devices/dev-1/slots/app/versions";
    let add = async |n: u32| {
        let body = json!({"secret": {"token": format!("correct-horse-battery-{n}")}, "secret_type": "TOKEN"});
        let (status, answer) = fixture.send(Method::POST, versions, body).await;
        assert_eq!(status, 201, "{answer}");
    };
    add(0).await;
    add(1).await;
    let (_, before) = fixture.get("/v2/devices/dev-1/slots/app/versions/0").await;
    assert_eq!(
        (&before["state"], &before["overlap_until"]),
        (&json!("SUPERSEDED"), &json!("2026-03-01T10:00:01Z"))
    );
    // The slot's own word counts more.
    let own = json!({"secret_type": "TOKEN", "policy": {"overlap": "0s"}});
    assert_eq!(
        fixture
            .send(Method::PUT, "/v2/devices/dev-1/slots/app", own)
            .await
            .0,
        200
    );
    add(2).await;
    // Out of use at once, and one more than the group has slots keep.
    let gone = fixture.get("/v2/devices/dev-1/slots/app/versions/1").await;
    assert_eq!(gone.0, 404, "{}", gone.1);
    add(3).await;
    // Two at most of those that are out of use or active; the superseded one still counts.
    let (_, slot) = fixture.get("/v2/devices/dev-1/slots/app").await;
    let numbers: Vec<_> = slot["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["version"].clone())
        .collect();
    assert_eq!(numbers, [3, 0]);
}
