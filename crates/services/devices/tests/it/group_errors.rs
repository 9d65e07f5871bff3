//! Each error of groups, met from outside: its status and its text.

use http::Method;
use lamassu_core::query::QueryLimits;
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};

use crate::groups::id;
use crate::support::fixture;

const ERRORS: &str = include_str!("../../../../core/src/device_group/error.rs");

#[tokio::test]
async fn every_error_of_groups_has_its_status_and_text() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    fixture.group(2, Some(1), json!([])).await;
    let made = |body: Value, status, text: &str| {
        asked(Method::POST, "/v2/device-groups", body, status, text)
    };
    let with = |field: &str, operand: &str, value: &str| json!({"name": "x", "criteria": [{"field": field, "operand": operand, "value": value}]});
    let tested = |test, text| Met::Tested(include_str!("groups.rs"), test, text);
    let one = format!("/v2/device-groups/{}", id(1));
    let unknown = format!("/v2/device-groups/{}", id(9));
    let table = [
        (
            "Validation",
            made(json!({}), 400, "struct validation error"),
        ),
        (
            "NotFound",
            asked(
                Method::GET,
                &unknown,
                Value::Null,
                404,
                "device group not found",
            ),
        ),
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
            asked(
                Method::PATCH,
                &one,
                json!({"parent_id": id(2)}),
                400,
                "circular parent reference detected",
            ),
        ),
        (
            "TooDeep",
            tested(
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
            "CriterionField",
            made(
                with("nope", "eq", "x"),
                400,
                "invalid filter field 'nope' at criteria index 0",
            ),
        ),
        (
            "CriterionOperand",
            made(
                with("id", "lt", "x"),
                400,
                "invalid operand 'lt' for field 'id' at criteria index 0",
            ),
        ),
        (
            "CriterionValue",
            made(
                with("creation_timestamp", "bf", "x"),
                400,
                "invalid criteria index 0: invalid value for field 'creation_timestamp': not a date",
            ),
        ),
        (
            "Member",
            asked(
                Method::PATCH,
                &one,
                json!({"nope": 1}),
                400,
                "unknown member 'nope'",
            ),
        ),
        (
            "Query",
            asked(
                Method::GET,
                "/v1/device-groups?bookmark=x",
                Value::Null,
                400,
                "not a valid bookmark",
            ),
        ),
        (
            "Device",
            asked(
                Method::GET,
                "/v2/devices/nobody/groups",
                Value::Null,
                400,
                "device not found",
            ),
        ),
        (
            "Policy",
            made(
                json!({"name": "x", "policies": {"nope": {}}}),
                400,
                "invalid policy 'nope': there is no such policy",
            ),
        ),
        (
            "TooMany",
            Met::Never("a test that makes a thousand groups takes too long; the limit is one line"),
        ),
        (
            "Storage",
            Met::Tested(
                include_str!("group_errors.rs"),
                "a_closed_database_is_overload_for_groups",
                "503, json!(\"storage unavailable\")",
            ),
        ),
    ];
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
