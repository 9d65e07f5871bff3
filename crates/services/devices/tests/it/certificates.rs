//! Devices follow their certificates.

use lamassu_core::ca::{Certificate, CertificateStatus};
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Event, HandlerError, LoggedEvent, Seq, WriteSet, sql, system_caller};
use serde_json::{Value, json};
use time::Duration;

use crate::slots::{IDENTITY, states};
use crate::support::{Fixture, caller, certificate, fixture, renewal};

const STATUS_UPDATE: &str = "certificate.status.update";
const METADATA_UPDATE: &str = "certificate.metadata.update";

/// A certificate attached to `dev-1`.
fn attached(serial: &str, status: CertificateStatus) -> Certificate {
    let mut certificate = certificate(serial);
    certificate.status = status;
    let attachment = json!({"authorized_by": {"ra_id": "fleet-1"}, "device_id": "dev-1"});
    let metadata = certificate.metadata.get_or_insert_default();
    metadata.insert("lamassu.io/ra/attached-to".to_owned(), attachment);
    certificate
}

/// The same with the named renewal windows triggered.
fn triggered(serial: &str, names: &[&str]) -> Certificate {
    let mut certificate = attached(serial, CertificateStatus::Active);
    let deltas: Vec<Value> = ["Preventive", "Critical"]
        .into_iter()
        .map(|name| json!({"delta": "30d", "name": name, "triggered": names.contains(&name)}))
        .collect();
    let metadata = certificate.metadata.get_or_insert_default();
    metadata.insert("lamassu.io/ca/expiration-deltas".to_owned(), json!(deltas));
    certificate
}

impl Fixture {
    /// Lets the device manager handle these events, appended in one commit; gives the types of
    /// what it told.
    async fn told_of(&self, changes: &[(&'static str, &Certificate)]) -> Vec<String> {
        let mut set = WriteSet::new();
        for (event_type, updated) in changes {
            let pair = json!({"previous": updated, "updated": updated});
            let event = Event::new(*event_type, "service/ca", &caller(), self.db.now());
            set.event(event.data(&pair));
        }
        let before = self.events().await.len() + changes.len();
        self.db.commit(set).await.unwrap();
        self.heard().await;
        self.event_types(before).await
    }
}

#[tokio::test]
async fn a_revoked_certificate_revokes_slot_and_device() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let revoked = attached("0a", CertificateStatus::Revoked);
    let told = fixture.told_of(&[(STATUS_UPDATE, &revoked)]).await;
    assert_eq!(told, ["device.status.update", "device.identity.update"]);
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
    let device = fixture.device("dev-1").await;
    assert_eq!(
        device
            .identity
            .unwrap()
            .events
            .values()
            .next_back()
            .unwrap()
            .description,
        "Identity Slot Status updated from 'ACTIVE' to 'REVOKED'"
    );
    assert_eq!(
        device.events.values().next_back().unwrap().description,
        "Status updated from 'ACTIVE' to 'REVOKED'"
    );
    let event = fixture.events().await.pop().unwrap();
    assert_eq!(
        event["source"],
        "source://lamassu.io/ctx/source/eventbus-service/ca"
    );
    assert_eq!(event["authtype"], "system");
}

#[tokio::test]
async fn an_event_told_again_changes_nothing() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let revoked = attached("0a", CertificateStatus::Revoked);
    let told = fixture
        .told_of(&[(STATUS_UPDATE, &revoked), (STATUS_UPDATE, &revoked)])
        .await;
    assert_eq!(told.len(), 2);
    let device = fixture.device("dev-1").await;
    assert_eq!(fixture.told_of(&[(STATUS_UPDATE, &revoked)]).await, [""; 0]);
    assert_eq!(fixture.device("dev-1").await, device);
}

#[tokio::test]
async fn certificates_that_are_not_the_active_version_are_ignored() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture
        .service
        .bind_identity(&caller(), renewal("dev-1", "0b", 0, "0a"))
        .await
        .unwrap();
    let superseded = attached("0a", CertificateStatus::Revoked);
    let unknown = attached("ff", CertificateStatus::Revoked);
    let mut detached = attached("0b", CertificateStatus::Revoked);
    detached.metadata = None;
    let mut of_another_issuer = attached("0b", CertificateStatus::Revoked);
    of_another_issuer.authority_key_id = "cc03".to_owned();
    let inactive = attached("0b", CertificateStatus::Inactive);
    for certificate in [
        &superseded,
        &unknown,
        &detached,
        &of_another_issuer,
        &inactive,
    ] {
        assert_eq!(
            fixture.told_of(&[(STATUS_UPDATE, certificate)]).await,
            [""; 0]
        );
    }
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
}

/// As renewal leaves it at the CA service.
#[tokio::test]
async fn a_replaced_certificate_is_followed_without_its_attachment() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture
        .service
        .bind_identity(&caller(), renewal("dev-1", "0b", 0, "0a"))
        .await
        .unwrap();
    let mut held = certificate("0a");
    held.status = CertificateStatus::Revoked;
    held.revocation_reason = RevocationReason::CertificateHold;
    let released = certificate("0a");
    let mut of_another_issuer = held.clone();
    of_another_issuer.authority_key_id = "cc03".to_owned();
    let mut of_nobody_knows_whom = held.clone();
    of_nobody_knows_whom.authority_key_id = String::new();
    for (news, state) in [
        (&of_another_issuer, "SUPERSEDED"),
        (&of_nobody_knows_whom, "SUPERSEDED"),
        (&held, "REVOKED"),
        (&released, "SUPERSEDED"),
        (&held, "REVOKED"),
    ] {
        assert_eq!(fixture.told_of(&[(STATUS_UPDATE, news)]).await, [""; 0]);
        assert_eq!(states(&fixture, IDENTITY).await.0, [state, "ACTIVE"]);
    }
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
}

