//! Each error of groups, met from outside: its status and its text.

use http::Method;
use lamassu_core::query::QueryLimits;
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};

use crate::groups::id;
use crate::support::fixture;

const ERRORS: &str = include_str!("../../../../core/src/device_group/error.rs");

/// A group that is not made.
fn made(body: Value, status: u16, text: &str) -> Met {
    asked(Method::POST, "/v2/device-groups", body, status, text)
}

/// What is wrong with a document.
fn of_documents() -> Vec<(&'static str, Met)> {
    let with = |field: &str, operand: &str, value: &str| json!({"name": "x", "criteria": [{"field": field, "operand": operand, "value": value}]});
    let field = "invalid filter field 'nope' at criteria index 0";
    let operand = "invalid operand 'lt' for field 'id' at criteria index 0";
    let value =
        "invalid criteria index 0: invalid value for field 'creation_timestamp': not a date";
    let policy = "invalid policy 'nope': there is no such policy";
    let policies = json!({"name": "x", "policies": {"nope": {}}});
    vec![
        (
            "Validation",
            made(json!({}), 400, "struct validation error"),
        ),
        ("CriterionField", made(with("nope", "eq", "x"), 400, field)),
        (
            "CriterionOperand",
            made(with("id", "lt", "x"), 400, operand),
        ),
        (
            "CriterionValue",
            made(with("creation_timestamp", "bf", "x"), 400, value),
        ),
        ("Policy", made(policies, 400, policy)),
    ]
}

#[tokio::test]
async fn every_error_of_groups_has_its_status_and_text() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    fixture.group(2, Some(1), json!([])).await;
    let one = format!("/v2/device-groups/{}", id(1));
    let unknown = format!("/v2/device-groups/{}", id(9));
    let get = |uri: &str, status, text| asked(Method::GET, uri, Value::Null, status, text);
    let patch = |body, text| asked(Method::PATCH, &one, body, 400, text);
    let mut table = of_documents();
    table.extend([
        ("NotFound", get(&unknown, 404, "device group not found")),
        (
            "Exists",
            made(
                json!({"name": "group-1"}),
                409,
                "device group already exists",
            ),
        ),
        (
            "Circular",
            patch(
                json!({"parent_id": id(2)}),
                "circular parent reference detected",
            ),
        ),
        (
            "TooDeep",
            Met::Tested(
                include_str!("groups.rs"),
                "groups_are_nested_as_deep_as_configured",
                "nested at most 10 deep",
            ),
        ),
        (
            "HasChildren",
            asked(
                Method::DELETE,
                &one,
                Value::Null,
                409,
                "device group has children",
            ),
        ),
        (
            "TooMany",
            Met::Never("a test that makes a thousand groups takes too long; the limit is one line"),
        ),
        (
            "PatchFailed",
            Met::Tested(
                include_str!("groups_v2.rs"),
                "changes_hold_at_the_revision_that_was_read",
                "failed to apply the patch",
            ),
        ),
        (
            "RevisionConflict",
            Met::Tested(
                include_str!("groups_v2.rs"),
                "changes_hold_at_the_revision_that_was_read",
                "412, \"changed meanwhile\"",
            ),
        ),
        (
            "Parameters",
            Met::Tested(
                include_str!("group_actions.rs"),
                "what_is_no_action_is_refused",
                "invalid parameters: purge has no parameters",
            ),
        ),
        (
            "ActionNotFound",
            get(&format!("{one}/actions/x"), 404, "action not found"),
        ),
        (
            "Forbidden",
            Met::Never("no role of ours may start actions and not do what they do"),
        ),
        ("Member", patch(json!({"nope": 1}), "unknown member 'nope'")),
        (
            "Query",
            get("/v1/device-groups?bookmark=x", 400, "not a valid bookmark"),
        ),
        (
            "DeviceNotFound",
            get("/v2/devices/nobody/groups", 404, "device not found"),
        ),
        (
            "Storage",
            Met::Tested(
                include_str!("group_errors.rs"),
                "a_closed_database_is_overload_for_groups",
                "503, json!(\"storage unavailable\")",
            ),
        ),
    ]);
    let routes = (fixture.routes)(QueryLimits::default());
    check_table(ERRORS, "DeviceGroupError", &routes, &table).await;
}

#[tokio::test]
async fn a_closed_database_is_overload_for_groups() {
    let fixture = fixture().await;
    fixture.db.close().await;
    let (status, answer) = fixture.get(&format!("/v1/device-groups/{}", id(1))).await;
    assert_eq!(
        (status.as_u16(), answer["err"].clone()),
        (503, json!("storage unavailable"))
    );
}
