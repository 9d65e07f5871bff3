//! What events of the CA service change, whatever state other parts are in.

use std::time::Duration as StdDuration;

use lamassu_core::va::VaService as _;
use lamassu_db::{
    LoggedEvent, NextRun, Seq, WriteSet, dead_letters, params, replay_dead_letter, sql,
    system_caller,
};
use lamassu_va::CA_SUBSCRIPTION;
use time::Duration;

use crate::support::{World, get};

impl World {
    /// The newest event of this type.
    async fn newest(&self, event_type: &str) -> LoggedEvent {
        let query = sql(
            "SELECT seq, event_type, subject, body FROM event_log WHERE event_type = $1 \
             ORDER BY seq DESC LIMIT 1",
            params![event_type],
        );
        let row = self.db.row_opt(query).await.unwrap().unwrap();
        LoggedEvent {
            seq: Seq(row.get("seq").unwrap()),
            event_type: row.get("event_type").unwrap(),
            subject: row.get("subject").unwrap(),
            body: row.get("body").unwrap(),
        }
    }

    /// Sets an event aside as the subscription does, and has it replayed.
    async fn set_aside_and_replay(&self, event: &LoggedEvent) {
        let mut set = WriteSet::new();
        set.execute(sql(
            "INSERT INTO dead_letters \
             (subscription, seq, event_type, subject, body, error, attempts, failed_at, replay) \
             VALUES ($1, $2, $3, $4, $5, 'lost a race', 4, 0, $6)",
            params![
                CA_SUBSCRIPTION,
                event.seq.0,
                event.event_type.as_str(),
                event.subject.as_deref(),
                event.body.as_str(),
                false
            ],
        ));
        self.db.commit(set).await.unwrap();
        let letter = dead_letters(&self.db, 0, 1).await.unwrap().remove(0);
        replay_dead_letter(&self.db, &system_caller("test"), letter.id)
            .await
            .unwrap();
        tokio::time::timeout(StdDuration::from_secs(20), async {
            let mut tick = tokio::time::interval(StdDuration::from_millis(10));
            while !dead_letters(&self.db, 0, 1).await.unwrap().is_empty() {
                tick.tick().await;
            }
        })
        .await
        .expect("the event is handled");
    }
}

#[tokio::test]
async fn a_replayed_event_changes_nothing_that_happened_after_it() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    let other = world.issue(&ca, "device-2").await;
    world.revoke(&issued, "CertificateHold").await;
    world.set_status(&issued, "ACTIVE").await;
    let release = world.newest("certificate.status.update").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.revoke(&other, "CertificateHold").await;
    let hold = world.newest("certificate.status.update").await;
    world.set_status(&other, "ACTIVE").await;
    world.settle().await;
    let listed = world.listed(&ca).await;
    assert_eq!(listed.1, [issued.serial().to_hex()]);
    for event in [&release, &hold] {
        world.set_aside_and_replay(event).await;
        world.settle().await;
        assert_eq!(world.listed(&ca).await, listed);
    }
}

/// What was set aside before it had an effect has it when it is replayed.
#[tokio::test]
async fn a_replayed_event_makes_up_for_what_was_missed() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.settle().await;
    let revocation = world.newest("certificate.status.update").await;
    let mut set = WriteSet::new();
    set.execute(sql("DELETE FROM va_revoked", params![]));
    world.db.commit(set).await.unwrap();
    world.set_aside_and_replay(&revocation).await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await, (3, vec![issued.serial().to_hex()]));
}

#[tokio::test]
async fn a_ca_that_cannot_sign_now_holds_up_nobody() {
    let world = World::new().await;
    let away = world.with_kms_away().await;
    world.follow_events_with(&away);
    let first = world.root("root-a").await;
    let issued = world.issue(&first, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.catch_up().await;
    assert_eq!(dead_letters(&world.db, 0, 1).await.unwrap(), []);
    // The role is there and has no CRL until the key's holder is back.
    let now = world.db.now();
    let job = away.crl_job();
    let next = job.run(&system_caller("test"), now).await.unwrap();
    assert_eq!(next, NextRun::At(now + Duration::seconds(30)));
    let role = away.role(&system_caller("test"), &first.ski).await.unwrap();
    assert_eq!(role.latest_crl.version, 0);
    world.clock.advance(Duration::seconds(30));
    world.run_crl_job().await;
    let serial = issued.serial().to_hex();
    assert_eq!(world.listed(&first).await, (1, vec![serial]));
}

/// A key that is not here may be there after the next start.
#[tokio::test]
async fn a_ca_without_key_is_tried_once_per_start() {
    let world = World::new().await;
    let keyless = world.service_without_keys().await;
    world.follow_events_with(&keyless);
    let ca = world.root("root-a").await;
    world.catch_up().await;
    let (caller, now) = (system_caller("test"), world.db.now());
    for _ in 0..2 {
        let next = keyless.crl_job().run(&caller, now).await.unwrap();
        assert_eq!(next, NextRun::WhenWoken);
        let role = keyless.role(&caller, &ca.ski).await.unwrap();
        assert_eq!(role.latest_crl.version, 0);
    }
    world.run_crl_job().await;
    let role = world.va.role(&caller, &ca.ski).await.unwrap();
    assert_eq!(role.latest_crl.version, 1);
}

/// Anybody can use up the readings that unknown names may cause.
#[tokio::test]
async fn a_revocation_makes_a_crl_due_whatever_the_public_asks_for() {
    let world = World::new().await;
    let (other, router) = world.replica().await;
    for n in 0..20 {
        let unknown = get(&router, &format!("/crl/0badcafe{n:02}"), &[]).await;
        assert_eq!(unknown.status, 404);
    }
    // Another process handled the event of this CA.
    let ca = world.root("root-a").await;
    world.reconcile().await;
    world.run_crl_job().await;
    assert_eq!(world.listed(&ca).await, (1, vec![]));
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    let revocation = world.newest("certificate.status.update").await;
    let (_, handler) = other.ca_subscription();
    let caller = system_caller("test");
    let effect = handler.handle(&caller, &[revocation]).await.unwrap();
    world.db.commit(effect).await.unwrap();
    other.crl_job().run(&caller, world.db.now()).await.unwrap();
    assert_eq!(world.listed(&ca).await, (2, vec![issued.serial().to_hex()]));
}

/// A role whose CA is gone is no failure that comes back every hour.
#[tokio::test]
async fn the_crls_of_a_deleted_ca_end_without_failures() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let kept = world.root("root-b").await;
    world.settle().await;
    world.delete(&ca).await;
    world.catch_up().await;
    world.clock.advance(Duration::WEEK);
    let next = world.run_crl_job().await;
    assert_eq!(world.listed(&kept).await.0, 2);
    assert_eq!(next, NextRun::At(world.db.now() + Duration::hours(167)));
}
