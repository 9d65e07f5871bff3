//! What follows from a binding, told by the event alone and by a device manager on the same log.

use std::time::Duration;

use lamassu_ca::BOUND_SUBSCRIPTION;
use lamassu_core::ca::enrollment::Revoke;
use lamassu_core::ca::{CaService as _, Certificate, CertificateStatus};
use lamassu_core::device::{BindIdentity, CreateDevice, DeviceService as _, SlotState};
use lamassu_core::dms::{Dms, DmsSettings};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Event, Seq, WriteSet, params, sql};
use lamassu_devices::{CERTIFICATE_SUBSCRIPTION, DevicesConfig, DevicesPorts, DevicesService};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::enrollment::{supersede, windows};
use crate::support::{START, World, caller};

impl World {
    /// Appends the events of these bindings to device-1.
    async fn tell_bound(&self, certificates: &[&Certificate]) {
        let mut set = WriteSet::new();
        for certificate in certificates {
            let device = json!({ "id": "device-1" });
            let data = json!({ "certificate": certificate, "dms": {}, "device": device });
            set.event(
                Event::new("dms.bind-device-id", "service/ra", &caller(), START)
                    .subject("device/device-1")
                    .data(&data),
            );
        }
        self.db.commit(set).await.unwrap();
    }

    /// Lets the CA service react to all that was told.
    async fn follow_bindings(&self) {
        let shutdown = CancellationToken::new();
        let (subscription, handler) = self.service.bound_subscription();
        tokio::join!(
            subscription.run(handler, &shutdown),
            self.caught_up(BOUND_SUBSCRIPTION, &shutdown)
        );
    }

    /// Waits until the subscription has read the whole log, then ends it.
    pub(crate) async fn caught_up(&self, subscription: &str, shutdown: &CancellationToken) {
        let last = sql("SELECT MAX(seq) AS seq FROM event_log", params![]);
        let last = self.db.row_opt(last).await.unwrap().unwrap();
        let last = Seq(last.get("seq").unwrap());
        let caught_up = self.db.caught_up(subscription, last);
        tokio::time::timeout(Duration::from_secs(10), caught_up)
            .await
            .unwrap();
        shutdown.cancel();
    }

    async fn revoke(&self, certificate: &Certificate, reason: RevocationReason) -> Certificate {
        let (named, status) = (certificate.into(), CertificateStatus::Revoked);
        self.service
            .set_certificate_status(&caller(), &named, status, reason)
            .await
            .unwrap()
    }

    /// A device manager on the same database.
    async fn devices(&self) -> DevicesService {
        let ports = DevicesPorts {
            db: self.db.clone(),
            ca: std::sync::Arc::clone(&self.reached),
            config: DevicesConfig::default(),
        };
        DevicesService::new(ports).await.unwrap()
    }

    /// Lets the device manager react to all that was told.
    async fn follow_certificates(&self, devices: &DevicesService) {
        let shutdown = CancellationToken::new();
        let (subscription, handler) = devices.certificate_subscription();
        tokio::join!(
            subscription.run(handler, &shutdown),
            self.caught_up(CERTIFICATE_SUBSCRIPTION, &shutdown)
        );
    }
}

/// The first binding of device-1, which it registers.
fn binding(certificate: &Certificate) -> BindIdentity {
    let dms = Dms {
        id: "dms-1".into(),
        name: "Fleet".to_owned(),
        metadata: Map::new(),
        creation_ts: Timestamp(START),
        settings: DmsSettings::default(),
    };
    BindIdentity {
        device_id: "device-1".into(),
        certificate: Box::new(certificate.clone()),
        dms: Box::new(dms),
        mode: "PROVISIONED".to_owned(),
        expected: SlotState::NoDevice,
        create: Some(CreateDevice::default()),
        windows: windows(),
        announce: None,
        revoke_superseded: Revoke::No,
    }
}

#[tokio::test]
async fn bind_events_close_what_superseded_nothing() {
    let world = World::new().await;
    world.root("root-a").await;
    let first = world.enroll(None).await;
    let second = world.enroll(Some(supersede(&first))).await;
    world.tell_bound(&[&first, &second]).await;
    let told = world.events().await.len();
    world.follow_bindings().await;
    assert_eq!(world.open_intents().await, [second.serial_number]);
    assert_eq!(world.event_types(told).await, [""; 0]);
}

#[tokio::test]
async fn a_status_other_than_the_bound_one_is_told_again() {
    let world = World::new().await;
    world.root("root-a").await;
    let (kept, revoked) = (world.enroll(None).await, world.enroll(None).await);
    let now = world
        .revoke(&revoked, RevocationReason::KeyCompromise)
        .await;
    world.tell_bound(&[&kept, &revoked]).await;
    let told = world.events().await.len();
    world.follow_bindings().await;
    assert_eq!(world.event_types(told).await, ["certificate.status.update"]);
    let event = world.last_event("certificate.status.update").await;
    assert_eq!(
        event["subject"],
        format!("certificate/{}", now.serial_number)
    );
    assert_eq!(event["data"]["previous"]["status"], "ACTIVE");
    assert_eq!(
        event["data"]["updated"],
        serde_json::to_value(&now).unwrap()
    );
}

#[tokio::test]
async fn a_status_that_was_bound_is_not_told_again() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.enroll(None).await;
    let held = world
        .revoke(&issued, RevocationReason::CertificateHold)
        .await;
    world.tell_bound(&[&held]).await;
    let told = world.events().await.len();
    world.follow_bindings().await;
    assert_eq!(world.event_types(told).await, [""; 0]);
}

#[tokio::test]
async fn a_certificate_revoked_before_it_is_bound_revokes_its_device() {
    let world = World::new().await;
    world.root("root-a").await;
    let devices = world.devices().await;
    let issued = world.enroll(None).await;
    world.revoke(&issued, RevocationReason::KeyCompromise).await;
    world.follow_certificates(&devices).await;
    devices
        .bind_identity(&caller(), binding(&issued))
        .await
        .unwrap();
    world.follow_bindings().await;
    world.follow_certificates(&devices).await;
    let device = devices.device(&caller(), &"device-1".into()).await.unwrap();
    let device: Value = serde_json::to_value(&device).unwrap();
    assert_eq!(device["status"], "REVOKED");
    assert_eq!(device["identity"]["status"], "REVOKED");
}
