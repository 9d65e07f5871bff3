//! Renewal windows and expiry by time.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use lamassu_core::ca::RenewalWindows;
use lamassu_core::clock::{Clock, SystemClock};
use lamassu_core::device::{BindIdentity, DeviceService, DeviceStatus};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{NextRun, run_job, system_caller};
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::support::{START, caller, fixture, just_in_time, service};

#[tokio::test]
async fn a_device_goes_through_its_windows_once() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let job = fixture.local.windows_job();
    // The certificate ends on day 100, the windows open 30 and 7 days before.
    let cases = [
        (Duration::days(70) - Duration::MICROSECOND, "ACTIVE", 0),
        (Duration::days(70), "RENEWAL_PENDING", 2),
        (Duration::days(70), "RENEWAL_PENDING", 0),
        (Duration::days(93), "EXPIRING_SOON", 2),
        (Duration::days(100), "EXPIRED", 2),
        (Duration::days(300), "EXPIRED", 0),
    ];
    for (age, status, told) in cases {
        fixture.clock.advance(START + age - fixture.clock.now());
        let before = fixture.events().await.len();
        job.run(&system_caller("test"), fixture.db.now())
            .await
            .unwrap();
        assert_eq!(fixture.statuses("dev-1").await, (status, status), "{age}");
        assert_eq!(fixture.events().await.len() - before, told, "{age}");
    }
    let events = fixture.events().await;
    let last = &events[events.len() - 1];
    assert_eq!(last["type"], "device.identity.update");
    assert_eq!(
        last["source"],
        "source://lamassu.io/ctx/source/service/devmanager"
    );
    assert_eq!(
        last["data"]["previous"]["identity"]["status"],
        "EXPIRING_SOON"
    );
    assert_eq!(last["data"]["updated"]["identity"]["status"], "EXPIRED");
    assert_eq!(
        fixture.device("dev-1").await.identity.unwrap().events.len(),
        4
    );
}

#[tokio::test]
async fn a_job_that_was_away_goes_straight_to_the_present() {
    let fixture = fixture().await;
    for number in 0..150 {
        let request = just_in_time(&format!("dev-{number}"), &format!("{number:04x}"));
        fixture
            .service
            .bind_identity(&caller(), request)
            .await
            .unwrap();
    }
    fixture.clock.advance(Duration::days(101));
    fixture
        .local
        .windows_job()
        .run(&system_caller("test"), fixture.db.now())
        .await
        .unwrap();
    let (_, stats) = fixture.get("/v1/stats").await;
    assert_eq!(stats["status_distribution"]["EXPIRED"], 150);
    let slot = fixture.device("dev-149").await.identity.unwrap();
    assert_eq!(
        slot.events.values().next_back().unwrap().description,
        "Identity Slot Status updated from 'ACTIVE' to 'EXPIRED'"
    );
}

#[tokio::test]
async fn the_job_sleeps_until_something_is_due() {
    let fixture = fixture().await;
    let job = fixture.local.windows_job();
    let horizon = NextRun::At(START + Duration::minutes(10));
    assert_eq!(
        job.run(&system_caller("test"), fixture.db.now())
            .await
            .unwrap(),
        horizon
    );
    fixture.bound("dev-1", "0a").await;
    assert_eq!(
        job.run(&system_caller("test"), fixture.db.now())
            .await
            .unwrap(),
        horizon
    );
    fixture
        .clock
        .advance(Duration::days(70) - Duration::minutes(1));
    let due = NextRun::At(START + Duration::days(70));
    assert_eq!(
        job.run(&system_caller("test"), fixture.db.now())
            .await
            .unwrap(),
        due
    );
}

#[tokio::test]
async fn a_certificate_of_seconds_expires_on_time() {
    let clock = Arc::new(SystemClock);
    let (db, service, _dir) = service(clock).await;
    let shutdown = CancellationToken::new();
    let job = service.windows_job();
    let mut told = db.signal(lamassu_devices::WINDOWS_JOB);
    let expiry = async {
        // The job has found nothing to do and sleeps; the binding wakes it.
        let second = WireDuration::from_secs(1);
        let mut request = BindIdentity {
            windows: RenewalWindows {
                preventive: second,
                critical: second,
            },
            ..just_in_time("dev-1", "0a")
        };
        request.certificate.valid_to = Timestamp(SystemClock.now() + Duration::milliseconds(1_500));
        let ends = request.certificate.valid_to.0;
        service.bind_identity(&caller(), request).await.unwrap();
        told.changed().await.unwrap();
        let deadline = StdDuration::from_secs(5);
        let mut look = tokio::time::interval(StdDuration::from_millis(20));
        let expired = async {
            loop {
                look.tick().await;
                let device = service
                    .device(&caller(), &DeviceId::from("dev-1"))
                    .await
                    .unwrap();
                if device.status == DeviceStatus::Expired {
                    return SystemClock.now();
                }
            }
        };
        let at = tokio::time::timeout(deadline, expired).await.unwrap();
        shutdown.cancel();
        assert!(
            at >= ends && at - ends < Duration::SECOND,
            "{at} is not within a second of {ends}"
        );
    };
    tokio::join!(run_job(&db, job, &shutdown), expiry);
}
