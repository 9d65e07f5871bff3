//! Refused changes are in the audit log, with what was asked for and what was answered.

use http::Method;
use lamassu_db::{params, sql};
use serde_json::{Value, json};

use crate::support::fixture;

#[tokio::test]
async fn each_refused_change_is_recorded_once_with_its_reason() {
    let fixture = fixture().await;
    fixture.register("d").await;
    let patches = json!({ "patches": [{ "op": "add", "path": "/site", "value": "north" }] });
    let group = "7b0c1d52-90a4-4a2e-9d7c-3f1f6b1f2a10";
    let of_group = format!("device-group/{group}");
    let deletion = format!("/v1/device-groups/{group}");
    let in_v2 = format!("/v2/device-groups/{group}");
    let actions = format!("{in_v2}/actions");
    let action = format!("{actions}/x");
    let cases = [
        (
            Method::POST,
            "/v1/devices",
            json!({ "id": "d" }),
            "device.create",
            "device/d",
        ),
        (
            Method::PUT,
            "/v1/devices/x/metadata",
            patches,
            "device.metadata.update",
            "device/x",
        ),
        (
            Method::DELETE,
            "/v1/devices/x/decommission",
            Value::Null,
            "device.decommission",
            "device/x",
        ),
        (
            Method::DELETE,
            "/v1/devices/x",
            Value::Null,
            "device.delete",
            "device/x",
        ),
        (
            Method::POST,
            "/v2/devices",
            json!({ "id": "d" }),
            "device.create",
            "device/d",
        ),
        (
            Method::DELETE,
            "/v2/devices/x",
            Value::Null,
            "device.decommission",
            "device/x",
        ),
        (
            Method::DELETE,
            &deletion,
            Value::Null,
            "device-group.delete",
            &of_group,
        ),
        (
            Method::PATCH,
            &in_v2,
            json!({"name": "x"}),
            "device-group.update",
            &of_group,
        ),
        (
            Method::POST,
            &actions,
            json!({"action": "purge"}),
            "device-group.action.start",
            &of_group,
        ),
        (
            Method::DELETE,
            &action,
            Value::Null,
            "device-group.action.cancel",
            &format!("{of_group}/actions/x"),
        ),
        (
            Method::PUT,
            "/v2/devices/d/slots/UPPER",
            json!({"secret_type": "TOKEN"}),
            "device.slot.update",
            "device/d/slots/UPPER",
        ),
        (
            Method::DELETE,
            "/v2/devices/d/slots/identity",
            Value::Null,
            "device.slot.delete",
            "device/d/slots/identity",
        ),
        (
            Method::POST,
            "/v2/devices/d/slots/api/versions",
            json!({"secret": {"generate": true}}),
            "device.slot.version.add",
            "device/d/slots/api",
        ),
        (
            Method::POST,
            "/v2/devices/d/slots/api/versions/0/activate",
            Value::Null,
            "device.slot.version.activate",
            "device/d/slots/api/versions/0",
        ),
        (
            Method::POST,
            "/v2/devices/d/slots/api/versions/0/revoke",
            json!({"reason": "KeyCompromise"}),
            "device.slot.version.revoke",
            "device/d/slots/api/versions/0",
        ),
        (
            Method::DELETE,
            "/v2/devices/d/slots/api/versions/0",
            Value::Null,
            "device.slot.version.delete",
            "device/d/slots/api/versions/0",
        ),
    ];
    let mut expected = Vec::new();
    for (method, path, body, operation, resource) in cases {
        let (status, _, answer) = fixture.ask(method, path, &[], body).await;
        assert!(status.is_client_error(), "{path}: {status}");
        let text = answer["err"].as_str().unwrap().to_owned();
        expected.push([operation.to_owned(), resource.to_owned(), text]);
    }
    let query = sql(
        "SELECT operation, resource, reason FROM audit_log WHERE result = 'refused' ORDER BY id",
        params![],
    );
    let rows = fixture.db.rows(query).await.unwrap();
    let recorded: Vec<[String; 3]> = rows
        .iter()
        .map(|row| ["operation", "resource", "reason"].map(|column| row.get(column).unwrap()))
        .collect();
    assert_eq!(recorded, expected);
}
