//! Groups of `/v1`.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{Fixture, caller, first, fixture};

/// The UUID of a group that tests call by a number.
pub(crate) fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

pub(crate) fn criterion(field: &str, operand: &str, value: &str) -> Value {
    json!({"field": field, "operand": operand, "value": value})
}

impl Fixture {
    /// Makes a group and gives what was answered.
    pub(crate) async fn group(&self, n: u32, parent: Option<u32>, criteria: Value) -> Value {
        let body = json!({"id": id(n), "name": format!("group-{n}"), "description": "d",
            "parent_id": parent.map(id), "criteria": criteria});
        let (status, body) = self.post("/v1/device-groups", body.to_string()).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        self.clock.advance(Duration::seconds(1));
        body
    }

    pub(crate) async fn send(&self, method: Method, uri: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, body) = self.request(method, uri, body).await;
        (status.as_u16(), body)
    }

    /// Refuses with this status and text.
    pub(crate) async fn refuses(
        &self,
        method: Method,
        uri: &str,
        body: Value,
        expected: (u16, &str),
    ) {
        let (status, answer) = self.send(method, uri, body).await;
        assert_eq!(
            (status, answer["err"].as_str()),
            (expected.0, Some(expected.1)),
            "{uri}"
        );
    }

    /// The ids of a list.
    pub(crate) async fn ids(&self, uri: &str) -> Vec<String> {
        let (status, page) = self.get(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {page}");
        let items = page["list"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn members(&self, n: u32) -> Vec<String> {
        self.ids(&format!("/v1/device-groups/{}/devices", id(n)))
            .await
    }
}

#[tokio::test]
async fn a_group_reads_back_as_it_was_answered() {
    let fixture = fixture().await;
    let created = fixture
        .group(
            1,
            None,
            json!([
                criterion("tags", "ct", "production"),
                criterion("id", "equal", "x")
            ]),
        )
        .await;
    let expected = json!({
        "id": id(1), "name": "group-1", "description": "d",
        "criteria": [criterion("tags", "contains", "production"), criterion("id", "eq", "x")],
        "inherited_criteria": [], "own_criteria_count": 2,
        "created_at": "2026-03-01T09:00:00Z", "updated_at": "2026-03-01T09:00:00Z",
    });
    assert_eq!(created, expected);
    let uri = format!("/v1/device-groups/{}", id(1));
    assert_eq!(fixture.get(&uri).await, (StatusCode::OK, expected));
    let events = fixture.events().await;
    assert_eq!(events[0]["type"], "device-group.create");
    assert_eq!(events[0]["subject"], format!("device-group/{}", id(1)));
    assert_eq!(
        events[0]["data"],
        json!({
            "id": id(1), "name": "group-1", "description": "d",
            "criteria": [{"field": "tags", "operand": 9, "value": "production"},
                         {"field": "id", "operand": 1, "value": "x"}],
            "created_at": "2026-03-01T09:00:00Z", "updated_at": "2026-03-01T09:00:00Z",
        })
    );
}

#[tokio::test]
async fn criteria_are_inherited_root_first() {
    let fixture = fixture().await;
    fixture
        .group(3, None, json!([criterion("tags", "ct", "a")]))
        .await;
    fixture
        .group(1, Some(3), json!([criterion("tags", "ct", "b")]))
        .await;
    let leaf = fixture
        .group(2, Some(1), json!([criterion("tags", "ct", "c")]))
        .await;
    assert_eq!(leaf["parent_id"], id(1));
    assert_eq!(
        leaf["inherited_criteria"],
        json!([
            criterion("tags", "contains", "a"),
            criterion("tags", "contains", "b")
        ])
    );
    let events = fixture.events().await;
    let values = events[2]["data"]["criteria"].as_array().unwrap().iter();
    let values: Vec<_> = values.map(|criterion| criterion["value"].clone()).collect();
    assert_eq!(values, ["a", "b", "c"]);
}

#[tokio::test]
async fn members_fulfil_the_criteria_of_the_whole_chain() {
    let fixture = fixture().await;
    for (device, tags, temp) in [
        ("dev-1", json!(["a", "b"]), 60),
        ("dev-2", json!(["a"]), 60),
        ("dev-3", json!(["b"]), 60),
        ("dev-4", json!(["a", "b"]), 10),
    ] {
        let body =
            json!({"id": device, "dms_id": "fleet-1", "tags": tags, "metadata": {"temp": temp}});
        let (status, _) = fixture.post("/v1/devices", body.to_string()).await;
        assert_eq!(status, StatusCode::CREATED);
        fixture.clock.advance(Duration::seconds(1));
    }
    fixture.group(1, None, json!([])).await;
    fixture
        .group(2, Some(1), json!([criterion("tags", "ct", "a")]))
        .await;
    fixture
        .group(3, Some(2), json!([criterion("tags", "ct", "b")]))
        .await;
    fixture
        .group(
            4,
            Some(3),
            json!([criterion("metadata", "jsonpath", "$.temp > 50")]),
        )
        .await;
    assert_eq!(
        fixture.members(1).await,
        ["dev-1", "dev-2", "dev-3", "dev-4"]
    );
    assert_eq!(fixture.members(2).await, ["dev-1", "dev-2", "dev-4"]);
    assert_eq!(fixture.members(3).await, ["dev-1", "dev-4"]);
    assert_eq!(fixture.members(4).await, ["dev-1"]);
    // The request's filters apply besides, and pages go on.
    let uri = format!("/v1/device-groups/{}/devices", id(2));
    let filtered = format!("{uri}?filter=id[ne]dev-2&sort_by=id&sort_mode=desc");
    assert_eq!(fixture.ids(&filtered).await, ["dev-4", "dev-1"]);
    let (_, page) = fixture.get(&format!("{uri}?page_size=2")).await;
    let next = page["next"].as_str().unwrap();
    assert_eq!(
        fixture.ids(&format!("{uri}?bookmark={next}")).await,
        ["dev-4"]
    );
    // Of another group the bookmark is none.
    let other = format!("/v1/device-groups/{}/devices?bookmark={next}", id(3));
    fixture
        .refuses(
            Method::GET,
            &other,
            Value::Null,
            (400, "not a valid bookmark"),
        )
        .await;
}

#[tokio::test]
async fn statistics_count_members_even_by_status() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture.register("dev-2").await;
    fixture.group(1, None, json!([])).await;
    fixture
        .group(2, None, json!([criterion("status", "eq", "ACTIVE")]))
        .await;
    for (group, total, without) in [(1, 2, 1), (2, 1, 0)] {
        let uri = format!("/v1/device-groups/{}/stats?filter=id[eq]nobody", id(group));
        let expected = json!({"total": total, "status_distribution": {
            "NO_IDENTITY": without, "ACTIVE": 1, "RENEWAL_PENDING": 0, "EXPIRING_SOON": 0,
            "EXPIRED": 0, "REVOKED": 0, "DECOMMISSIONED": 0}});
        assert_eq!(fixture.get(&uri).await, (StatusCode::OK, expected));
    }
}

#[tokio::test]
async fn what_no_group_may_be_is_refused() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    let body = |n: u32, name: &str, parent: Value, criteria: Value| json!({"id": id(n), "name": name, "parent_id": parent, "criteria": criteria});
    let circular = "circular parent reference detected";
    let cases = [
        (
            body(9, "x", json!(null), json!([criterion("nope", "eq", "x")])),
            400,
            "invalid filter field 'nope' at criteria index 0",
        ),
        (
            body(9, "", json!(null), json!([criterion("id", "lt", "x")])),
            400,
            "invalid operand 'lt' for field 'id' at criteria index 0",
        ),
        (
            body(
                9,
                "x",
                json!(null),
                json!([criterion("metadata", "jsonpath", "$.[")]),
            ),
            400,
            "",
        ),
        (
            body(
                9,
                "x",
                json!(null),
                json!([criterion("status", "eq", "GONE")]),
            ),
            400,
            "invalid criteria index 0: invalid value for field 'status': there is no \"GONE\", only NO_IDENTITY, \
             ACTIVE, RENEWAL_PENDING, EXPIRING_SOON, EXPIRED, REVOKED, DECOMMISSIONED",
        ),
        (
            body(9, "", json!(null), json!([])),
            400,
            "struct validation error",
        ),
        (json!({"name": "x"}), 400, "struct validation error"),
        (
            json!({"id": "x", "name": "x"}),
            400,
            "struct validation error",
        ),
        (body(9, "x", json!(id(9)), json!([])), 400, circular),
        (
            body(9, "x", json!(id(8)), json!([])),
            404,
            "device group not found",
        ),
        (
            body(9, "x", json!("no-uuid"), json!([])),
            404,
            "device group not found",
        ),
        (
            body(9, "group-1", json!(null), json!([])),
            409,
            "device group already exists",
        ),
        (
            body(1, "x", json!(null), json!([])),
            409,
            "device group already exists",
        ),
        (
            body(
                9,
                "x",
                json!(""),
                json!([criterion("id", "in", &"x,".repeat(1001))]),
            ),
            400,
            "invalid criteria index 0: a list in a filter has at most 1000 elements",
        ),
        (
            body(
                9,
                "x",
                json!(""),
                json!(vec![criterion("id", "eq", "x"); 33]),
            ),
            400,
            "a request has at most 32 filters",
        ),
    ];
    for (body, status, text) in cases {
        let (found, answer) = fixture
            .send(Method::POST, "/v1/device-groups", body.clone())
            .await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(text.is_empty() || answer["err"] == text, "{body}: {answer}");
    }
    assert_eq!(fixture.event_types(0).await, ["device-group.create"]);
}