#[tokio::test]
async fn a_released_hold_gives_the_status_that_time_has_made() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let held = attached("0a", CertificateStatus::Revoked);
    let released = attached("0a", CertificateStatus::Active);
    fixture.told_of(&[(STATUS_UPDATE, &held)]).await;
    fixture.told_of(&[(STATUS_UPDATE, &released)]).await;
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));

    fixture.told_of(&[(STATUS_UPDATE, &held)]).await;
    fixture.clock.advance(Duration::days(75));
    fixture
        .local
        .windows_job()
        .run(&system_caller("test"), fixture.db.now())
        .await
        .unwrap();
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
    fixture.told_of(&[(STATUS_UPDATE, &released)]).await;
    assert_eq!(
        fixture.statuses("dev-1").await,
        ("RENEWAL_PENDING", "RENEWAL_PENDING")
    );

    // What was released is due again.
    fixture.clock.advance(Duration::days(20));
    fixture
        .local
        .windows_job()
        .run(&system_caller("test"), fixture.db.now())
        .await
        .unwrap();
    assert_eq!(
        fixture.statuses("dev-1").await,
        ("EXPIRING_SOON", "EXPIRING_SOON")
    );
}

#[tokio::test]
async fn events_of_one_batch_build_on_each_other() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let held = attached("0a", CertificateStatus::Revoked);
    let released = attached("0a", CertificateStatus::Active);
    let told = fixture
        .told_of(&[(STATUS_UPDATE, &held), (STATUS_UPDATE, &released)])
        .await;
    assert_eq!(told.len(), 4);
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    assert_eq!(
        fixture.device("dev-1").await.identity.unwrap().events.len(),
        3
    );
}

#[tokio::test]
async fn a_certificate_set_to_expired_expires_the_device() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let expired = attached("0a", CertificateStatus::Expired);
    fixture.told_of(&[(STATUS_UPDATE, &expired)]).await;
    assert_eq!(fixture.statuses("dev-1").await, ("EXPIRED", "EXPIRED"));
}

#[tokio::test]
async fn metadata_make_no_slot_and_no_version_better() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let held = attached("0a", CertificateStatus::Revoked);
    fixture.told_of(&[(STATUS_UPDATE, &held)]).await;
    for news in [
        attached("0a", CertificateStatus::Expired),
        triggered("0a", &["Critical"]),
    ] {
        fixture.told_of(&[(METADATA_UPDATE, &news)]).await;
        assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
        let (_, version) = fixture
            .get("/v2/devices/dev-1/slots/identity/versions/0")
            .await;
        assert_eq!(version["state"], "REVOKED");
    }
}

#[tokio::test]
async fn of_two_windows_triggered_together_the_critical_one_counts() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let cases = [
        (triggered("0a", &[]), 0, "ACTIVE"),
        (triggered("0a", &["Preventive"]), 2, "RENEWAL_PENDING"),
        (
            triggered("0a", &["Preventive", "Critical"]),
            2,
            "EXPIRING_SOON",
        ),
        // Metadata never make it better.
        (triggered("0a", &["Preventive"]), 0, "EXPIRING_SOON"),
    ];
    for (certificate, told, status) in cases {
        let events = fixture.told_of(&[(METADATA_UPDATE, &certificate)]).await;
        assert_eq!(events.len(), told, "{status}");
        assert_eq!(fixture.statuses("dev-1").await, (status, status));
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_fails() {
    let fixture = fixture().await;
    let (_, handler) = fixture.local.certificate_subscription();
    let event = LoggedEvent {
        seq: Seq(1),
        event_type: STATUS_UPDATE.to_owned(),
        subject: None,
        body: json!({"data": {"updated": {"serial_number": "no number"}}}).to_string(),
    };
    let refused = handler.handle(&system_caller("test"), &[event]).await;
    assert!(
        matches!(refused, Err(HandlerError::Failed(_))),
        "{refused:?}"
    );
}

/// Events that were set aside and are replayed after later ones.
#[tokio::test]
async fn an_event_that_is_replayed_late_does_not_bring_back_what_it_told() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    let revoked = attached("0a", CertificateStatus::Revoked);
    let active = attached("0a", CertificateStatus::Active);
    let (_, handler) = fixture.local.certificate_subscription();
    // A release, then the revocation for good; a hold, then its release.
    for (outdated, latest, status) in [
        (&active, &revoked, "REVOKED"),
        (&revoked, &active, "ACTIVE"),
    ] {
        let from = fixture.newest().await;
        fixture
            .told_of(&[(STATUS_UPDATE, outdated), (STATUS_UPDATE, latest)])
            .await;
        assert_eq!(fixture.statuses("dev-1").await, (status, status));
        let letter = LoggedEvent {
            seq: Seq(from + 1),
            event_type: STATUS_UPDATE.to_owned(),
            subject: None,
            body: json!({"data": {"previous": outdated, "updated": outdated}}).to_string(),
        };
        let replayed = handler
            .replay(&system_caller("test"), &letter)
            .await
            .unwrap();
        fixture.db.commit(replayed).await.unwrap();
        assert_eq!(fixture.statuses("dev-1").await, (status, status));
    }
}

impl Fixture {
    /// The place of the newest event.
    async fn newest(&self) -> i64 {
        let rows = self
            .db
            .rows(sql("SELECT MAX(seq) AS seq FROM event_log", vec![]))
            .await
            .unwrap();
        rows[0].get("seq").unwrap()
    }
}
