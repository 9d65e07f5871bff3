use lamassu_core::ca::enrollment::{Attachment, Detach, Revoke};
use lamassu_core::ca::{
    CaError, Certificate, CertificateRef, CertificateStatus, Enrollment, EnrollmentMode,
    ProfileChoice, RenewalWindows, Superseded,
};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use lamassu_x509::CertificationRequest;
use serde_json::json;

use crate::certificates::duplicate;
use crate::support::{START, World, caller, csr, p256};

const DIGEST: [u8; 32] = [7; 32];

pub(crate) fn windows() -> RenewalWindows {
    let day = 86_400;
    RenewalWindows {
        preventive: WireDuration::from_secs(30 * day),
        critical: WireDuration::from_secs(7 * day),
    }
}

fn attachment() -> Attachment {
    Attachment {
        device_id: "device-1".into(),
        dms_id: "dms-1".into(),
        slot: None,
    }
}

pub(crate) fn supersede(certificate: &Certificate) -> Superseded {
    Superseded {
        serial_number: certificate.serial_number.clone(),
        detach: Detach::Yes,
        revoke: Revoke::Yes,
    }
}

impl World {
    /// A certificate for device-1 with an open intent.
    pub(crate) async fn enroll(&self, superseded: Option<Superseded>) -> Certificate {
        let mode = match superseded {
            None => EnrollmentMode::Enroll,
            Some(_) => EnrollmentMode::Reenroll,
        };
        let enrollment = Enrollment {
            mode,
            attachment: attachment(),
            csr_digest: DIGEST,
            superseded,
            windows: windows(),
        };
        let csr = csr(&p256(), "device-1").der().clone();
        let csr = CertificationRequest::from_der(csr)
            .unwrap()
            .verify()
            .unwrap();
        let (ca, profile) = ("root-a".into(), ProfileChoice::Default);
        self.reached
            .sign_for_enrollment(&caller(), &ca, csr, profile, enrollment)
            .await
            .unwrap()
    }

    async fn stored(&self, serial: &SerialNumber) -> Certificate {
        self.reached.certificate(&caller(), serial).await.unwrap()
    }

    pub(crate) async fn open_intents(&self) -> Vec<SerialNumber> {
        let before = START + time::Duration::days(1);
        let open = self
            .reached
            .open_enrollments(&caller(), before, None, 10)
            .await
            .unwrap();
        open.into_iter().map(|open| open.serial_number).collect()
    }

    /// Types of the events from the `skip`th on.
    pub(crate) async fn event_types(&self, skip: usize) -> Vec<String> {
        self.events()
            .await
            .into_iter()
            .skip(skip)
            .map(|(kind, _)| kind)
            .collect()
    }
}

#[tokio::test]
async fn an_enrollment_is_open_and_says_whose_it_is() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.enroll(None).await;
    let expected = json!({
        "lamassu.io/ra/attached-to":
            { "authorized_by": { "ra_id": "dms-1" }, "device_id": "device-1" },
        "lamassu.io/ca/expiration-deltas": [
            { "delta": "4w2d", "name": "Preventive", "triggered": false },
            { "delta": "1w", "name": "Critical", "triggered": false },
        ],
    });
    assert_eq!(issued.metadata, expected.as_object().cloned());
    assert_eq!(world.stored(&issued.serial_number).await, issued);
    let service = &world.reached;
    let open = service
        .open_enrollments(&caller(), START, None, 10)
        .await
        .unwrap();
    assert_eq!(open, [], "not before it was opened");
    let later = START + time::Duration::seconds(1);
    let open = service
        .open_enrollments(&caller(), later, None, 10)
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].serial_number, issued.serial_number);
    assert_eq!(open[0].device_id.as_str(), "device-1");
    assert_eq!(open[0].opened_at, START);
}

