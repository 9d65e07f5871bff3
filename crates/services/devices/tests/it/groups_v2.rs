//! Groups of `/v2`.

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

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

#[tokio::test]
async fn changes_hold_at_the_revision_that_was_read() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    let uri = format!("/v2/device-groups/{}", id(1));
    let send = async |method: Method, headers: &[(&str, &str)], body: Value| {
        let mut request = Request::builder().method(method).uri(&uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request.body(Body::from(body)).unwrap();
        let answer = fixture.router.clone().oneshot(request).await.unwrap();
        let tag = answer.headers().get("etag");
        let tag = tag.map(|tag| tag.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, tag.unwrap_or_default(), body)
    };
    let (status, tag, _) = send(Method::GET, &[], Value::Null).await;
    assert_eq!((status, tag.as_str()), (200, "\"1\""));
    let known = [("if-none-match", tag.as_str())];
    assert_eq!(send(Method::GET, &known, Value::Null).await.0, 304);
    let seen = [("if-match", tag.as_str())];
    let (status, changed, _) = send(Method::PATCH, &seen, json!({"priority": 1})).await;
    assert_eq!((status, changed.as_str()), (200, "\"2\""));
    let replacement = json!({"name": "x"});
    for (method, body) in [
        (Method::PATCH, json!({"priority": 2})),
        (Method::PUT, replacement),
        (Method::DELETE, Value::Null),
    ] {
        let (status, _, answer) = send(method, &seen, body).await;
        let text = answer["err"].as_str().unwrap();
        assert_eq!((status, text), (412, "changed meanwhile"));
        assert_eq!(answer["code"], "revision_conflict");
    }
    let strict = [("content-type", "application/json-patch+json")];
    let test = json!([{"op": "test", "path": "/priority", "value": 7}]);
    let (status, _, answer) = send(Method::PATCH, &strict, test).await;
    assert_eq!(status, 400);
    assert!(
        answer["err"]
            .as_str()
            .unwrap()
            .starts_with("failed to apply the patch: ")
    );
    let add = json!([{"op": "replace", "path": "/priority", "value": 7}]);
    let (_, _, answer) = send(Method::PATCH, &strict, add).await;
    assert_eq!(answer["priority"], 7);
}

#[tokio::test]
async fn v2_refuses_what_it_does_not_know() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    let one = format!("/v2/device-groups/{}", id(1));
    let criterion = json!([{"field": "id", "operand": "eq", "value": "x", "extra": 1}]);
    for (method, uri, body, code) in [
        (
            Method::POST,
            "/v2/device-groups",
            json!({"name": "x", "nope": 1}),
            "unknown_field",
        ),
        (
            Method::POST,
            "/v2/device-groups",
            json!({"name": "x", "criteria": criterion}),
            "unknown_field",
        ),
        (
            Method::PUT,
            one.as_str(),
            json!({"name": 1}),
            "validation_failed",
        ),
        (
            Method::PATCH,
            one.as_str(),
            json!({"created_at": 1}),
            "unknown_field",
        ),
        (
            Method::GET,
            "/v2/device-groups?filter=nope[eq]x",
            Value::Null,
            "invalid_filter",
        ),
        (
            Method::GET,
            "/v2/device-groups?sort_by=nope",
            Value::Null,
            "invalid_sort",
        ),
        (
            Method::GET,
            "/v2/device-groups?nope=1",
            Value::Null,
            "unknown_field",
        ),
        (
            Method::GET,
            "/v2/device-groups?tree=maybe",
            Value::Null,
            "validation_failed",
        ),
        (
            Method::DELETE,
            &format!("{one}?child=x"),
            Value::Null,
            "unknown_field",
        ),
    ] {
        let (status, answer) = fixture.send(method, uri, body).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (400, Some(code)),
            "{uri}: {answer}"
        );
    }
    let (status, answer) = fixture.send(Method::POST, &one, json!({})).await;
    assert_eq!(
        (status, &answer["code"]),
        (405, &json!("method_not_allowed"))
    );
}

#[tokio::test]
async fn groups_are_counted_and_found_by_depth_and_parent() {
    let fixture = fixture().await;
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, None)] {
        fixture.group(n, parent, json!([])).await;
    }
    for (query, found) in [
        ("filter=parent_id[is_null]true", vec![id(1), id(4)]),
        (
            "filter=depth[ge]2&sort_by=depth&sort_mode=desc",
            vec![id(3), id(2)],
        ),
        ("filter=created_at[af]now-2s", vec![id(4)]),
    ] {
        let uri = format!("/v2/device-groups?{query}");
        assert_eq!(fixture.ids(&uri).await, found, "{query}");
    }
    let (_, page) = fixture
        .get("/v2/device-groups?count=true&page_size=1")
        .await;
    assert_eq!(page["total"], 4);
}

