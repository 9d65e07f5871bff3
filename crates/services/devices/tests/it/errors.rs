//! Each error of the service, met from outside: its status and its text.

use http::Method;
use lamassu_core::query::QueryLimits;
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};

use crate::support::fixture;

const ERRORS: &str = include_str!("../../../../core/src/device.rs");

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn every_error_has_its_status_and_text() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let body = json!({"id": "dev-1", "dms_id": "fleet-1"});
    let table = [
        (
            "Validation",
            asked(
                Method::POST,
                "/v1/devices",
                json!({}),
                400,
                "struct validation error",
            ),
        ),
        (
            "NotFound",
            asked(
                Method::GET,
                "/v1/devices/x",
                Value::Null,
                400,
                "device not found",
            ),
        ),
        (
            "Unknown",
            asked(
                Method::DELETE,
                "/v1/devices/x",
                Value::Null,
                404,
                "device not found",
            ),
        ),
        (
            "NotDecommissioned",
            asked(
                Method::DELETE,
                "/v1/devices/dev-1",
                Value::Null,
                422,
                "device status does not allow this operation",
            ),
        ),
        (
            "Patch",
            asked(
                Method::PUT,
                "/v1/devices/dev-1/metadata",
                json!({"patches": [{"op": "replace", "path": "/x", "value": 1}]}),
                400,
                "failed to apply patches to metadata: patches[0]: there is no value at this path",
            ),
        ),
        (
            "Exists",
            asked(
                Method::POST,
                "/v1/devices",
                body,
                409,
                "device already exists",
            ),
        ),
        (
            "Decommissioned",
            Met::Tested(
                include_str!("bind.rs"),
                "nothing_is_bound_to_a_decommissioned_device",
                "device status does not allow this operation",
            ),
        ),
        (
            "SlotChanged",
            Met::Tested(
                include_str!("bind.rs"),
                "a_binding_on_false_assumptions_is_refused",
                "device identity changed meanwhile",
            ),
        ),
        (
            "Query",
            asked(
                Method::GET,
                "/v1/devices?bookmark=x",
                Value::Null,
                400,
                "not a valid bookmark",
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
    let routes = (fixture.routes)(QueryLimits::default());
    check_table(ERRORS, "DeviceError", &routes, &table).await;
}

#[tokio::test]
async fn a_closed_database_is_overload() {
    let fixture = fixture().await;
    fixture.db.close().await;
    let (status, answer) = fixture.get("/v1/devices/x").await;
    assert_eq!(
        (status.as_u16(), answer["err"].clone()),
        (503, json!("storage unavailable"))
    );
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_by_every_route() {
    let fixture = fixture().await;
    lamassu_testing::check_bodies(
        &(fixture.routes)(QueryLimits::default()),
        // Nothing is as good as an empty object there.
        &[
            "POST /v2/devices/{id}/slots/{slot}/versions/{version}/activate",
            "POST /v2/devices/{id}/slots/{slot}/versions/{version}/revoke",
        ],
    )
    .await;
}