#[tokio::test]
async fn open_enrollments_are_read_page_by_page() {
    let world = World::new().await;
    world.root("root-a").await;
    for seconds in [0, 0, 1] {
        world.clock.advance(time::Duration::seconds(seconds));
        world.enroll(None).await;
    }
    let before = START + time::Duration::days(1);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let service = &world.reached;
        let page = service.open_enrollments(&caller(), before, after, 1).await;
        let Some(last) = page.unwrap().pop() else {
            break;
        };
        after = Some((last.opened_at, last.serial_number.clone()));
        seen.push(last.serial_number);
    }
    assert_eq!(seen, world.open_intents().await);
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn completing_retires_the_superseded_certificate_once() {
    let world = World::new().await;
    world.root("root-a").await;
    let old = world.enroll(None).await;
    world
        .reached
        .complete_enrollment(&caller(), &old.serial_number)
        .await
        .unwrap();
    let new = world.enroll(Some(supersede(&old))).await;
    let told = world.events().await.len();
    for _ in 0..2 {
        world
            .reached
            .complete_enrollment(&caller(), &new.serial_number)
            .await
            .unwrap();
    }
    assert_eq!(
        world.event_types(told).await,
        ["certificate.metadata.update", "certificate.status.update"]
    );
    let retired = world.stored(&old.serial_number).await;
    assert_eq!(retired.status, CertificateStatus::Revoked);
    assert_eq!(retired.revocation_reason, RevocationReason::Superseded);
    assert_eq!(retired.metadata, Some(serde_json::Map::new()));
    let detached = world.last_event("certificate.metadata.update").await;
    assert_eq!(detached["data"]["updated"]["status"], "ACTIVE");
    let revoked = world.last_event("certificate.status.update").await;
    assert_eq!(revoked["data"]["previous"]["metadata"], json!({}));
    assert_eq!(
        revoked["data"]["updated"]["revocation_reason"],
        "Superseded"
    );
    assert_eq!(world.open_intents().await, []);
    assert_eq!(world.stored(&new.serial_number).await, new);
}

#[tokio::test]
async fn a_superseded_certificate_lives_on_where_the_intent_says_so() {
    let world = World::new().await;
    world.root("root-a").await;
    let old = world.enroll(None).await;
    let superseded = Superseded {
        detach: Detach::No,
        revoke: Revoke::No,
        ..supersede(&old)
    };
    let new = world.enroll(Some(superseded)).await;
    world
        .reached
        .complete_enrollment(&caller(), &new.serial_number)
        .await
        .unwrap();
    assert_eq!(world.stored(&old.serial_number).await, old);
}

#[tokio::test]
async fn a_lost_answer_is_found_again_for_a_while() {
    let world = World::new().await;
    world.root("root-a").await;
    let old = world.enroll(None).await;
    let new = world.enroll(Some(supersede(&old))).await;
    let repeated = async |digest: &[u8; 32], since| {
        let service = &world.reached;
        service
            .repeated_reenrollment(&caller(), &old.serial_number, digest, since)
            .await
            .unwrap()
    };
    assert_eq!(repeated(&DIGEST, START).await, None, "while it is open");
    world
        .reached
        .complete_enrollment(&caller(), &new.serial_number)
        .await
        .unwrap();
    assert_eq!(repeated(&DIGEST, START).await, Some(new));
    assert_eq!(
        repeated(&DIGEST, START + time::Duration::seconds(1)).await,
        None
    );
    assert_eq!(repeated(&[8; 32], START).await, None);
}

#[tokio::test]
async fn what_no_device_received_is_revoked_once() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.enroll(None).await;
    let told = world.events().await.len();
    for _ in 0..2 {
        world
            .reached
            .abandon_enrollment(&caller(), &issued.serial_number)
            .await
            .unwrap();
    }
    assert_eq!(world.event_types(told).await, ["certificate.status.update"]);
    let revoked = world.stored(&issued.serial_number).await;
    assert_eq!(revoked.status, CertificateStatus::Revoked);
    assert_eq!(
        revoked.revocation_reason,
        RevocationReason::CessationOfOperation
    );
    assert_eq!(world.open_intents().await, []);
}

/// What may become of the certificate of an enrollment that goes on.
#[derive(Clone, Copy)]
enum Fate {
    Replaced,
    NotDelivered,
}

