//! Renewals.

use lamassu_core::ca::CertificateStatus;
use lamassu_core::pem::CertificateDer;
use lamassu_core::usage::RevocationReason;
use lamassu_x509::SubjectFields;
use serde_json::{Value, json};
use time::Duration;
use tokio::task::JoinSet;

use crate::device::{Answer, Device, serial_of};
use crate::support::{LIFETIME, World, dms};

/// A device that has enrolled without credential; it renews with its certificate.
struct Enrolled {
    world: World,
    device: Device,
    certificate: CertificateDer,
}

impl Enrolled {
    /// With these settings of re-enrollment; the window of the default ones opens after a day.
    async fn new(reenrollment: &Value) -> Self {
        let world = World::new().await;
        world.root("boot").await;
        world.root("fleet").await;
        let enrollment = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
        let mut own = json!({"est_rfc7030_settings": {"auth_mode": "CLIENT_CERTIFICATE"}});
        for (name, value) in reenrollment.as_object().unwrap() {
            own[name] = value.clone();
        }
        world.created(dms("dms", &enrollment, &own)).await;
        let device = Device::new("d");
        let certificate = world
            .est("simpleenroll", "dms", &device.csr(), None)
            .await
            .certificate();
        Self {
            world,
            device,
            certificate,
        }
    }

    async fn in_window(reenrollment: &Value) -> Self {
        let enrolled = Self::new(reenrollment).await;
        enrolled.world.clock.advance(Duration::days(2));
        enrolled
    }

    async fn renew_with(&self, certificate: &CertificateDer) -> Answer {
        self.world
            .est(
                "simplereenroll",
                "dms",
                &self.device.csr(),
                Some(&[certificate]),
            )
            .await
    }

    async fn renew(&self) -> Answer {
        self.renew_with(&self.certificate).await
    }
}

