//! Several processes on one database.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use lamassu_core::ca::enrollment::Attachment;
use lamassu_core::ca::{CertificateStatus, RenewalWindows};
use lamassu_core::clock::{Clock as _, SystemClock};
use lamassu_core::device::{BindIdentity, Device, DeviceService as _, DeviceStatus, SlotState};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::sql;
use lamassu_devices::DevicesService;
use lamassu_testing::{PostgresServer, TestDatabase};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::support::{caller, issued_by, just_in_time, over, windows};

/// How many devices go through their windows.
const DEVICES: usize = 12;

/// Waits until a device has a status.
async fn reaches(service: &DevicesService, id: &str, status: DeviceStatus) -> Device {
    let mut look = tokio::time::interval(StdDuration::from_millis(50));
    let reached = async {
        loop {
            look.tick().await;
            let device = service.device(&caller(), &DeviceId::from(id)).await;
            let device = device.unwrap();
            if device.status == status {
                return device;
            }
        }
    };
    let reached = tokio::time::timeout(StdDuration::from_secs(20), reached).await;
    reached.unwrap_or_else(|_| panic!("{id} is not {status}"))
}

/// When the status became this one, by the device's history.
fn changed_to(device: &Device, status: DeviceStatus) -> Vec<OffsetDateTime> {
    let text = format!("to '{status}'");
    let entries = device.events.iter();
    let entries = entries.filter(|(_, event)| event.description.ends_with(&text));
    entries.map(|(at, _)| at.0).collect()
}

fn in_time(at: OffsetDateTime, due: OffsetDateTime) {
    let late = at - due;
    assert!(
        late >= Duration::ZERO && late < Duration::SECOND,
        "{at} is not within a second of {due}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_make_each_change_of_status_once_and_in_time() {
    let database = TestDatabase::Postgres(Box::new(PostgresServer::shared().fresh_schema()));
    let (db, ca, one) = over(&database, Arc::new(SystemClock)).await;
    let (_other_db, _other_ca, other) = over(&database, Arc::new(SystemClock)).await;
    let shutdown = CancellationToken::new();
    let running: Vec<_> = [&one, &other]
        .map(|service| {
            let (service, shutdown) = (service.clone(), shutdown.clone());
            tokio::spawn(async move { service.run(&shutdown).await })
        })
        .into();
    // By time: the windows open four and two seconds before the end.
    let seconds = WireDuration::from_secs;
    let ends = Timestamp(SystemClock.now() + Duration::seconds(8)).truncated_to_micros();
    for number in 0..DEVICES {
        let mut request = BindIdentity {
            windows: RenewalWindows {
                preventive: seconds(4),
                critical: seconds(2),
            },
            ..just_in_time(&format!("dev-{number}"), &format!("{number:04x}"))
        };
        request.certificate.valid_to = ends;
        let service = if number % 2 == 0 { &one } else { &other };
        service.bind_identity(&caller(), request).await.unwrap();
    }
    // By its certificate, then by hand.
    let certificate = issued_by(&*ca, "held").await;
    let attachment = Attachment {
        device_id: "held".into(),
        dms_id: "fleet-1".into(),
        slot: None,
    };
    let reference = (&certificate).into();
    ca.attach_certificate(&caller(), &reference, attachment, windows())
        .await
        .unwrap();
    let request = BindIdentity {
        certificate: Box::new(certificate),
        ..just_in_time("held", "ff")
    };
    assert_eq!(request.expected, SlotState::NoDevice);
    one.bind_identity(&caller(), request).await.unwrap();
    let revoked = SystemClock.now();
    let reason = RevocationReason::KeyCompromise;
    ca.set_certificate_status(&caller(), &reference, CertificateStatus::Revoked, reason)
        .await
        .unwrap();
    let held = reaches(&other, "held", DeviceStatus::Revoked).await;
    for at in changed_to(&held, DeviceStatus::Revoked) {
        in_time(at, revoked);
    }
    other.decommission(&caller(), &"held".into()).await.unwrap();
    reaches(&one, "held", DeviceStatus::Decommissioned).await;
    for number in 0..DEVICES {
        let id = format!("dev-{number}");
        let device = reaches(&one, &id, DeviceStatus::Expired).await;
        for (status, before) in [
            (DeviceStatus::RenewalPending, 4),
            (DeviceStatus::ExpiringSoon, 2),
            (DeviceStatus::Expired, 0),
        ] {
            let changes = changed_to(&device, status);
            assert_eq!(changes.len(), 1, "{id} {status}");
            in_time(changes[0], ends.0 - Duration::seconds(before));
        }
    }
    shutdown.cancel();
    for running in running {
        running.await.unwrap();
    }
    // Each change is told once: to ACTIVE and through the windows, to REVOKED and to DECOMMISSIONED.
    let rows = db.rows(sql("SELECT body FROM event_log", vec![])).await;
    let mut told: Vec<(String, String)> = rows
        .unwrap()
        .iter()
        .map(|row| serde_json::from_str(&row.get::<String>("body").unwrap()).unwrap())
        .filter(|event: &Value| event["type"] == "device.status.update")
        .map(|event| {
            let updated = &event["data"]["updated"];
            let member = |name: &str| updated[name].as_str().unwrap().to_owned();
            (member("id"), member("status"))
        })
        .collect();
    let n_told = told.len();
    told.sort();
    told.dedup();
    assert_eq!((n_told, told.len()), (4 * DEVICES + 3, 4 * DEVICES + 3));
}
