//! Groups of `/v2`.

use http::Method;
use serde_json::{Value, json};

use crate::groups::{criterion, id};
use crate::support::{Fixture, fixture};

impl Fixture {
    async fn v2(&self, method: Method, n: u32, body: Value) -> Value {
        let uri = format!("/v2/device-groups/{}", id(n));
        let (status, body) = self.send(method, &uri, body).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Registers devices with one tag each.
    async fn tagged(&self, devices: &[(&str, &str)]) {
        for (device, tag) in devices {
            let body = json!({"id": device, "dms_id": "fleet-1", "tags": [tag]});
            let (status, _) = self.post("/v1/devices", body.to_string()).await;
            assert_eq!(status, 201);
            self.clock.advance(time::Duration::seconds(1));
        }
    }
}

#[tokio::test]
async fn a_group_shows_where_it_stands() {
    let fixture = fixture().await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "a")]))
        .await;
    let body = json!({"name": "leaf", "parent_id": id(1), "priority": -3,
        "criteria": [{"field": "id", "operand": 5, "value": "x"}],
        "policies": {"custom": {"owner": "team-7"}}});
    let (status, created) = fixture.send(Method::POST, "/v2/device-groups", body).await;
    assert_eq!(status, 201, "{created}");
    let leaf = created["id"].as_str().unwrap();
    let expected = json!({
        "id": leaf, "name": "leaf", "description": "", "parent_id": id(1), "priority": -3,
        "criteria": [criterion("id", "ct", "x")],
        "inherited_criteria": [{"field": "tags", "operand": "contains", "value": "a",
                                "group_id": id(1)}],
        "policies": {"custom": {"owner": "team-7"}}, "notify_membership": false,
        "path": ["group-1", "leaf"], "depth": 2, "children_count": 0,
        "created_at": "2026-03-01T09:00:01Z", "updated_at": "2026-03-01T09:00:01Z", "revision": 1,
    });
    assert_eq!(created, expected);
    let root = fixture.v2(Method::GET, 1, Value::Null).await;
    assert_eq!(
        (&root["parent_id"], &root["children_count"]),
        (&Value::Null, &json!(1))
    );
    // The same in the other version.
    let (_, shown) = fixture.get(&format!("/v1/device-groups/{leaf}")).await;
    assert_eq!(shown["criteria"], json!([criterion("id", "ct", "x")]));
}

#[tokio::test]
async fn patches_merge_and_replacements_replace() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    fixture
        .group(2, Some(1), json!([criterion("tags", "ct", "a")]))
        .await;
    let patch = json!({"description": null, "priority": 4,
        "policies": {"renewal": {"critical_delta": "1d"}, "custom": {"a": 1}}});
    let patched = fixture.v2(Method::PATCH, 2, patch).await;
    assert_eq!(patched["description"], "");
    assert_eq!(
        (&patched["priority"], &patched["revision"]),
        (&json!(4), &json!(2))
    );
    let patch = json!({"parent_id": null, "policies": {"custom": {"a": null, "b": 2}}});
    let patched = fixture.v2(Method::PATCH, 2, patch).await;
    assert_eq!(patched["parent_id"], Value::Null);
    assert_eq!(
        patched["policies"],
        json!({"renewal": {"critical_delta": "1d"}, "custom": {"b": 2}})
    );
    // What changes nothing is no change.
    let again = fixture.v2(Method::PATCH, 2, json!({"priority": 4})).await;
    assert_eq!(again["revision"], 3);
    let replaced = fixture.v2(Method::PUT, 2, json!({"name": "new"})).await;
    assert_eq!(replaced["criteria"], json!([]));
    assert_eq!(
        (&replaced["policies"], &replaced["priority"]),
        (&json!({}), &json!(0))
    );
    assert_eq!(fixture.event_types(2).await, ["device-group.update"; 3]);
}

#[tokio::test]
async fn trees_children_and_ancestors() {
    let fixture = fixture().await;
    for (n, parent) in [
        (1, None),
        (2, Some(1)),
        (3, Some(2)),
        (4, Some(1)),
        (5, None),
    ] {
        fixture.group(n, parent, json!([])).await;
    }
    let uri = |n: u32, what: &str| format!("/v2/device-groups/{}/{what}", id(n));
    assert_eq!(fixture.ids(&uri(1, "children")).await, [id(2), id(4)]);
    assert_eq!(fixture.ids(&uri(3, "ancestors")).await, [id(1), id(2)]);
    assert_eq!(
        fixture.ids(&uri(5, "ancestors")).await,
        Vec::<String>::new()
    );
    let (_, tree) = fixture.get("/v2/device-groups?tree=true").await;
    let roots = tree["list"].as_array().unwrap();
    assert_eq!(roots.len(), 2);
    assert_eq!(roots[0]["children"][0]["children"][0]["id"], id(3));
    assert_eq!(roots[0]["children"][1]["children"], json!([]));
    assert_eq!(roots[1]["children"], json!([]));
    for what in ["children", "ancestors", "policies"] {
        let refusal = (404, "device group not found");
        fixture
            .refuses(Method::GET, &uri(9, what), Value::Null, refusal)
            .await;
    }
}