fn refusal(status: u16, text: &str, code: &str) -> (u16, String, String) {
    (status, text.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_renewal_takes_the_place_of_the_certificate_and_revokes_it() {
    let enrolled = Enrolled::in_window(&json!({})).await;
    let old = serial_of(&enrolled.certificate);
    let new = serial_of(&enrolled.renew().await.certificate());
    let superseded = enrolled.world.certificate(&old).await;
    assert_eq!(superseded.status, CertificateStatus::Revoked);
    assert_eq!(superseded.revocation_reason, RevocationReason::Superseded);
    assert_eq!(
        superseded
            .metadata
            .unwrap()
            .get("lamassu.io/ra/attached-to"),
        None
    );
    let slot = enrolled.world.registered("d").await.identity.unwrap();
    assert_eq!((slot.active_version, slot.active_serial()), (1, Some(&new)));
    assert!(
        slot.events
            .values()
            .any(|event| event.event_type == "RENEWED")
    );
    let types = enrolled.world.event_types().await;
    let place = |name: &str| types.iter().rposition(|told| told == name);
    assert!(
        place("dms.bind-device-id") < place("dms.reenroll"),
        "{types:?}"
    );
    assert!(
        place("certificate.metadata.update") < place("certificate.status.update"),
        "{types:?}"
    );
    let told = enrolled.world.event("dms.reenroll").await;
    assert_eq!(
        (told["authtype"].as_str(), told["authid"].as_str()),
        (Some("crt"), Some("d"))
    );
}

#[tokio::test]
async fn a_dms_may_leave_the_superseded_certificate_alone() {
    let enrolled = Enrolled::in_window(&json!({"revoke_on_reenrollment": false})).await;
    enrolled.renew().await.certificate();
    let superseded = enrolled
        .world
        .certificate(&serial_of(&enrolled.certificate))
        .await;
    assert_eq!(superseded.status, CertificateStatus::Active);
    // A former certificate that is still valid renews, as a new renewal by another request.
    let other_key = Device::new("d");
    let again = enrolled
        .world
        .est(
            "simplereenroll",
            "dms",
            &other_key.csr(),
            Some(&[&enrolled.certificate]),
        )
        .await;
    let window_closed = refusal(403, "invalid reenroll window", "");
    assert_eq!(again.refusal(), window_closed);
    enrolled.world.clock.advance(Duration::days(2));
    let again = enrolled
        .world
        .est(
            "simplereenroll",
            "dms",
            &other_key.csr(),
            Some(&[&enrolled.certificate]),
        )
        .await;
    again.certificate();
}

#[tokio::test]
async fn a_closed_window_says_when_it_opens() {
    let enrolled = Enrolled::new(&json!({})).await;
    let closed = enrolled.renew().await;
    assert_eq!(
        closed.refusal(),
        refusal(403, "invalid reenroll window", "")
    );
    assert_eq!(closed.header("retry-after"), "86400");
    enrolled.world.clock.advance(Duration::days(1));
    enrolled.renew().await.certificate();
}

#[tokio::test]
async fn a_lost_answer_is_given_again_for_a_while() {
    let enrolled = Enrolled::in_window(&json!({})).await;
    let csr = enrolled.device.csr();
    let renew = async |csr: &[u8]| {
        enrolled
            .world
            .est("simplereenroll", "dms", csr, Some(&[&enrolled.certificate]))
            .await
    };
    let first = renew(&csr).await.certificate();
    let repeated = renew(&csr).await.certificate();
    assert_eq!(first, repeated);
    // Another request with the superseded certificate is none.
    assert_eq!(
        renew(&enrolled.device.csr()).await.refusal().1,
        "certificate is revoked"
    );
    enrolled.world.clock.advance(Duration::minutes(11));
    assert_eq!(
        renew(&csr).await.refusal(),
        refusal(403, "certificate is revoked", "client_certificate_revoked")
    );
    assert_eq!(enrolled.world.issued_for("d").await.len(), 2);
}

#[tokio::test]
async fn the_request_of_the_enrollment_renews_anew() {
    let enrolled = Enrolled::new(&json!({"reenrollment_delta": "40d"})).await;
    let csr = enrolled.device.csr();
    let first = enrolled
        .world
        .est(
            "simplereenroll",
            "dms",
            &csr,
            Some(&[&enrolled.certificate]),
        )
        .await
        .certificate();
    let second = enrolled
        .world
        .est("simplereenroll", "dms", &csr, Some(&[&first]))
        .await
        .certificate();
    assert_ne!(first, second);
    assert_eq!(enrolled.world.issued_for("d").await.len(), 3);
}

#[tokio::test]
async fn a_revoked_answer_is_not_given_again() {
    let enrolled = Enrolled::in_window(&json!({})).await;
    let csr = enrolled.device.csr();
    let first = enrolled
        .world
        .est(
            "simplereenroll",
            "dms",
            &csr,
            Some(&[&enrolled.certificate]),
        )
        .await
        .certificate();
    enrolled.world.revoke(&serial_of(&first)).await;
    let again = enrolled
        .world
        .est(
            "simplereenroll",
            "dms",
            &csr,
            Some(&[&enrolled.certificate]),
        )
        .await;
    assert_eq!(again.refusal().1, "certificate is revoked");
}

#[tokio::test]
async fn credentials_are_refused_in_this_order() {
    let enrolled = Enrolled::in_window(&json!({})).await;
    let world = &enrolled.world;
    let missing = world
        .est("simplereenroll", "dms", &enrolled.device.csr(), None)
        .await;
    assert_eq!(
        missing.refusal(),
        refusal(
            401,
            "DMS auth mode not supported",
            "client_certificate_missing"
        )
    );
    let other_name = world.issue("fleet", &Device::new("bootstrap")).await;
    let mismatch = refusal(
        403,
        "invalid certificate",
        "client_certificate_name_mismatch",
    );
    assert_eq!(enrolled.renew_with(&other_name).await.refusal(), mismatch);
    let other_ca = world.issue("boot", &enrolled.device).await;
    let untrusted = refusal(403, "invalid certificate", "client_certificate_untrusted");
    assert_eq!(enrolled.renew_with(&other_ca).await.refusal(), untrusted);
    // Of the right name and CA, but never this device's identity.
    let never_bound = world.issue("fleet", &Device::new("d")).await;
    let not_of_device = refusal(
        403,
        "invalid certificate",
        "client_certificate_not_of_device",
    );
    assert_eq!(
        enrolled.renew_with(&never_bound).await.refusal(),
        not_of_device
    );
    world.revoke(&serial_of(&enrolled.certificate)).await;
    let revoked = refusal(403, "certificate is revoked", "client_certificate_revoked");
    assert_eq!(enrolled.renew().await.refusal(), revoked);
    world.clock.advance(LIFETIME);
    let expired = refusal(403, "expired certificate", "client_certificate_expired");
    assert_eq!(enrolled.renew().await.refusal(), expired);
}

#[tokio::test]
async fn an_expired_certificate_renews_where_the_dms_allows_it() {
    let enrolled = Enrolled::new(&json!({"enable_expired_renewal": true})).await;
    enrolled.world.clock.advance(LIFETIME + Duration::days(100));
    enrolled.renew().await.certificate();
}

#[tokio::test]
async fn subject_possession_and_status_are_checked_before_the_window() {
    let enrolled = Enrolled::new(&json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}})).await;
    let world = &enrolled.world;
    let renew = async |csr: Vec<u8>| {
        world
            .est("simplereenroll", "dms", &csr, None)
            .await
            .refusal()
    };
    let other_subject = SubjectFields {
        organization: "o".to_owned(),
        ..SubjectFields::with_common_name("d")
    };
    let changed = enrolled.device.csr_of(&other_subject);
    assert_eq!(
        renew(changed).await,
        refusal(403, "invalid RawSubject bytes", "")
    );
    assert_eq!(
        renew(enrolled.device.broken_csr()).await,
        refusal(400, "invalid CSR signature", "")
    );
    assert_eq!(
        renew(enrolled.device.csr()).await,
        refusal(403, "invalid reenroll window", "")
    );
    world.revoke(&serial_of(&enrolled.certificate)).await;
    assert_eq!(
        renew(enrolled.device.csr()).await,
        refusal(403, "revoked certificate", "")
    );
}