#[tokio::test]
async fn groups_that_there_are_not_are_not_found() {
    let fixture = fixture().await;
    for uri in [id(7), "no-uuid".to_owned()] {
        let uri = format!("/v1/device-groups/{uri}");
        let not_found = (404, "device group not found");
        fixture
            .refuses(Method::GET, &uri, Value::Null, not_found)
            .await;
        fixture
            .refuses(Method::PUT, &uri, json!({"name": "x"}), not_found)
            .await;
        fixture
            .refuses(Method::DELETE, &uri, Value::Null, not_found)
            .await;
        fixture
            .refuses(
                Method::GET,
                &format!("{uri}/devices"),
                Value::Null,
                not_found,
            )
            .await;
        fixture
            .refuses(Method::GET, &format!("{uri}/stats"), Value::Null, not_found)
            .await;
    }
    assert_eq!(fixture.event_types(0).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_update_leaves_what_is_empty() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    fixture
        .group(2, Some(1), json!([criterion("tags", "ct", "a")]))
        .await;
    let uri = format!("/v1/device-groups/{}", id(2));
    let before = fixture.get(&uri).await.1;
    let empty = json!({"name": "", "description": "", "parent_id": null, "criteria": []});
    assert_eq!(
        fixture.send(Method::PUT, &uri, empty).await,
        (200, before.clone())
    );
    let change = json!({"name": "renamed", "criteria": [criterion("id", "ct", "x")]});
    let (status, after) = fixture.send(Method::PUT, &uri, change).await;
    assert_eq!(status, 200);
    assert_eq!(after["name"], "renamed");
    assert_eq!(after["description"], "d");
    assert_eq!(after["parent_id"], id(1));
    assert_eq!(after["criteria"], json!([criterion("id", "ct", "x")]));
    assert_eq!(after["created_at"], before["created_at"]);
    assert_eq!(after["updated_at"], "2026-03-01T09:00:02Z");
    assert_eq!(fixture.get(&uri).await.1, after);
    // What changed nothing told nothing.
    assert_eq!(fixture.event_types(2).await, ["device-group.update"]);
    let event = &fixture.events().await[2]["data"];
    assert_eq!(event["previous"]["name"], "group-2");
    assert_eq!(event["updated"]["name"], "renamed");
}

#[tokio::test]
async fn no_group_is_below_itself() {
    let fixture = fixture().await;
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2))] {
        fixture.group(n, parent, json!([])).await;
    }
    let circular = (400, "circular parent reference detected");
    for parent in [1, 2, 3] {
        let uri = format!("/v1/device-groups/{}", id(1));
        let body = json!({"name": "", "description": "", "parent_id": id(parent), "criteria": []});
        fixture.refuses(Method::PUT, &uri, body, circular).await;
    }
}

