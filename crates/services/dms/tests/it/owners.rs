//! Who may own devices: the device manager asks this service.

use std::sync::Arc;

use lamassu_core::ca::CertificateStatus;
use lamassu_core::device::slot::{AddVersion, IDENTITY, PutSlot, SlotId, VersionState};
use lamassu_core::device::v2::RegisterDevice;
use lamassu_core::device::{DeviceRegistry as _, RegistryError, SlotService as _};
use lamassu_core::dms::DmsService;
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_core::patch::DocumentPatch;
use lamassu_core::revision::Precondition;
use lamassu_devices::{DevicesConfig, DevicesPorts, DevicesService, Owners};
use serde_json::{Value, json};
use time::Duration;

use crate::device::{Device, serial_of};
use crate::support::{World, caller, dms};

impl World {
    /// A device manager that asks this world's DMS manager.
    async fn devices_of_known_owners(&self) -> DevicesService {
        let devices = self.devices_of_any_owners().await;
        self.answer_about_owners(&devices);
        devices
    }

    pub(crate) async fn devices_of_any_owners(&self) -> DevicesService {
        let ports = DevicesPorts {
            db: self.db.clone(),
            ca: Arc::clone(&self.ca),
            config: DevicesConfig::default(),
        };
        DevicesService::new(ports).await.unwrap()
    }

    fn answer_about_owners(&self, devices: &DevicesService) {
        let manager: Arc<dyn DmsService> = Arc::clone(&self.manager) as _;
        devices.ask_for_owners(Owners::Here(Arc::downgrade(&manager)));
    }
}

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
    let devices = world.devices_of_any_owners().await;
    let register = async |id: &str, owner: &str| {
        let new = request(json!({"id": id, "dms_owner": owner}));
        devices.register_device(&caller(), new).await
    };
    // Nobody has said where DMSs are known.
    register("first", "nobody").await.unwrap();
    world.answer_about_owners(&devices);
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

#[tokio::test]
async fn identities_that_come_over_v2_follow_their_dms() {
    let world = World::new().await;
    world.root("fleet").await;
    let enrollment = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    let reenrollment = json!({"preventive_delta": "10d", "critical_delta": "5d"});
    world
        .created(dms("line-1", &enrollment, &reenrollment))
        .await;
    let device = Device::new("d");
    let enrolled = world
        .est("simpleenroll", "line-1", &device.csr(), None)
        .await;
    let first = serial_of(&enrolled.certificate());

    let devices = world.devices_of_known_owners().await;
    let slot = SlotId {
        device: "d".into(),
        name: IDENTITY.to_owned(),
    };
    let policy = async |policy: Value| {
        let put: PutSlot =
            serde_json::from_value(json!({"secret_type": "x509", "policy": policy})).unwrap();
        devices
            .put_slot(&caller(), &slot, put, Precondition::None)
            .await
            .unwrap();
    };
    let preventive_at = async || {
        let query = lamassu_db::sql(
            "SELECT (not_after - preventive_at) / 86400000000 AS days FROM device WHERE id = 'd'",
            vec![],
        );
        let row = world.db.row_opt(query).await.unwrap().unwrap();
        row.get::<i64>("days").unwrap()
    };
    let replaced = async |version: Value| {
        let serial = serial_of(&world.issue("fleet", &device).await);
        let mut version = version;
        version["secret"] = json!({"serial_number": serial});
        let version: AddVersion = serde_json::from_value(version).unwrap();
        devices
            .add_version(&caller(), &slot, version, Precondition::None)
            .await
            .unwrap();
        serial
    };
    assert_eq!(preventive_at().await, 10);
    policy(json!({"preventive_delta": "20d"})).await;
    assert_eq!(preventive_at().await, 20);

    // The slot says when, the DMS what becomes of the certificate before.
    let second = replaced(json!({"overlap": "0s"})).await;
    assert_eq!(preventive_at().await, 20);
    let job = devices.certificates_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let revoked = world.certificate(&first).await;
    assert_eq!(revoked.status, CertificateStatus::Revoked);

    // Without its policy the slot follows the DMS at once, and so does what comes after.
    policy(json!({})).await;
    assert_eq!(preventive_at().await, 10);
    replaced(json!({})).await;
    assert_eq!(preventive_at().await, 10);
    let versions = devices
        .slot(&caller(), &slot)
        .await
        .unwrap()
        .versions
        .unwrap();
    let states: Vec<_> = versions.iter().map(|version| version.state).collect();
    let expected = [
        VersionState::Active,
        VersionState::Superseded,
        VersionState::Revoked,
    ];
    assert_eq!(states, expected);
    // No overlap was asked for: it is valid until it ends by itself.
    world.clock.advance(Duration::days(1));
    job.run(&caller(), world.db.now()).await.unwrap();
    assert_eq!(
        world.certificate(&second).await.status,
        CertificateStatus::Active
    );
}
