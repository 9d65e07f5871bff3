//! Refused changes are in the audit log, with what was asked for and what was answered.

use http::Method;
use lamassu_db::{params, sql};
use serde_json::Value;

use crate::support::fixture;

/// A group that does not exist.
const GROUP: &str = "7b0c1d52-90a4-4a2e-9d7c-3f1f6b1f2a10";

/// Method, path, body; the operation and the resource of the record. `GROUP` stands for its id.
const REFUSED: [[&str; 5]; 16] = [
    [
        "POST",
        "/v1/devices",
        r#"{"id":"d"}"#,
        "device.create",
        "device/d",
    ],
    [
        "PUT",
        "/v1/devices/x/metadata",
        r#"{"patches":[{"op":"add","path":"/site","value":"north"}]}"#,
        "device.metadata.update",
        "device/x",
    ],
    [
        "DELETE",
        "/v1/devices/x/decommission",
        "null",
        "device.decommission",
        "device/x",
    ],
    [
        "DELETE",
        "/v1/devices/x",
        "null",
        "device.delete",
        "device/x",
    ],
    [
        "POST",
        "/v2/devices",
        r#"{"id":"d"}"#,
        "device.create",
        "device/d",
    ],
    [
        "DELETE",
        "/v2/devices/x",
        "null",
        "device.decommission",
        "device/x",
    ],
    [
        "DELETE",
        "/v1/device-groups/GROUP",
        "null",
        "device-group.delete",
        "device-group/GROUP",
    ],
    [
        "PATCH",
        "/v2/device-groups/GROUP",
        r#"{"name":"x"}"#,
        "device-group.update",
        "device-group/GROUP",
    ],
    [
        "POST",
        "/v2/device-groups/GROUP/actions",
        r#"{"action":"purge"}"#,
        "device-group.action.start",
        "device-group/GROUP",
    ],
    [
        "DELETE",
        "/v2/device-groups/GROUP/actions/x",
        "null",
        "device-group.action.cancel",
        "device-group/GROUP/actions/x",
    ],
    [
        "PUT",
        "/v2/devices/d/slots/UPPER",
        r#"{"secret_type":"TOKEN"}"#,
        "device.slot.update",
        "device/d/slots/UPPER",
    ],
    [
        "DELETE",
        "/v2/devices/d/slots/identity",
        "null",
        "device.slot.delete",
        "device/d/slots/identity",
    ],
    [
        "POST",
        "/v2/devices/d/slots/api/versions",
        r#"{"secret":{"generate":true}}"#,
        "device.slot.version.add",
        "device/d/slots/api",
    ],
    [
        "POST",
        "/v2/devices/d/slots/api/versions/0/activate",
        "null",
        "device.slot.version.activate",
        "device/d/slots/api/versions/0",
    ],
    [
        "POST",
        "/v2/devices/d/slots/api/versions/0/revoke",
        r#"{"reason":"KeyCompromise"}"#,
        "device.slot.version.revoke",
        "device/d/slots/api/versions/0",
    ],
    [
        "DELETE",
        "/v2/devices/d/slots/api/versions/0",
        "null",
        "device.slot.version.delete",
        "device/d/slots/api/versions/0",
    ],
];

#[tokio::test]
async fn each_refused_change_is_recorded_once_with_its_reason() {
    let fixture = fixture().await;
    fixture.register("d").await;
    let mut expected = Vec::new();
    for row in REFUSED {
        let [method, path, body, operation, resource] =
            row.map(|text| text.replace("GROUP", GROUP));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let (status, _, answer) = fixture.ask(method, &path, &[], body).await;
        assert!(status.is_client_error(), "{path}: {status}");
        let text = answer["err"].as_str().unwrap().to_owned();
        expected.push([operation, resource, text]);
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