#[tokio::test]
async fn a_deletion_says_what_becomes_of_the_children() {
    let fixture = fixture().await;
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(3))] {
        fixture.group(n, parent, json!([])).await;
    }
    let two = format!("/v2/device-groups/{}", id(2));
    let refusal = (409, "device group has children");
    fixture
        .refuses(Method::DELETE, &two, Value::Null, refusal)
        .await;
    let odd = format!("{two}?children=eat");
    fixture
        .refuses(
            Method::DELETE,
            &odd,
            Value::Null,
            (400, "struct validation error"),
        )
        .await;
    let reparent = format!("{two}?children=reparent");
    assert_eq!(
        fixture.send(Method::DELETE, &reparent, Value::Null).await.0,
        204
    );
    let three = fixture.v2(Method::GET, 3, Value::Null).await;
    assert_eq!(
        (&three["parent_id"], &three["depth"]),
        (&json!(id(1)), &json!(2))
    );
    let four = fixture.v2(Method::GET, 4, Value::Null).await;
    assert_eq!(four["path"], json!(["group-1", "group-3", "group-4"]));
    let cascade = format!("/v2/device-groups/{}?children=cascade", id(1));
    assert_eq!(
        fixture.send(Method::DELETE, &cascade, Value::Null).await.0,
        204
    );
    assert_eq!(fixture.ids("/v2/device-groups").await, Vec::<String>::new());
    assert_eq!(
        fixture.event_types(4).await,
        [
            "device-group.update",
            "device-group.delete",
            "device-group.delete",
            "device-group.delete",
            "device-group.delete",
        ]
    );
}

#[tokio::test]
async fn a_preview_counts_and_stores_nothing() {
    let fixture = fixture().await;
    fixture
        .tagged(&[
            ("dev-1", "a"),
            ("dev-2", "a"),
            ("sensor", "a"),
            ("dev-3", "b"),
        ])
        .await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "a")]))
        .await;
    fixture.group(2, Some(1), json!([])).await;
    let tried = json!({"criteria": [criterion("id", "ct", "dev")]});
    for (uri, body, total, sample) in [
        (
            "preview".to_owned(),
            tried.clone(),
            3,
            json!(["dev-1", "dev-2", "dev-3"]),
        ),
        (
            format!("{}/preview", id(2)),
            tried.clone(),
            2,
            json!(["dev-1", "dev-2"]),
        ),
        (
            format!("{}/preview", id(1)),
            tried.clone(),
            3,
            json!(["dev-1", "dev-2", "dev-3"]),
        ),
        (
            "preview".to_owned(),
            json!({"parent_id": id(1)}),
            3,
            json!(["dev-1", "dev-2", "sensor"]),
        ),
    ] {
        let uri = format!("/v2/device-groups/{uri}");
        let expected = json!({"total": total, "sample": sample});
        assert_eq!(
            fixture.send(Method::POST, &uri, body).await,
            (200, expected),
            "{uri}"
        );
    }
    let unknown = json!({"parent_id": id(9)});
    let refusal = (404, "device group not found");
    fixture
        .refuses(Method::POST, "/v2/device-groups/preview", unknown, refusal)
        .await;
    assert_eq!(fixture.ids("/v1/device-groups").await.len(), 2);
}

#[tokio::test]
async fn a_device_knows_its_groups() {
    let fixture = fixture().await;
    fixture.tagged(&[("dev/1", "a")]).await;
    fixture.group(1, None, json!([])).await;
    fixture
        .group(2, Some(1), json!([criterion("tags", "ct", "b")]))
        .await;
    // Below one that the device is not in.
    fixture.group(3, Some(2), json!([])).await;
    fixture
        .group(4, Some(1), json!([criterion("tags", "ct", "a")]))
        .await;
    let (_, groups) = fixture.get("/v2/devices/dev%2F1/groups").await;
    assert_eq!(
        groups,
        json!({"list": [
            {"id": id(1), "name": "group-1", "path": ["group-1"], "depth": 1},
            {"id": id(4), "name": "group-4", "path": ["group-1", "group-4"], "depth": 2},
        ]})
    );
}
