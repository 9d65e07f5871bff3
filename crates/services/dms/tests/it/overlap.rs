//! What becomes of a certificate that an enrollment replaces: slots and groups say so before the DMS does.

use lamassu_core::ca::CertificateStatus;
use lamassu_core::device::slot::{IDENTITY, PutSlot, SlotId, SlotVersion, VersionState};
use lamassu_core::device::{DeviceStatus, SlotService as _};
use lamassu_core::ids::SerialNumber;
use lamassu_core::pem::CertificateDer;
use lamassu_core::revision::Precondition;
use lamassu_core::usage::RevocationReason;
use lamassu_devices::{CERTIFICATE_SUBSCRIPTION, DevicesService};
use lamassu_testing::newest_event;
use serde_json::{Value, json};
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::device::{Device, serial_of};
use crate::support::{World, caller, dms};

/// A device with a certificate that may be renewed, and a slot of this policy.
struct Enrolled {
    world: World,
    devices: DevicesService,
    device: Device,
    certificate: CertificateDer,
}

impl Enrolled {
    async fn new(revoke_on_reenrollment: bool, policy: &Value) -> Self {
        let world = World::new().await;
        world.root("fleet").await;
        let enrollment = json!({
            "est_rfc7030_settings": {"auth_mode": "NO_AUTH"},
            "enable_replaceable_enrollment": true,
        });
        let reenrollment = json!({
            "est_rfc7030_settings": {"auth_mode": "CLIENT_CERTIFICATE"},
            "revoke_on_reenrollment": revoke_on_reenrollment,
        });
        world
            .created(dms("line-1", &enrollment, &reenrollment))
            .await;
        let device = Device::new("d");
        let certificate = world
            .est("simpleenroll", "line-1", &device.csr(), None)
            .await
            .certificate();
        let devices = world.devices_of_any_owners().await;
        let put: PutSlot =
            serde_json::from_value(json!({"secret_type": "x509", "policy": policy})).unwrap();
        devices
            .put_slot(&caller(), &identity(), put, Precondition::None)
            .await
            .unwrap();
        world.clock.advance(Duration::days(2));
        Self {
            world,
            devices,
            device,
            certificate,
        }
    }

    /// Has the certificate replaced by this operation; gives its serial number.
    async fn replaced(&self, operation: &str) -> SerialNumber {
        let presented = [&self.certificate];
        let csr = self.device.csr();
        let answer = self
            .world
            .est(operation, "line-1", &csr, Some(&presented))
            .await;
        answer.certificate();
        serial_of(&self.certificate)
    }

    /// The first version, and what its certificate is at the CA service.
    async fn first(&self) -> (SlotVersion, CertificateStatus) {
        let slot = self.devices.slot(&caller(), &identity()).await.unwrap();
        let version = slot.versions.unwrap().pop().unwrap();
        let serial = serial_of(&self.certificate);
        (version, self.world.certificate(&serial).await.status)
    }

    /// Lets the device manager hear of all that certificates went through so far.
    async fn heard(&self) {
        let head = newest_event(&self.world.db).await;
        let (subscription, handler) = self.devices.certificate_subscription();
        let shutdown = CancellationToken::new();
        let heard = async {
            self.world
                .db
                .caught_up(CERTIFICATE_SUBSCRIPTION, head)
                .await;
            shutdown.cancel();
        };
        tokio::join!(subscription.run(handler, &shutdown), heard);
    }

    /// Lets time do what is due.
    async fn pass(&self, duration: Duration) {
        self.world.clock.advance(duration);
        let now = self.world.db.now();
        for job in [self.devices.windows_job(), self.devices.certificates_job()] {
            job.run(&caller(), now).await.unwrap();
        }
    }
}

fn identity() -> SlotId {
    SlotId {
        device: "d".into(),
        name: IDENTITY.to_owned(),
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_revoked_when_its_overlap_ends() {
    for operation in ["simplereenroll", "simpleenroll"] {
        let enrolled = Enrolled::new(true, &json!({"overlap": "24h"})).await;
        let serial = enrolled.replaced(operation).await;
        let ends = enrolled.world.db.now() + Duration::hours(24);
        let (version, status) = enrolled.first().await;
        assert_eq!(version.state, VersionState::Superseded, "{operation}");
        assert_eq!(version.overlap_until.unwrap().0, ends);
        assert_eq!(status, CertificateStatus::Active);
        enrolled.pass(Duration::hours(24)).await;
        assert_eq!(enrolled.first().await.0.state, VersionState::Revoked);
        let certificate = enrolled.world.certificate(&serial).await;
        assert_eq!(certificate.status, CertificateStatus::Revoked);
        assert_eq!(certificate.revocation_reason, RevocationReason::Superseded);
    }
}

#[tokio::test]
async fn a_replaced_certificate_that_is_revoked_in_its_overlap_is_revoked_in_its_slot() {
    for operation in ["simplereenroll", "simpleenroll"] {
        let enrolled = Enrolled::new(true, &json!({"overlap": "24h"})).await;
        let serial = enrolled.replaced(operation).await;
        enrolled.world.revoke(&serial).await;
        enrolled.heard().await;
        let version = enrolled.first().await.0;
        assert_eq!(version.state, VersionState::Revoked, "{operation}");
        let reason = Some(RevocationReason::KeyCompromise);
        assert_eq!(version.revocation_reason, reason);
        // The end of the overlap makes nothing else of it.
        enrolled.pass(Duration::hours(24)).await;
        assert_eq!(enrolled.first().await.0, version);
        let status = enrolled.world.registered("d").await.status;
        assert_eq!(status, DeviceStatus::Active, "{operation}");
    }
}

#[tokio::test]
async fn slots_say_before_the_dms_whether_a_replaced_certificate_is_revoked() {
    use CertificateStatus::{Active, Revoked};
    let cases = [
        // Policy, the switch of the DMS; at once, and when an overlap is over.
        (json!({}), true, ("REVOKED", Revoked), ("REVOKED", Revoked)),
        (
            json!({}),
            false,
            ("SUPERSEDED", Active),
            ("SUPERSEDED", Active),
        ),
        (
            json!({"overlap": "0s"}),
            true,
            ("REVOKED", Revoked),
            ("REVOKED", Revoked),
        ),
        (
            json!({"revoke_superseded": false}),
            true,
            ("SUPERSEDED", Active),
            ("SUPERSEDED", Active),
        ),
        (
            json!({"overlap": "24h", "revoke_superseded": false}),
            true,
            ("SUPERSEDED", Active),
            ("RETIRED", Active),
        ),
        (
            json!({"overlap": "24h"}),
            false,
            ("SUPERSEDED", Active),
            ("RETIRED", Active),
        ),
        (
            json!({"overlap": "24h", "revoke_superseded": true}),
            false,
            ("SUPERSEDED", Active),
            ("REVOKED", Revoked),
        ),
    ];
    for (policy, by_dms, at_once, later) in cases {
        let enrolled = Enrolled::new(by_dms, &policy).await;
        enrolled.replaced("simplereenroll").await;
        let (version, status) = enrolled.first().await;
        assert_eq!((version.state.name(), status), at_once, "{policy} {by_dms}");
        enrolled.pass(Duration::hours(24)).await;
        let (version, status) = enrolled.first().await;
        assert_eq!((version.state.name(), status), later, "{policy} {by_dms}");
    }
}