#[tokio::test]
async fn devices_that_cannot_renew_are_told_why() {
    let enrolled = Enrolled::new(&json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}})).await;
    let world = &enrolled.world;
    let renew = async |label: &str, name: &str| {
        world
            .est("simplereenroll", label, &Device::new(name).csr(), None)
            .await
            .refusal()
    };
    assert_eq!(
        renew("dms", "nobody").await,
        refusal(404, "device not found", "")
    );
    let registered = lamassu_core::device::CreateDevice {
        id: "fresh".into(),
        dms_id: "dms".into(),
        ..Default::default()
    };
    world
        .devices
        .create_device(&crate::support::caller(), registered)
        .await
        .unwrap();
    assert_eq!(
        renew("dms", "fresh").await,
        refusal(403, "could not get device certificate", "")
    );
    let nothing = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    world.created(dms("second", &nothing, &json!({}))).await;
    assert_eq!(
        renew("second", "d").await,
        refusal(403, "device already registered to another DMS", "")
    );
    assert_eq!(
        renew("nowhere", "d").await,
        refusal(404, "DMS not found", "dms_not_found")
    );
}

#[tokio::test]
async fn devices_follow_their_dms_to_a_new_ca() {
    let enrolled = Enrolled::in_window(&json!({})).await;
    let world = &enrolled.world;
    world.root("fleet-2").await;
    let (_, mut body) = world.call("GET", "/v1/dms/dms", Value::Null).await;
    body["settings"]["enrollment_settings"]["enrollment_ca"] = json!("fleet-2");
    body["settings"]["reenrollment_settings"]["additional_validation_cas"] = json!(["fleet"]);
    assert_eq!(world.call("PUT", "/v1/dms/dms", body).await.0.as_u16(), 200);
    let renewed = enrolled.renew().await.certificate();
    let parsed = lamassu_x509::Certificate::from_der(renewed.der().clone()).unwrap();
    assert_eq!(parsed.issuer().common_name().as_deref(), Some("fleet-2"));
    assert_eq!(
        world
            .certificate(&serial_of(&enrolled.certificate))
            .await
            .status,
        CertificateStatus::Revoked
    );
}

#[tokio::test]
async fn of_parallel_renewals_one_certificate_stays_valid() {
    let enrolled = std::sync::Arc::new(Enrolled::in_window(&json!({})).await);
    let calls = (0..8).map(|_| {
        let enrolled = std::sync::Arc::clone(&enrolled);
        async move { enrolled.renew().await.status.as_u16() }
    });
    let mut renewed = 0;
    for call in calls.collect::<JoinSet<_>>().join_all().await {
        match call {
            200 => renewed += 1,
            other => assert!(matches!(other, 403 | 503), "{other}"),
        }
    }
    assert_eq!(renewed, 1);
    let all = enrolled.world.issued_for("d").await;
    assert_eq!(
        all.iter()
            .filter(|c| c.status == CertificateStatus::Active)
            .count(),
        1
    );
}

/// Its certificates prove who renews under another CA.
#[tokio::test]
async fn devices_of_a_ca_that_has_ended_move_to_another() {
    let enrolled = Enrolled::new(&json!({})).await;
    let world = &enrolled.world;
    world.clock.advance(Duration::days(11 * 365));
    world.root("fleet-2").await;
    let enrollment = json!({
        "est_rfc7030_settings": {"auth_mode": "NO_AUTH"},
        "enrollment_ca": "fleet-2",
    });
    let reenrollment = json!({
        "est_rfc7030_settings": {"auth_mode": "CLIENT_CERTIFICATE"},
        "additional_validation_cas": ["fleet"],
        "enable_expired_renewal": true,
    });
    let body = dms("dms", &enrollment, &reenrollment);
    let (status, updated) = world.call("PUT", "/v1/dms/dms", body).await;
    assert_eq!(status, 200, "{updated}");
    let renewed = serial_of(&enrolled.renew().await.certificate());
    let issuer = world.certificate(&renewed).await.issuer_metadata.id;
    assert_eq!(issuer.as_str(), "fleet-2");
}