#[tokio::test]
async fn devices_are_listed_by_group_and_show_theirs() {
    let fixture = fixture().await;
    fixture
        .tagged(&[("dev-1", "a"), ("dev-2", "b"), ("dev-3", "a")])
        .await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "a")]))
        .await;
    fixture
        .group(2, None, json!([criterion("tags", "nct", "a")]))
        .await;
    fixture
        .group(
            3,
            None,
            json!([criterion("creation_timestamp", "af", "now-6s")]),
        )
        .await;
    for (uri, found) in [
        (
            format!("/v2/devices?group={}", id(1)),
            vec!["dev-1", "dev-3"],
        ),
        (
            format!("/v2/device-groups/{}/devices", id(1)),
            vec!["dev-1", "dev-3"],
        ),
        (
            format!("/v2/device-groups/{}/devices?filter=id[ne]dev-1", id(1)),
            vec!["dev-3"],
        ),
        (format!("/v2/devices?group={}", id(2)), vec!["dev-2"]),
        (
            format!("/v2/devices?group={}", id(3)),
            vec!["dev-2", "dev-3"],
        ),
    ] {
        assert_eq!(fixture.ids(&uri).await, found, "{uri}");
    }
    let (_, page) = fixture
        .get(&format!(
            "/v2/devices?group={}&count=true&page_size=1",
            id(1)
        ))
        .await;
    assert_eq!(page["total"], 2);
    let next = page["next"].as_str().unwrap();
    let other = format!("/v2/devices?group={}&bookmark={next}", id(2));
    fixture
        .refuses(
            Method::GET,
            &other,
            Value::Null,
            (400, "not a valid bookmark"),
        )
        .await;
    let unknown = (404, "device group not found");
    for uri in [
        "/v2/devices?group=x".to_owned(),
        format!("/v2/device-groups/{}/devices", id(9)),
    ] {
        fixture
            .refuses(Method::GET, &uri, Value::Null, unknown)
            .await;
    }
    let (_, device) = fixture
        .get("/v2/devices/dev-1?include=groups,policies")
        .await;
    assert_eq!(device["groups"], json!([{"id": id(1), "name": "group-1"}]));
    assert_eq!(device["policies"], json!({}));
    let (_, page) = fixture.get("/v2/devices?include=groups").await;
    assert_eq!(page["list"][1]["groups"][0]["id"], id(2));
    // Time alone moves devices out.
    fixture.clock.advance(time::Duration::minutes(1));
    assert_eq!(
        fixture.ids(&format!("/v2/devices?group={}", id(3))).await,
        Vec::<String>::new()
    );
    assert_eq!(
        fixture.get("/v2/devices/dev-3?include=groups").await.1["groups"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn who_comes_and_goes_is_told_of_groups_that_want_it() {
    let fixture = fixture().await;
    for (n, tag) in [(1, "a"), (2, "b")] {
        fixture
            .group(n, None, json!([criterion("tags", "ct", tag)]))
            .await;
        fixture
            .v2(Method::PATCH, n, json!({"notify_membership": true}))
            .await;
    }
    fixture.group(3, None, json!([])).await;
    let told = async |skip: usize| -> Vec<(String, Value)> {
        let events = fixture.events().await;
        let told = events[skip..].iter().filter(|event| {
            event["type"]
                .as_str()
                .unwrap()
                .starts_with("device-group.member")
        });
        told.map(|event| {
            assert_eq!(event["subject"], "device/dev-1");
            (
                event["type"].as_str().unwrap().to_owned(),
                event["data"].clone(),
            )
        })
        .collect()
    };
    let data = |n: u32| json!({"group_id": id(n), "device_id": "dev-1"});
    let added = |n| ("device-group.member.add".to_owned(), data(n));
    let removed = |n| ("device-group.member.remove".to_owned(), data(n));
    let n = fixture.events().await.len();
    fixture.tagged(&[("dev-1", "a")]).await;
    assert_eq!(told(n).await, [added(1)]);
    let n = fixture.events().await.len();
    let patch =
        |tags: Value| fixture.send(Method::PATCH, "/v2/devices/dev-1", json!({"tags": tags}));
    assert_eq!(patch(json!(["a", "c"])).await.0, 200);
    assert_eq!(told(n).await, []);
    assert_eq!(patch(json!(["b"])).await.0, 200);
    assert_eq!(told(n).await, [removed(1), added(2)]);
    let n = fixture.events().await.len();
    assert_eq!(
        fixture
            .send(Method::DELETE, "/v2/devices/dev-1", Value::Null)
            .await
            .0,
        200
    );
    let purge = "/v2/devices/dev-1?purge=true";
    assert_eq!(
        fixture.send(Method::DELETE, purge, Value::Null).await.0,
        204
    );
    assert_eq!(told(n).await, [removed(2)]);
}

#[tokio::test]
async fn members_are_counted_as_devices_are() {
    let fixture = fixture().await;
    fixture
        .tagged(&[("dev-1", "a"), ("dev-2", "b"), ("dev-3", "a")])
        .await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "a")]))
        .await;
    let by_id = format!("/v2/device-groups/{}/stats", id(1));
    let by_filter = format!("/v2/stats/devices?group={}", id(1));
    for uri in [&by_id, &by_filter] {
        let (status, numbers) = fixture.get(uri).await;
        assert_eq!(
            (status.as_u16(), &numbers["total"]),
            (200, &json!(2)),
            "{numbers}"
        );
        assert_eq!(numbers["status_distribution"]["NO_IDENTITY"], 2);
    }
    let (_, numbers) = fixture
        .get(&format!(
            "{by_id}?filter=id[eq]dev-1&include=health&group_by=tags"
        ))
        .await;
    assert_eq!(
        (&numbers["total"], &numbers["health"]["inactive"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(numbers["breakdown"][0]["value"], "a");
    let unknown = format!("/v2/device-groups/{}/stats", id(9));
    fixture
        .refuses(
            Method::GET,
            &unknown,
            Value::Null,
            (404, "device group not found"),
        )
        .await;
}