#[tokio::test]
async fn groups_are_nested_as_deep_as_configured() {
    let fixture = fixture().await;
    for n in 1..=10 {
        fixture.group(n, (n > 1).then(|| n - 1), json!([])).await;
    }
    let too_deep = (400, "device groups are nested at most 10 deep");
    let body = json!({"id": id(11), "name": "x", "parent_id": id(10)});
    fixture
        .refuses(Method::POST, "/v1/device-groups", body, too_deep)
        .await;
    // What is below counts too.
    fixture.group(20, None, json!([])).await;
    let uri = format!("/v1/device-groups/{}", id(1));
    fixture
        .refuses(Method::PUT, &uri, json!({"parent_id": id(20)}), too_deep)
        .await;
}

#[tokio::test]
async fn whoever_deletes_a_group_deletes_what_is_below() {
    let fixture = fixture().await;
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, None)] {
        fixture.group(n, parent, json!([])).await;
    }
    let uri = format!("/v1/device-groups/{}", id(1));
    let (status, _) = fixture.request(Method::DELETE, &uri, String::new()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(fixture.ids("/v1/device-groups").await, [id(4)]);
    let events = fixture.events().await;
    let deleted: Vec<_> = events[4..]
        .iter()
        .map(|event| &event["data"]["ID"])
        .collect();
    assert_eq!(deleted, [&id(3), &id(2), &id(1)]);
    // Names and ids are free again.
    fixture.group(3, None, json!([])).await;
}

