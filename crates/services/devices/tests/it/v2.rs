//! Devices through v2.

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use lamassu_core::permission::Permission;
use lamassu_core::query::{FieldKind, QueryLimits};
use lamassu_devices::DEVICE_FIELDS_IN_V2;
use lamassu_http::{AuthRefusal, Authenticator, Authority, Identity, ScopeGrant, Stack};
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};
use time::Duration;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::support::{Fixture, fixture};

const DEV_1: &str = "/v2/devices/dev-1";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const STRICT: (&str, &str) = ("content-type", "application/json-patch+json");

async fn register(fixture: &Fixture, body: Value) -> Value {
    fixture.ok(Method::POST, "/v2/devices", body).await
}

async fn ids(fixture: &Fixture, query: &str) -> String {
    let uri = format!(
        "/v2/devices?{}",
        query.replace(' ', "%20").replace('"', "%22")
    );
    let page = fixture.ok(Method::GET, &uri, Value::Null).await;
    let list = page["list"].as_array().unwrap();
    let ids: Vec<&str> = list
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    ids.join(" ")
}

#[tokio::test]
async fn what_one_version_writes_the_other_shows() {
    let fixture = fixture().await;
    let body = json!({"id": "dev-1", "dms_owner": "fleet-1", "alias": "Pump", "tags": ["a", "b", "a"],
        "metadata": {"n": 1}});
    let (status, tag, created) = fixture.ask(Method::POST, "/v2/devices", &[], body).await;
    assert_eq!((status, tag.as_str()), (StatusCode::CREATED, "\"1\""));
    let at = "2026-03-01T09:00:00Z";
    let expected = json!({"id": "dev-1", "alias": "Pump", "status": "NO_IDENTITY",
        "tags": ["a", "b"], "icon": "Cpu", "icon_color": "#888888-#e0e0e0", "metadata": {"n": 1},
        "dms_owner": "fleet-1", "creation_timestamp": at, "updated_at": at,
        "decommissioned_at": null, "revision": 1, "identity": null, "slots": {}});
    assert_eq!(created, expected);
    assert_eq!(fixture.get(DEV_1).await.1, expected);
    let (_, v1) = fixture.get("/v1/devices/dev-1").await;
    assert_eq!(
        (&v1["tags"], &v1["dms_owner"]),
        (&json!(["a", "b"]), &json!("fleet-1"))
    );
    assert_eq!(fixture.event_types(0).await, ["device.create"]);
    let patches = json!({"patches": [{"op": "add", "path": "/v1", "value": true}]});
    fixture
        .ok(Method::PUT, "/v1/devices/dev-1/metadata", patches)
        .await;
    let (_, v2) = fixture.get(DEV_1).await;
    assert_eq!(
        (&v2["metadata"], &v2["revision"]),
        (&json!({"n": 1, "v1": true}), &json!(2))
    );
    let made = register(&fixture, json!({"dms_id": "fleet-1"})).await;
    assert_eq!(made["id"].as_str().unwrap().len(), 36);
    let long = register(&fixture, json!({"id": "x".repeat(65), "dms_owner": "f"})).await;
    assert_eq!(long["warnings"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_three_forms_of_a_patch_do_what_their_standards_say() {
    let fixture = fixture().await;
    register(
        &fixture,
        json!({"id": "dev-1", "dms_owner": "f", "tags": ["a"],
        "metadata": {"old": 1, "keep": {"x": 1}}}),
    )
    .await;
    let told = fixture.events().await.len();
    let merge = json!({"metadata": {"location": "B3", "old": null}, "tags": ["eu"]});
    let (status, tag, device) = fixture.ask(Method::PATCH, DEV_1, &[MERGE], merge).await;
    assert_eq!((status, tag.as_str()), (StatusCode::OK, "\"2\""));
    assert_eq!(
        device["metadata"],
        json!({"location": "B3", "keep": {"x": 1}})
    );
    assert_eq!(device["tags"], json!(["eu"]));
    assert_eq!(
        fixture.event_types(told).await,
        ["device.metadata.update", "device.update"]
    );
    let strict = json!([{"op": "test", "path": "/metadata/location", "value": "B3"},
        {"op": "add", "path": "/metadata/deep/er", "value": null},
        {"op": "add", "path": "/tags/-", "value": "de"}]);
    let (_, _, device) = fixture.ask(Method::PATCH, DEV_1, &[STRICT], strict).await;
    assert_eq!(device["metadata"]["deep"], json!({"er": null}));
    assert_eq!(device["tags"], json!(["eu", "de"]));
    let of_v1 = json!({"patches": [{"op": "remove", "path": "/deep"}]});
    let json_type = ("content-type", "application/json; charset=utf-8");
    let (_, _, device) = fixture.ask(Method::PATCH, DEV_1, &[json_type], of_v1).await;
    assert_eq!(
        device["metadata"],
        json!({"location": "B3", "keep": {"x": 1}})
    );
    let plain = json!({"alias": "Pump", "icon": null});
    let (_, tag, device) = fixture.ask(Method::PATCH, DEV_1, &[], plain.clone()).await;
    assert_eq!(
        (&device["alias"], &device["icon"]),
        (&json!("Pump"), &json!("Cpu"))
    );
    // What changes nothing is no change.
    let told = fixture.events().await.len();
    let (_, again, _) = fixture.ask(Method::PATCH, DEV_1, &[], plain).await;
    assert_eq!((again, fixture.events().await.len()), (tag, told));
    let history = fixture
        .ok(Method::GET, "/v2/devices/dev-1/events", Value::Null)
        .await;
    assert_eq!(
        history["list"][0]["description"],
        "Updated: metadata, tags, alias"
    );
}

#[tokio::test]
async fn patches_of_what_is_not_written_are_refused_with_its_name() {
    let fixture = fixture().await;
    register(&fixture, json!({"id": "dev-1", "dms_owner": "f"})).await;
    let before = fixture.get(DEV_1).await.1;
    let deep = (0..40).fold(json!(1), |inner, _| json!({"a": inner}));
    for (form, body, code, field) in [
        (
            MERGE,
            json!({"status": "ACTIVE"}),
            "immutable_field",
            "status",
        ),
        (MERGE, json!({"colour": "red"}), "unknown_field", "colour"),
        (
            MERGE,
            json!({"dms_owner": null}),
            "validation_failed",
            "dms_owner",
        ),
        (MERGE, json!({"tags": [""]}), "validation_failed", "tags[0]"),
        (
            MERGE,
            json!({"metadata": deep}),
            "validation_failed",
            "metadata",
        ),
        (
            MERGE,
            json!({"metadata": {"x": "y".repeat(300_000)}}),
            "validation_failed",
            "metadata",
        ),
        (MERGE, json!({"tags": {}}), "validation_failed", ""),
        (
            STRICT,
            json!([{"op": "replace", "path": "/id", "value": "x"}]),
            "patch_failed",
            "-",
        ),
        (
            STRICT,
            json!([{"op": "add", "path": "/id", "value": "x"}]),
            "immutable_field",
            "id",
        ),
        (
            STRICT,
            json!([{"op": "remove", "path": "/metadata/x"}]),
            "patch_failed",
            "-",
        ),
    ] {
        let (status, _, answer) = fixture
            .ask(Method::PATCH, DEV_1, &[form], body.clone())
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer["code"], code, "{answer}");
        let named = answer["details"][0]["field"].as_str().unwrap_or("-");
        assert_eq!(named, field, "{answer}");
    }
    let xml = ("content-type", "application/xml");
    let (status, _, answer) = fixture.ask(Method::PATCH, DEV_1, &[xml], json!({})).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (415, &json!("unsupported_media_type"))
    );
    assert_eq!(answer["err"], "unsupported media type");
    assert_eq!(fixture.get(DEV_1).await.1, before);
}

#[tokio::test]
async fn a_revision_guards_changes_and_saves_bodies() {
    let fixture = fixture().await;
    register(&fixture, json!({"id": "dev-1", "dms_owner": "f"})).await;
    let patch = |tags: Value| json!({"tags": tags});
    for (tag, status) in [
        ("\"2\"", 412),
        ("W/\"1\"", 412),
        ("\"x\", \"7\"", 412),
        ("1", 400),
        ("\"7\", \"1\"", 200),
        ("*", 200),
    ] {
        let headers = [("if-match", tag)];
        let body = patch(json!([tag]));
        let (found, _, answer) = fixture.ask(Method::PATCH, DEV_1, &headers, body).await;
        assert_eq!(found.as_u16(), status, "{tag}: {answer}");
        if status == 412 {
            assert_eq!(answer["code"], "revision_conflict");
        }
        if status == 400 {
            assert_eq!(answer["err"], "malformed header If-Match");
        }
    }
    for (tag, status) in [("\"3\"", 304), ("W/\"3\"", 304), ("*", 304), ("\"2\"", 200)] {
        let headers = [("if-none-match", tag)];
        let (found, etag, _) = fixture.ask(Method::GET, DEV_1, &headers, Value::Null).await;
        assert_eq!((found.as_u16(), etag.as_str()), (status, "\"3\""), "{tag}");
    }
    // What groups say changes without the device.
    for (include, status) in [("events", 304), ("groups", 200), ("events,policies", 200)] {
        let (headers, uri) = (
            [("if-none-match", "\"3\"")],
            format!("{DEV_1}?include={include}"),
        );
        let (found, etag, _) = fixture.ask(Method::GET, &uri, &headers, Value::Null).await;
        let found = (found.as_u16(), etag.as_str());
        assert_eq!(found, (status, "\"3\""), "{include}");
    }
    let stale = [("if-match", "\"1\"")];
    let (status, ..) = fixture
        .ask(Method::DELETE, DEV_1, &stale, Value::Null)
        .await;
    assert_eq!(status.as_u16(), 412);
}

#[tokio::test]
async fn devices_are_retired_with_a_reason_and_purged_after_that() {
    let fixture = fixture().await;
    let serial = fixture.issued("dev-1").await.serial_number;
    register(&fixture, json!({"id": "dev-1", "dms_owner": "f"})).await;
    let version = json!({"secret": {"serial_number": serial}});
    fixture
        .ok(
            Method::POST,
            "/v2/devices/dev-1/slots/identity/versions",
            version,
        )
        .await;
    let purge = format!("{DEV_1}?purge=true");
    assert_eq!(
        fixture.refused(Method::DELETE, &purge, Value::Null).await,
        (422, "device_not_decommissioned".to_owned())
    );
    let retire = format!("{DEV_1}?reason=KeyCompromise&comment=stolen");
    let device = fixture.ok(Method::DELETE, &retire, Value::Null).await;
    assert_eq!(device["status"], "DECOMMISSIONED");
    assert_eq!(device["decommissioned_at"], "2026-03-01T09:00:00Z");
    assert_eq!(device["identity"]["status"], "REVOKED");
    assert_eq!(fixture.ok(Method::DELETE, DEV_1, Value::Null).await, device);
    fixture.follow().await;
    let certificate = fixture.certificate(&serial).await;
    assert_eq!(certificate.revocation_reason.name(), "KeyCompromise");
    let history = fixture.ok(
        Method::GET,
        "/v2/devices/dev-1/events?filter=type[eq]DECOMMISSIONED",
        Value::Null,
    );
    assert_eq!(history.await["list"][0]["description"], "stolen");
    let owner = json!({"dms_owner": "g"});
    assert_eq!(
        fixture.refused(Method::PATCH, DEV_1, owner).await,
        (409, "device_decommissioned".to_owned())
    );
    fixture
        .ok(Method::PATCH, DEV_1, json!({"alias": "gone"}))
        .await;
    let (status, ..) = fixture.ask(Method::DELETE, &purge, &[], Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        fixture.refused(Method::GET, DEV_1, Value::Null).await,
        (404, "device_not_found".to_owned())
    );
    for query in ["?reason=Boredom", "?comment=x&x=1"] {
        let (status, _) = fixture
            .refused(Method::DELETE, &format!("{DEV_1}{query}"), Value::Null)
            .await;
        assert_eq!(status, 400, "{query}");
    }
}

async fn fleet() -> Fixture {
    let fixture = fixture().await;
    for (id, alias, tags) in [
        ("a", "Pump", json!(["x"])),
        ("b", "pump", json!(["y"])),
        ("c", "", json!([])),
    ] {
        register(
            &fixture,
            json!({"id": id, "dms_owner": "f", "alias": alias, "tags": tags}),
        )
        .await;
        fixture.clock.advance(Duration::days(1));
    }
    let serial = fixture.issued("b").await.serial_number;
    let version = json!({"secret": {"serial_number": serial}});
    fixture
        .ok(
            Method::POST,
            "/v2/devices/b/slots/identity/versions",
            version,
        )
        .await;
    fixture
        .ok(
            Method::PUT,
            "/v2/devices/c/slots/api",
            json!({"secret_type": "OTHER"}),
        )
        .await;
    fixture
        .ok(Method::DELETE, "/v2/devices/c", Value::Null)
        .await;
    fixture
}

#[tokio::test]
async fn lists_filter_and_sort_by_what_devices_show() {
    let fixture = fleet().await;
    let (_, b) = fixture.get("/v2/devices/b").await;
    let serial = b["identity"]["secrets"]["0"].as_str().unwrap();
    for (query, expected) in [
        ("", "a b c"),
        ("filter=alias[eq_ic]PUMP", "a b"),
        ("filter=tags[nct]x", "b c"),
        ("filter=decommissioned_at[is_null]true", "a b"),
        ("filter=decommissioned_at[is_null]false", "c"),
        ("filter=identity.status[eq]ACTIVE", "b"),
        ("filter=identity.active_version[eq]0", "b"),
        ("filter=identity.expiration_date[bf]now%2B101d", "b"),
        ("filter=identity.expiration_date[bf]now%2B99d", ""),
        ("filter=creation_timestamp[bf]now-2d", "a"),
        ("filter=identity[jsonpath]$.status == \"ACTIVE\"", "b"),
        ("filter=slots[jsonpath]exists($.api)", "c"),
        ("filter=slots[jsonpath]$.api.status == \"EMPTY\"", "c"),
        ("filter=revision[gt]1", "b c"),
        ("sort_by=alias&sort_mode=desc&sort_by=id", "b a c"),
        (
            "sort_by=decommissioned_at&sort_by=id&sort_mode=asc&sort_mode=desc",
            "c b a",
        ),
        (&format!("filter=serial_number[eq]{serial}"), "b"),
        (&format!("filter=serial_number[ne]{serial}"), "a c"),
        (
            &format!("filter=serial_number[ct]{}", serial.get(4..12).unwrap()),
            "b",
        ),
        (&format!("filter=identity.serial_number[eq]{serial}"), "b"),
    ] {
        assert_eq!(ids(&fixture, query).await, expected, "{query}");
    }
    // Every field has a filter and, but for one, a sort that the database understands.
    for field in DEVICE_FIELDS_IN_V2 {
        let name = field.name;
        if field.elements.is_none() {
            assert_eq!(
                ids(&fixture, &format!("sort_by={name}")).await.len(),
                5,
                "{name}"
            );
        }
        let filter = match field.kind {
            FieldKind::Enum => format!("[eq]{}", field.choices[0]),
            FieldKind::String => "[eq]".to_owned(),
            FieldKind::StringArray => "[ct]".to_owned(),
            FieldKind::Date => "[af]now".to_owned(),
            FieldKind::Number => "[eq]77".to_owned(),
            FieldKind::Json => "[jsonpath]$.none == 1".to_owned(),
            FieldKind::Boolean => continue,
        };
        ids(&fixture, &format!("filter={name}{filter}")).await;
    }
    // A word that there is not would find nothing.
    for field in ["status", "identity.status", "identity.secret_type"] {
        let uri = format!("/v2/devices?filter={field}[in]ACTIVE,GONE");
        let refused = fixture.refused(Method::GET, &uri, Value::Null).await;
        assert_eq!(refused, (400, "invalid_filter".to_owned()), "{field}");
    }
}

#[tokio::test]
async fn pages_go_on_and_count_all() {
    let fixture = fleet().await;
    let first = "/v2/devices?page_size=2&count=true&sort_by=alias&sort_by=id&sort_mode=desc";
    let page = fixture.ok(Method::GET, first, Value::Null).await;
    assert_eq!(
        (&page["total"], page["list"].as_array().unwrap().len()),
        (&json!(3), 2)
    );
    let next = page["next"].as_str().unwrap();
    let page = fixture
        .ok(
            Method::GET,
            &format!("/v2/devices?bookmark={next}"),
            Value::Null,
        )
        .await;
    assert_eq!(
        (page["list"][0]["id"].as_str(), page["next"].as_str()),
        (Some("c"), Some(""))
    );
    assert!(page.get("total").is_none());
    let page = fixture
        .ok(Method::GET, "/v2/devices?include=events", Value::Null)
        .await;
    let events = page["list"][1]["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["type"], "STATUS-UPDATED");
}

#[tokio::test]
async fn what_a_list_does_not_have_is_refused() {
    let fixture = fleet().await;
    for (query, code) in [
        ("filter=colour[eq]red", "invalid_filter"),
        ("filter=id", "invalid_filter"),
        ("filter=id[is_null]true", "invalid_filter"),
        ("filter=status[in],", "invalid_filter"),
        ("sort_by=colour", "invalid_sort"),
        ("bookmark=x", "invalid_bookmark"),
        ("page=2", "unknown_field"),
        ("page_size=0", "validation_failed"),
        ("include=everything", "validation_failed"),
        ("count=maybe", "validation_failed"),
    ] {
        let uri = format!("/v2/devices?{query}");
        let refused = fixture.refused(Method::GET, &uri, Value::Null);
        assert_eq!(refused.await, (400, code.to_owned()), "{query}");
    }
    for (query, text) in [
        ("page=2", "unknown query parameter 'page'"),
        ("count=maybe", "invalid query parameter 'count': "),
    ] {
        let uri = format!("/v2/devices?{query}");
        let (_, _, answer) = fixture.ask(Method::GET, &uri, &[], Value::Null).await;
        let told = answer["err"].as_str().unwrap();
        assert!(told.starts_with(text), "{told}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let fixture = fixture().await;
    let nothing = fixture.ask(Method::POST, "/v2/devices", &[], Value::Null);
    let (status, _, answer) = nothing.await;
    assert_eq!(
        (status.as_u16(), &answer["code"], &answer["err"]),
        (400, &json!("validation_failed"), &json!("EOF"))
    );
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_told_so() {
    let fixture = fixture().await;
    let (status, _, answer) = fixture.ask(Method::PUT, DEV_1, &[], Value::Null).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (405, &json!("method_not_allowed"))
    );
    assert_eq!(answer["err"], "method not allowed");
    // v1 keeps it to itself, as the reference does.
    let (status, ..) = fixture
        .ask(Method::PUT, "/v1/devices/dev-1", &[], Value::Null)
        .await;
    assert_eq!(status.as_u16(), 404);
}

#[tokio::test]
async fn who_may_retire_may_not_purge() {
    let fixture = fixture().await;
    let stack = Stack::new(Arc::new(MayRetire), TaskTracker::new());
    let routes = (fixture.routes)(QueryLimits::default());
    let router = stack.mount("", &routes).build().unwrap();
    let request = Request::delete("/v2/devices/x?purge=true").body(Body::empty());
    let reply = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["code"], "insufficient_permissions");
}

/// Lets everybody retire devices, and do nothing else.
#[derive(Debug)]
struct MayRetire;

#[async_trait::async_trait]
impl Authenticator for MayRetire {
    async fn authenticate(&self, _: &Parts) -> Result<Identity, AuthRefusal> {
        let authority = Authority::Granted {
            roles: Vec::new(),
            scopes: vec![ScopeGrant::parse("device:decommission").unwrap()],
        };
        Ok(Identity {
            authority,
            ..Identity::anonymous()
        })
    }

    async fn refuse(&self, _: &Parts, _: &Identity, _: Permission) -> AuthRefusal {
        panic!("the route lets everybody in")
    }
}

#[tokio::test]
async fn the_history_is_of_device_and_slots_newest_first() {
    let fixture = fleet().await;
    let uri = "/v2/devices/b/events";
    let page = fixture
        .ok(Method::GET, &format!("{uri}?count=true"), Value::Null)
        .await;
    let types: Vec<&str> = page["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(page["total"], 3);
    assert_eq!(types, ["STATUS-UPDATED", "PROVISIONED", "CREATED"]);
    let slot = &page["list"][1];
    assert_eq!(
        (&slot["scope"], &slot["slot"], &slot["version"]),
        (&json!("slot"), &json!("identity"), &json!(0))
    );
    for (query, n) in [
        ("filter=scope[eq]device", 2),
        ("filter=slot[eq]identity", 1),
        ("filter=slot[is_null]true", 2),
        ("filter=type[eq]CREATED", 1),
        ("filter=timestamp[af]now", 0),
        ("sort_mode=asc&page_size=1", 1),
    ] {
        let page = fixture
            .ok(Method::GET, &format!("{uri}?{query}"), Value::Null)
            .await;
        assert_eq!(page["list"].as_array().unwrap().len(), n, "{query}");
    }
    let oldest = fixture
        .ok(Method::GET, &format!("{uri}?sort_mode=asc"), Value::Null)
        .await;
    assert_eq!(oldest["list"][0]["type"], "CREATED");
    assert_eq!(
        fixture
            .refused(Method::GET, &format!("{uri}?sort_by=type"), Value::Null)
            .await,
        (400, "invalid_sort".to_owned())
    );
    assert_eq!(
        fixture
            .refused(Method::GET, "/v2/devices/x/events", Value::Null)
            .await,
        (404, "device_not_found".to_owned())
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn every_error_of_the_second_version_has_its_status_and_text() {
    let fixture = fixture().await;
    register(&fixture, json!({"id": "dev-1", "dms_owner": "f"})).await;
    let get = |path: &str, status, text: &str| asked(Method::GET, path, Value::Null, status, text);
    let slots = include_str!("slots.rs");
    let tested = |test, text| Met::Tested(slots, test, text);
    let here = |test, text| Met::Tested(include_str!("v2.rs"), test, text);
    let patched = "patches_of_what_is_not_written_are_refused_with_its_name";
    let versions = "secrets_are_checked";
    let table = [
        (
            "Validation",
            asked(
                Method::POST,
                "/v2/devices",
                json!({}),
                400,
                "struct validation error",
            ),
        ),
        ("UnknownField", here(patched, "unknown_field")),
        ("ImmutableField", here(patched, "immutable_field")),
        ("PatchFailed", here(patched, "patch_failed")),
        ("PrivateKey", tested(versions, "private_key_not_allowed")),
        (
            "Query",
            get("/v2/devices?bookmark=x", 400, "not a valid bookmark"),
        ),
        (
            "Forbidden",
            Met::Tested(
                include_str!("v2.rs"),
                "who_may_retire_may_not_purge",
                "insufficient_permissions",
            ),
        ),
        (
            "DeviceNotFound",
            get("/v2/devices/x", 404, "device not found"),
        ),
        (
            "SlotNotFound",
            get("/v2/devices/dev-1/slots/identity", 404, "slot not found"),
        ),
        (
            "GroupNotFound",
            get("/v2/devices?group=x", 404, "device group not found"),
        ),
        (
            "PolicyBroken",
            Met::Tested(
                include_str!("group_policies.rs"),
                "metadata_and_tags_keep_the_rules_of_every_group",
                "a policy of device group {} is broken",
            ),
        ),
        (
            "VersionNotFound",
            tested("versions_are_deleted_when_out_of_use", "version_not_found"),
        ),
        (
            "CertificateNotFound",
            tested(versions, "certificate_not_found"),
        ),
        (
            "DeviceExists",
            asked(
                Method::POST,
                "/v2/devices",
                json!({"id": "dev-1", "dms_owner": "f"}),
                409,
                "device already exists",
            ),
        ),
        (
            "Decommissioned",
            tested(
                "a_retired_device_keeps_its_slots_as_they_are",
                "device_decommissioned",
            ),
        ),
        (
            "SecretTypeImmutable",
            tested(
                "slots_are_made_changed_and_deleted",
                "secret_type_immutable",
            ),
        ),
        (
            "IdentityRequired",
            asked(
                Method::DELETE,
                "/v2/devices/dev-1/slots/identity",
                Value::Null,
                409,
                "the identity slot cannot be deleted",
            ),
        ),
        (
            "VersionInUse",
            tested("versions_are_deleted_when_out_of_use", "version_in_use"),
        ),
        (
            "NotActivatable",
            tested(
                "a_rotation_overlaps_rolls_back_and_falls_back",
                "version_not_activatable",
            ),
        ),
        (
            "CertificateAttached",
            tested(versions, "certificate_attached"),
        ),
        ("DuplicateSecret", tested(versions, "duplicate_secret")),
        (
            "RevisionConflict",
            here(
                "a_revision_guards_changes_and_saves_bodies",
                "revision_conflict",
            ),
        ),
        (
            "NotDecommissioned",
            here(
                "devices_are_retired_with_a_reason_and_purged_after_that",
                "device_not_decommissioned",
            ),
        ),
        (
            "CertificateNotActive",
            tested(versions, "certificate_not_active"),
        ),
        (
            "CommonNameMismatch",
            tested(versions, "common_name_mismatch"),
        ),
        (
            "DmsNotFound",
            Met::Tested(
                include_str!("../../../dms/tests/it/owners.rs"),
                "v2_gives_devices_to_dmss_that_exist",
                "dms_not_found",
            ),
        ),
        (
            "CaUnavailable",
            tested(
                "without_the_ca_service_nothing_is_changed",
                "ca_unavailable",
            ),
        ),
        (
            "Storage",
            Met::Tested(
                include_str!("errors.rs"),
                "a_closed_database_is_overload",
                "503, json!(\"storage unavailable\")",
            ),
        ),
    ];
    let source = include_str!("../../../../core/src/device/registry.rs");
    let routes = (fixture.routes)(QueryLimits::default());
    check_table(source, "RegistryError", &routes, &table).await;
}
