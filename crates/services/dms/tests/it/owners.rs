//! Who may own devices: the device manager asks this service.

use std::sync::Arc;

use lamassu_core::device::v2::RegisterDevice;
use lamassu_core::device::{DeviceRegistry as _, RegistryError};
use lamassu_core::dms::DmsService;
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_core::patch::DocumentPatch;
use lamassu_core::revision::Precondition;
use lamassu_devices::{DevicesConfig, DevicesPorts, DevicesService, Owners};
use serde_json::{Value, json};

use crate::support::{World, caller, dms};

fn request(body: Value) -> RegisterDevice {
    serde_json::from_value(body).unwrap()
}

fn owned_by(owner: &str) -> DocumentPatch {
    merge(json!({"dms_owner": owner}))
}

fn merge(body: Value) -> DocumentPatch {
    DocumentPatch::Merge(serde_json::from_value(body).unwrap())
}

fn refusal(error: &RegistryError) -> (ErrorKind, Option<&'static str>) {
    (error.kind(), error.code())
}

#[tokio::test]
async fn v2_gives_devices_to_dmss_that_exist() {
    let world = World::new().await;
    world.created(dms("line-1", &json!({}), &json!({}))).await;
    let ports = DevicesPorts {
        db: world.db.clone(),
        ca: Arc::clone(&world.ca),
        config: DevicesConfig::default(),
    };
    let devices = DevicesService::new(ports).await.unwrap();
    let register = async |id: &str, owner: &str| {
        let new = request(json!({"id": id, "dms_owner": owner}));
        devices.register_device(&caller(), new).await
    };
    // Nobody has said where DMSs are known.
    register("first", "nobody").await.unwrap();
    let manager: Arc<dyn DmsService> = Arc::clone(&world.manager) as _;
    devices.ask_for_owners(Owners::Here(Arc::downgrade(&manager)));
    let unknown = (ErrorKind::Unprocessable, Some("dms_not_found"));
    let refused = register("second", "nobody").await.unwrap_err();
    assert_eq!(refusal(&refused), unknown);
    assert_eq!(refused.to_string(), "DMS not found");
    register("second", "line-1").await.unwrap();
    let patch = async |id: &str, patch: DocumentPatch| {
        devices
            .patch_device(&caller(), &id.into(), patch, Precondition::None)
            .await
    };
    let refused = patch("second", owned_by("nobody")).await.unwrap_err();
    assert_eq!(refusal(&refused), unknown);
    // What is there stays, whoever owns it, and may be put right.
    let tagged = merge(json!({"tags": ["found"]}));
    patch("first", tagged).await.unwrap();
    let moved = patch("first", owned_by("line-1")).await.unwrap();
    assert_eq!(moved.dms_owner.as_str(), "line-1");
}
