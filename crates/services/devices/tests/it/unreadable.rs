//! Rows that nobody can read: they hold up nothing else, and are not given up.

use std::time::Duration as StdDuration;

use http::Method;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Job, NextRun, dead_letters, replay_dead_letter, sql, system_caller};
use serde_json::{Value, json};
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::groups::{criterion, id};
use crate::support::{Fixture, caller, fixture, just_in_time};

/// What of `dev-1` is broken, and how it is mended.
const ROWS: [[&str; 2]; 4] = [
    [
        "UPDATE device SET status = 'LOST' WHERE id = 'dev-1'",
        "UPDATE device SET status = 'ACTIVE' WHERE id = 'dev-1'",
    ],
    [
        "UPDATE device_slot SET status = 'LOST' WHERE device_id = 'dev-1'",
        "UPDATE device_slot SET status = 'ACTIVE' WHERE device_id = 'dev-1'",
    ],
    [
        "UPDATE slot_version SET state = 'LOST' WHERE device_id = 'dev-1' AND slot = 'identity'",
        "UPDATE slot_version SET state = 'ACTIVE' WHERE device_id = 'dev-1' AND slot = 'identity'",
    ],
    [
        "UPDATE slot_version SET serial_number = 'none' WHERE serial_number = '0a'",
        "UPDATE slot_version SET serial_number = '0a' WHERE serial_number = 'none'",
    ],
];

/// Breaks `dev-1`, which cannot be read then.
const BREAK: &str = ROWS[2][0];

/// Mends it.
const MEND: &str = ROWS[2][1];

impl Fixture {
    async fn run_sql(&self, text: &'static str) {
        self.execute(sql(text, vec![])).await;
    }

    async fn run_once(&self, job: &dyn Job) -> NextRun {
        let caller = system_caller("test");
        job.run(&caller, self.db.now()).await.unwrap()
    }

    /// Two devices with certificates of the CA service.
    async fn two_devices(&self) -> [SerialNumber; 2] {
        let mut serials = Vec::new();
        for device in ["dev-1", "dev-2"] {
            self.register(device).await;
            let serial = self.issued(device).await.serial_number;
            let version = json!({"secret": {"serial_number": serial}});
            let versions = format!("/v2/devices/{device}/slots/identity/versions");
            self.ok(Method::POST, &versions, version).await;
            serials.push(serial);
        }
        self.follow().await;
        serials.try_into().unwrap()
    }

    async fn status_of(&self, serial: &SerialNumber) -> CertificateStatus {
        self.certificate(serial).await.status
    }

    /// Has the only event that was set aside handled again.
    async fn replayed(&self) {
        let letters = dead_letters(&self.db, 0, 10).await.unwrap();
        assert_eq!(letters.len(), 1);
        let marked = replay_dead_letter(&self.db, &caller(), letters[0].id).await;
        marked.unwrap();
        let (subscription, handler) = self.local.certificate_subscription();
        let shutdown = CancellationToken::new();
        let handled = async {
            let mut look = tokio::time::interval(StdDuration::from_millis(10));
            while !dead_letters(&self.db, 0, 1).await.unwrap().is_empty() {
                look.tick().await;
            }
        };
        let handled = async {
            let handled = tokio::time::timeout(StdDuration::from_secs(20), handled).await;
            shutdown.cancel();
            handled.expect("the event is handled");
        };
        tokio::join!(subscription.run(handler, &shutdown), handled);
    }
}

#[tokio::test]
async fn a_device_that_cannot_be_read_holds_up_no_other_and_follows_when_it_can() {
    for [broken, mended] in ROWS {
        let fixture = fixture().await;
        fixture.bound("dev-1", "0a").await;
        fixture.bound("dev-2", "0b").await;
        let token = json!({"secret_type": "TOKEN", "secret": {"generate": true}});
        let versions = "/v2/devices/dev-1/slots/api/versions";
        fixture.ok(Method::POST, versions, token).await;
        fixture.run_sql(broken).await;
        fixture.clock.advance(Duration::days(75));
        let job = fixture.local.windows_job();
        let next = fixture.run_once(&*job).await;
        let later = fixture.db.now() + Duration::minutes(1);
        assert_eq!(next, NextRun::At(later), "{broken}");
        let status = fixture.statuses("dev-2").await.0;
        assert_eq!(status, "RENEWAL_PENDING", "{broken}");
        fixture.run_sql(mended).await;
        fixture.pass(Duration::minutes(1)).await;
        let status = fixture.statuses("dev-1").await.0;
        assert_eq!(status, "RENEWAL_PENDING", "{broken}");
    }
}