#[tokio::test]
async fn lists_show_criteria_where_clients_in_go_can_read_them() {
    let fixture = fixture().await;
    fixture
        .group(1, None, json!([criterion("tags", "ct", "a")]))
        .await;
    fixture
        .group(2, Some(1), json!([criterion("id", "in", "b")]))
        .await;
    let (_, page) = fixture.get("/v1/device-groups?page_size=1").await;
    assert_ne!(page["next"], "");
    assert_eq!(page["next"], page["next_bookmark"]);
    let (_, page) = fixture
        .get(&format!(
            "/v1/device-groups?bookmark={}",
            page["next"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (&page["next"], &page["next_bookmark"]),
        (&json!(""), &json!(""))
    );
    let item = &page["list"][0];
    assert_eq!(item["criteria"], json!([]));
    let own = criterion("id", "in", "b");
    assert_eq!(item["own_criteria"], json!([own]));
    assert_eq!(
        item["inherited_criteria"],
        json!([criterion("tags", "contains", "a"), own])
    );
    assert_eq!(item["own_criteria_count"], 1);
}

/// Eight changes that would each be fine alone and together are a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_the_same_time_make_no_circle() {
    let fixture = fixture().await;
    for n in 0..8 {
        fixture.group(n, None, json!([])).await;
    }
    let moves: Vec<_> = (0..8_u32)
        .map(|n| {
            let router = fixture.router.clone();
            let uri = format!("/v1/device-groups/{}", id(n));
            let body = json!({"parent_id": id((n + 1) % 8)}).to_string();
            tokio::spawn(crate::support::put(router, uri, body))
        })
        .collect();
    let mut refused = 0;
    for moved in moves {
        let (status, answer) = moved.await.unwrap();
        if status != StatusCode::OK {
            assert_eq!(answer["err"], "circular parent reference detected");
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_binding_moves_a_device_between_groups_at_once() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture
        .group(1, None, json!([criterion("status", "eq", "NO_IDENTITY")]))
        .await;
    fixture
        .group(
            2,
            None,
            json!([criterion(
                "identity_slot",
                "jsonpath",
                "$.active_version == 0"
            )]),
        )
        .await;
    assert_eq!(
        (
            fixture.members(1).await.len(),
            fixture.members(2).await.len()
        ),
        (1, 0)
    );
    fixture
        .service
        .bind_identity(&caller(), first("dev-1", "0a"))
        .await
        .unwrap();
    assert_eq!(
        (
            fixture.members(1).await.len(),
            fixture.members(2).await.len()
        ),
        (0, 1)
    );
}