#[tokio::test]
async fn a_hold_does_not_outlive_the_certificate_it_is_of() {
    let cases = [
        (Fate::Replaced, RevocationReason::Superseded),
        (Fate::NotDelivered, RevocationReason::CessationOfOperation),
    ];
    for (fate, reason) in cases {
        let world = World::new().await;
        world.root("root-a").await;
        let held = world.enroll(None).await.serial_number;
        let replacement = Superseded {
            serial_number: held.clone(),
            detach: Detach::No,
            revoke: Revoke::Yes,
        };
        let (service, caller) = (&world.reached, caller());
        let hold = RevocationReason::CertificateHold;
        service
            .set_certificate_status(&caller, &(&held).into(), CertificateStatus::Revoked, hold)
            .await
            .unwrap();
        world.clock.advance(time::Duration::hours(1));
        match fate {
            Fate::Replaced => {
                let new = world.enroll(Some(replacement)).await.serial_number;
                service.complete_enrollment(&caller, &new).await
            }
            Fate::NotDelivered => service.abandon_enrollment(&caller, &held).await,
        }
        .unwrap();
        let revoked = world.stored(&held).await;
        assert_eq!(revoked.status, CertificateStatus::Revoked);
        assert_eq!(revoked.revocation_reason, reason);
        let at = START + time::Duration::hours(1);
        assert_eq!(revoked.revocation_timestamp.0, at);
        let told = world.last_event("certificate.status.update").await;
        assert_eq!(told["data"]["updated"]["revocation_reason"], reason.name());
        let refused = service
            .set_certificate_status(&caller, &(&held).into(), CertificateStatus::Active, hold)
            .await;
        assert!(
            matches!(refused, Err(CaError::StatusTransition)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_is_revoked_for_good_keeps_its_reason() {
    let world = World::new().await;
    world.root("root-a").await;
    let old = world.enroll(None).await;
    let new = world.enroll(Some(supersede(&old))).await;
    let (status, reason) = (CertificateStatus::Revoked, RevocationReason::KeyCompromise);
    let service = &world.reached;
    service
        .set_certificate_status(&caller(), &(&old).into(), status, reason)
        .await
        .unwrap();
    let told = world.events().await.len();
    service
        .complete_enrollment(&caller(), &new.serial_number)
        .await
        .unwrap();
    assert_eq!(
        world.event_types(told).await,
        ["certificate.metadata.update"]
    );
    let stored = world.stored(&old.serial_number).await;
    assert_eq!(stored.revocation_reason, reason);
}

#[tokio::test]
async fn of_two_certificates_with_one_serial_number_the_undelivered_one_is_revoked() {
    let world = World::new().await;
    world.root("root-a").await;
    let serial = world.enroll(None).await.serial_number;
    duplicate(&world, serial.as_str()).await;
    let service = &world.reached;
    service
        .abandon_enrollment(&caller(), &serial)
        .await
        .unwrap();
    assert_eq!(world.open_intents().await, []);
    let cases = [
        ("root-a", CertificateStatus::Revoked),
        ("root-b", CertificateStatus::Active),
    ];
    for (ca, status) in cases {
        let found = service
            .certificate_status(&caller(), &ca.into(), &serial)
            .await
            .unwrap();
        assert_eq!(found.unwrap().status, status, "{ca}");
    }
}

#[tokio::test]
async fn what_is_completed_is_not_abandoned_any_more() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.enroll(None).await;
    world
        .reached
        .complete_enrollment(&caller(), &issued.serial_number)
        .await
        .unwrap();
    world
        .reached
        .abandon_enrollment(&caller(), &issued.serial_number)
        .await
        .unwrap();
    assert_eq!(world.stored(&issued.serial_number).await, issued);
}

#[tokio::test]
async fn attaching_keeps_what_else_the_metadata_say() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = SerialNumber::parse(issued["serial_number"].as_str().unwrap()).unwrap();
    let attached = world
        .reached
        .attach_certificate(&caller(), &(&serial).into(), attachment(), windows())
        .await
        .unwrap();
    let metadata = attached.metadata.clone().unwrap();
    assert_eq!(
        metadata["lamassu.io/ra/attached-to"]["device_id"],
        "device-1"
    );
    assert_eq!(world.stored(&serial).await, attached);
    let event = world.last_event("certificate.metadata.update").await;
    assert_eq!(event["data"]["previous"], issued);
    assert_eq!(
        event["data"]["updated"],
        serde_json::to_value(&attached).unwrap()
    );
}

/// How a certificate is taken from its device.
#[derive(Clone, Copy)]
enum Detached {
    BySuccessor,
    ByMetadata,
}

#[tokio::test]
async fn a_ca_is_attached_and_detached_with_its_certificate() {
    for how in [Detached::BySuccessor, Detached::ByMetadata] {
        let world = World::new().await;
        let root = world.root("root-a").await;
        let before = world.sub(&root, "gateway").await;
        let serial = SerialNumber::parse(before["serial_number"].as_str().unwrap()).unwrap();
        let service = &world.reached;
        service
            .attach_certificate(&caller(), &(&serial).into(), attachment(), windows())
            .await
            .unwrap();
        let attached = world.ca("gateway").await;
        let expected = json!({ "authorized_by": { "ra_id": "dms-1" }, "device_id": "device-1" });
        assert_eq!(
            attached["metadata"],
            json!({ "lamassu.io/ra/attached-to": expected })
        );
        let event = world.last_event("ca.metadata.update").await;
        assert_eq!(
            event["data"],
            json!({ "previous": before, "updated": attached })
        );
        match how {
            Detached::BySuccessor => {
                let certificate = world.stored(&serial).await;
                let new = world.enroll(Some(supersede(&certificate))).await;
                service
                    .complete_enrollment(&caller(), &new.serial_number)
                    .await
                    .unwrap();
            }
            Detached::ByMetadata => {
                let path = format!("/v1/certificates/{serial}/metadata");
                let remove = json!({ "op": "remove", "path": "/lamassu.io~1ra~1attached-to" });
                let answer = world.put(&path, json!({ "patches": [remove] })).await;
                answer.with(http::StatusCode::OK);
            }
        }
        let detached = world.ca("gateway").await;
        assert_eq!(detached["metadata"], json!({}));
        let event = world.last_event("ca.metadata.update").await;
        assert_eq!(event["data"]["previous"], attached);
        assert_eq!(event["data"]["updated"]["metadata"], json!({}));
    }
}

#[tokio::test]
async fn what_a_superseded_ca_issued_follows_it() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let gateway = world.sub(&root, "gateway").await;
    let below = world.issue("gateway", "sensor-1").await;
    let serial = SerialNumber::parse(gateway["serial_number"].as_str().unwrap()).unwrap();
    let service = &world.reached;
    service
        .attach_certificate(&caller(), &(&serial).into(), attachment(), windows())
        .await
        .unwrap();
    let certificate = world.stored(&serial).await;
    let new = world.enroll(Some(supersede(&certificate))).await;
    let told = world.events().await.len();
    service
        .complete_enrollment(&caller(), &new.serial_number)
        .await
        .unwrap();
    let gateway = world.ca("gateway").await;
    assert_eq!(gateway["certificate"]["status"], "REVOKED");
    // Each is told as it was after what was told before.
    assert_eq!(
        world.event_types(told).await,
        [
            "certificate.metadata.update",
            "ca.metadata.update",
            "ca.status.update",
            "certificate.status.update",
            "certificate.status.update",
        ]
    );
    let detached = world.last_event("ca.metadata.update").await;
    let event = world.last_event("ca.status.update").await;
    assert_eq!(event["subject"], "ca/gateway");
    assert_eq!(event["data"]["previous"], detached["data"]["updated"]);
    assert_eq!(event["data"]["updated"], gateway);
    let below = SerialNumber::parse(below["serial_number"].as_str().unwrap()).unwrap();
    let below = world.stored(&below).await;
    assert_eq!(below.status, CertificateStatus::Revoked);
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_not_superseded_for_its_number() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let ca = world.sub(&root, "gateway").await;
    let others = world.issue("root-a", "device-2").await;
    let service = &world.reached;
    let others = SerialNumber::parse(others["serial_number"].as_str().unwrap()).unwrap();
    let device_2 = Attachment {
        device_id: "device-2".into(),
        ..attachment()
    };
    service
        .attach_certificate(&caller(), &(&others).into(), device_2, windows())
        .await
        .unwrap();
    let ca = SerialNumber::parse(ca["serial_number"].as_str().unwrap()).unwrap();
    for serial in [others, ca] {
        let before = world.stored(&serial).await;
        let new = world.enroll(Some(supersede(&before))).await;
        service
            .complete_enrollment(&caller(), &new.serial_number)
            .await
            .unwrap();
        assert_eq!(world.stored(&serial).await, before);
        assert_eq!(world.open_intents().await, []);
    }
}

#[tokio::test]
async fn attaching_again_changes_and_tells_nothing() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = SerialNumber::parse(issued["serial_number"].as_str().unwrap()).unwrap();
    let caller = caller();
    let named = CertificateRef::from(&serial);
    let attach = || {
        let (to, windows) = (attachment(), windows());
        world
            .reached
            .attach_certificate(&caller, &named, to, windows)
    };
    let attached = attach().await.unwrap();
    let (events, records) = (world.events().await, world.audit().await);
    assert_eq!(attach().await.unwrap(), attached);
    assert_eq!(world.events().await, events);
    assert_eq!(world.audit().await, records);
}
