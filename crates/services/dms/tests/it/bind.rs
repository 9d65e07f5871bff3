//! Binding by hand.

use lamassu_core::device::CreateDevice;
use serde_json::{Value, json};

use crate::device::{Device, serial_of};
use crate::support::{World, caller};

/// CA `anywhere`, DMS `dms` without any settings, and device `d` of it.
async fn world() -> World {
    let world = World::new().await;
    world.root("anywhere").await;
    world.created(json!({"id": "dms", "name": "DMS"})).await;
    let request = CreateDevice {
        id: "d".into(),
        dms_id: "dms".into(),
        ..CreateDevice::default()
    };
    world
        .devices
        .create_device(&caller(), request)
        .await
        .unwrap();
    world
}

async fn bind(world: &World, device: &str, serial: &str, mode: Value) -> (u16, Value) {
    let body = json!({"device_id": device, "certificate_serial_number": serial, "bind_mode": mode});
    let (status, reply) = world.call("POST", "/v1/dms/bind-identity", body).await;
    (status.as_u16(), reply)
}

#[tokio::test]
async fn a_certificate_of_any_ca_is_bound_and_attached() {
    let world = world().await;
    let serial = serial_of(&world.issue("anywhere", &Device::new("d")).await);
    let (status, binding) = bind(&world, "d", serial.as_str(), Value::Null).await;
    assert_eq!(status, 200, "{binding}");
    let attached = json!({"authorized_by": {"ra_id": "dms"}, "device_id": "d"});
    assert_eq!(
        binding["certificate"]["metadata"]["lamassu.io/ra/attached-to"],
        attached
    );
    assert_eq!(binding["dms"]["id"], "dms");
    // The device as it was before.
    assert_eq!(binding["device"]["status"], "NO_IDENTITY");
    assert_eq!(binding["device"].get("identity"), None);
    let event = world.event("dms.bind-device-id").await;
    assert_eq!(event["source"], "source://lamassu.io/ctx/source/service/ra");
    assert_eq!(event["data"]["certificate"], binding["certificate"]);
    let slot = world.registered("d").await.identity.unwrap();
    assert_eq!(slot.active_serial(), Some(&serial));

    // A second one follows while the first is still active.
    let next = serial_of(&world.issue("anywhere", &Device::new("d")).await);
    let (status, binding) = bind(&world, "d", next.as_str(), json!("RENEWED")).await;
    assert_eq!(status, 200, "{binding}");
    let slot = world.registered("d").await.identity.unwrap();
    assert_eq!(
        (slot.active_version, slot.active_serial()),
        (1, Some(&next))
    );
    assert!(
        slot.events
            .values()
            .any(|event| event.event_type == "RENEWED")
    );
}

#[tokio::test]
async fn a_ca_whose_certificate_is_bound_is_attached_as_well() {
    let world = world().await;
    world
        .certificate_authority("gateway", Some("anywhere"))
        .await;
    let request = CreateDevice {
        id: "gateway".into(),
        dms_id: "dms".into(),
        ..CreateDevice::default()
    };
    world
        .devices
        .create_device(&caller(), request)
        .await
        .unwrap();
    let ca = async || world.ca.ca(&caller(), &"gateway".into()).await.unwrap();
    let serial = ca().await.serial_number;
    let (status, binding) = bind(&world, "gateway", serial.as_str(), Value::Null).await;
    assert_eq!(status, 200, "{binding}");
    let attached = json!({"authorized_by": {"ra_id": "dms"}, "device_id": "gateway"});
    assert_eq!(
        ca().await.metadata.get("lamassu.io/ra/attached-to"),
        Some(&attached)
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let world = world().await;
    let own = serial_of(&world.issue("anywhere", &Device::new("d")).await);
    let other = serial_of(&world.issue("anywhere", &Device::new("stranger")).await);
    let cases = [
        ("d", "no-hex", 404, "certificate not found"),
        ("d", "0102", 404, "certificate not found"),
        (
            "d",
            other.as_str(),
            409,
            "certificate common name differs from the device id",
        ),
        ("stranger", other.as_str(), 404, "device not found"),
    ];
    for (device, serial, status, text) in cases {
        let (answered, reply) = bind(&world, device, serial, json!("PROVISIONED")).await;
        assert_eq!(
            (answered, reply["err"].as_str()),
            (status, Some(text)),
            "{device} {serial}"
        );
    }
    let untouched = world.certificate(&other).await.metadata.unwrap_or_default();
    assert!(!untouched.contains_key("lamassu.io/ra/attached-to"));
    let orphan = CreateDevice {
        id: "stranger".into(),
        dms_id: "gone".into(),
        ..CreateDevice::default()
    };
    world
        .devices
        .create_device(&caller(), orphan)
        .await
        .unwrap();
    let (answered, reply) = bind(&world, "stranger", other.as_str(), json!("PROVISIONED")).await;
    assert_eq!(
        (answered, reply["err"].as_str()),
        (404, Some("DMS not found"))
    );
    assert_eq!(bind(&world, "d", own.as_str(), json!("")).await.0, 200);
}