#[tokio::test]
async fn a_batch_of_devices_that_cannot_be_read_holds_up_no_other() {
    let fixture = fixture().await;
    for n in 0..70 {
        let mut request = just_in_time(&format!("dev-{n}"), &format!("{n:04x}"));
        // The last one is due last.
        request.certificate.valid_to.0 += Duration::hours(n);
        let bound = fixture.service.bind_identity(&caller(), request).await;
        bound.unwrap();
    }
    fixture
        .run_sql("UPDATE slot_version SET state = 'LOST' WHERE device_id <> 'dev-69'")
        .await;
    fixture.pass(Duration::days(75)).await;
    assert_eq!(fixture.statuses("dev-69").await.0, "RENEWAL_PENDING");
}

#[tokio::test]
async fn a_task_that_cannot_be_read_holds_up_no_other_and_is_done_when_it_can() {
    let fixture = fixture().await;
    let [first, second] = fixture.two_devices().await;
    for device in ["dev-1", "dev-2"] {
        let uri = format!("/v1/devices/{device}/decommission");
        fixture.ok(Method::DELETE, &uri, Value::Null).await;
    }
    fixture
        .run_sql("UPDATE device_follow_up SET details = 'x' || details WHERE device_id = 'dev-1'")
        .await;
    fixture.follow().await;
    assert_eq!(fixture.status_of(&first).await, CertificateStatus::Active);
    assert_eq!(fixture.status_of(&second).await, CertificateStatus::Revoked);
    fixture
        .run_sql("UPDATE device_follow_up SET details = SUBSTR(details, 2)")
        .await;
    fixture.clock.advance(Duration::minutes(10));
    fixture.follow().await;
    assert_eq!(fixture.status_of(&first).await, CertificateStatus::Revoked);
}

#[tokio::test]
async fn an_event_about_a_device_that_cannot_be_read_is_set_aside_and_holds_up_no_other() {
    let fixture = fixture().await;
    let serials = fixture.two_devices().await;
    fixture.heard().await;
    fixture.run_sql(BREAK).await;
    let reason = RevocationReason::KeyCompromise;
    for serial in &serials {
        let revoked = CertificateStatus::Revoked;
        fixture.set_status(serial, revoked, reason).await;
    }
    fixture.heard().await;
    assert_eq!(fixture.statuses("dev-2").await, ("REVOKED", "REVOKED"));
    fixture.run_sql(MEND).await;
    fixture.replayed().await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
}

#[tokio::test]
async fn windows_follow_policies_beside_a_device_that_cannot_be_read() {
    let fixture = fixture().await;
    for (device, serial) in [("dev-1", "0a"), ("dev-2", "0b")] {
        fixture.bound(device, serial).await;
    }
    fixture
        .group(1, None, json!([criterion("id", "ct", "dev-")]))
        .await;
    fixture.clock.advance(Duration::days(20));
    fixture.run_sql(BREAK).await;
    // 80 days are left.
    let uri = format!("/v2/device-groups/{}", id(1));
    let policies = json!({"policies": {"renewal": {"preventive_delta": "90d"}}});
    let (status, answer) = fixture.send(Method::PATCH, &uri, policies).await;
    assert_eq!(status, 200, "{answer}");
    let job = fixture.local.renewal_job();
    let next = fixture.run_once(&*job).await;
    let later = fixture.db.now() + Duration::hours(1);
    assert_eq!(next, NextRun::At(later));
    assert_eq!(fixture.statuses("dev-2").await.0, "RENEWAL_PENDING");
    fixture.run_sql(MEND).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "ACTIVE");
    fixture.clock.advance(Duration::hours(1));
    fixture.run_once(&*job).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "RENEWAL_PENDING");
    let idle = fixture.run_once(&*job).await;
    assert_eq!(idle, NextRun::WhenWoken);
}
