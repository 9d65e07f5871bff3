//! First certificates, and replacements.

use lamassu_core::ca::CertificateStatus;
use lamassu_core::device::{CreateDevice, DeviceStatus};
use lamassu_core::ids::{DeviceId, DmsId, KeyRef};
use lamassu_core::kms::KeyStatus;
use lamassu_core::usage::RevocationReason;
use lamassu_dms::{EkuMode, EstConfig};
use lamassu_x509::Certificate;
use serde_json::{Value, json};
use time::Duration;
use tokio::task::JoinSet;

use crate::device::{Device, serial_of};
use crate::support::{LIFETIME, World, caller, dms};

/// CAs `boot` and `fleet`, and DMS `dms` with these settings.
async fn world(enrollment: &Value) -> World {
    world_with(EstConfig::default(), enrollment).await
}

async fn world_with(config: EstConfig, enrollment: &Value) -> World {
    let world = World::with(config, |devices| devices).await;
    world.root("boot").await;
    world.root("fleet").await;
    world.created(dms("dms", enrollment, &json!({}))).await;
    world
}

async fn registered(world: &World, id: &str, owner: &str) {
    let request = CreateDevice {
        id: DeviceId::from(id),
        dms_id: DmsId::from(owner),
        ..CreateDevice::default()
    };
    world
        .devices
        .create_device(&caller(), request)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_unknown_device_is_registered_and_gets_its_identity() {
    let provisioning = json!({"device_provisioning_profile": {"icon": "Router", "tags": ["iot"], "metadata": {"a": 1}}});
    let world = world(&provisioning).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let device = Device::new("device-1");
    let answer = world
        .est("simpleenroll", "dms", &device.csr(), Some(&[&bootstrap]))
        .await;
    let issued = answer.certificate();
    let serial = serial_of(&issued);
    let parsed = Certificate::from_der(issued.der().clone()).unwrap();
    assert_eq!(parsed.subject().common_name().as_deref(), Some("device-1"));
    assert_eq!(parsed.issuer().common_name().as_deref(), Some("fleet"));

    let known = world.registered("device-1").await;
    assert_eq!(
        (known.status, known.dms_owner.as_str()),
        (DeviceStatus::Active, "dms")
    );
    assert_eq!(
        (known.icon.as_str(), &known.tags),
        ("Router", &vec!["iot".to_owned()])
    );
    assert_eq!(known.metadata.get("a"), Some(&json!(1)));
    let slot = known.identity.unwrap();
    assert_eq!(slot.active_serial(), Some(&serial));
    let stored = world.certificate(&serial).await;
    assert_eq!(slot.expiration_date, Some(stored.valid_to));
    let metadata = stored.metadata.unwrap();
    let attached = json!({"authorized_by": {"ra_id": "dms"}, "device_id": "device-1"});
    assert_eq!(metadata.get("lamassu.io/ra/attached-to"), Some(&attached));
}

#[tokio::test]
async fn an_enrollment_is_told_in_order_and_in_the_name_of_the_certificate() {
    let world = world(&json!({})).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let before = world.event_types().await.len();
    let issued = world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("d").csr(),
            Some(&[&bootstrap]),
        )
        .await
        .certificate();
    let types = world.event_types().await;
    let after = types.get(before..).unwrap();
    let place = |name: &str| after.iter().position(|told| told == name);
    assert_eq!(place("ca.sign.certificate"), Some(0), "{after:?}");
    assert!(
        place("device.create") < place("dms.bind-device-id"),
        "{after:?}"
    );
    assert!(
        place("dms.bind-device-id") < place("dms.enroll"),
        "{after:?}"
    );
    let bound = world.event("dms.bind-device-id").await;
    assert_eq!(bound["source"], "source://lamassu.io/ctx/source/service/ra");
    assert_eq!(
        (bound["authtype"].as_str(), bound["authid"].as_str()),
        (Some("crt"), Some("bootstrap"))
    );
    let enrolled = world.event("dms.enroll").await;
    assert_eq!(
        enrolled["data"],
        json!({"certificate": issued.to_wire(), "aps": "dms"})
    );
}

#[tokio::test]
async fn credentials_are_refused_with_text_and_code() {
    let world = world(&json!({})).await;
    let bootstrap_device = Device::new("bootstrap");
    let bootstrap = world.issue("boot", &bootstrap_device).await;
    let stranger = world.issue("fleet", &bootstrap_device).await;
    let csr = Device::new("d").csr();

    let missing = world.est("simpleenroll", "dms", &csr, None).await;
    assert_eq!(
        missing.header("www-authenticate"),
        "ClientCertificate realm=\"est\""
    );
    let expected = (
        401,
        "DMS auth mode not supported".to_owned(),
        "client_certificate_missing".to_owned(),
    );
    assert_eq!(missing.refusal(), expected);
    let refused = async |certificate, text: &str, code: &str| {
        let answer = world
            .est("simpleenroll", "dms", &csr, Some(&[certificate]))
            .await;
        assert_eq!(answer.refusal(), (403, text.to_owned(), code.to_owned()));
    };
    refused(
        &stranger,
        "invalid certificate",
        "client_certificate_untrusted",
    )
    .await;
    world.revoke(&serial_of(&bootstrap)).await;
    refused(
        &bootstrap,
        "certificate is revoked",
        "client_certificate_revoked",
    )
    .await;
    world.clock.advance(LIFETIME + Duration::seconds(1));
    refused(
        &bootstrap,
        "invalid certificate",
        "client_certificate_expired",
    )
    .await;
    world.clock.advance(-LIFETIME - Duration::days(1));
    refused(
        &bootstrap,
        "invalid certificate",
        "client_certificate_not_yet_valid",
    )
    .await;
    assert!(world.issued_for("d").await.is_empty());
    let recorded = world.refusals().await;
    let texts = [
        "DMS auth mode not supported",
        "invalid certificate",
        "certificate is revoked",
        "invalid certificate",
        "invalid certificate",
    ];
    assert_eq!(
        recorded,
        texts.map(|text| (
            "dms.enroll".to_owned(),
            "dms/dms".to_owned(),
            text.to_owned()
        ))
    );
}

#[tokio::test]
async fn certificates_of_each_of_several_validation_cas_enroll() {
    let world = World::new().await;
    for id in ["fleet", "boot", "line", "other"] {
        world.root(id).await;
    }
    world.certificate_authority("shift", Some("line")).await;
    let cas = json!({"validation_cas": ["gone", "boot", "line"]});
    let auth = json!({"est_rfc7030_settings": {"client_certificate_settings": cas}});
    world.created(dms("dms", &auth, &json!({}))).await;
    let enroll = async |name: &str, ca: &str| {
        let bootstrap = world.issue(ca, &Device::new("bootstrap")).await;
        let csr = Device::new(name).csr();
        let chain = [&bootstrap];
        world.est("simpleenroll", "dms", &csr, Some(&chain)).await
    };
    for (name, ca) in [("a", "boot"), ("b", "line")] {
        enroll(name, ca).await.certificate();
        let event = world.event("dms.enroll").await;
        assert_eq!(event["authid"], "bootstrap");
    }
    for (name, ca) in [("c", "other"), ("d", "fleet")] {
        let refused = enroll(name, ca).await.refusal();
        assert_eq!(refused.2, "client_certificate_untrusted", "{ca}");
    }
    // Below one of them, with what is in between.
    let bootstrap = world.issue("shift", &Device::new("bootstrap")).await;
    let shift = world.ca.ca(&caller(), &"shift".into()).await.unwrap();
    let chain = [&bootstrap, &shift.certificate.certificate];
    let csr = Device::new("e").csr();
    let answer = world.est("simpleenroll", "dms", &csr, Some(&chain)).await;
    answer.certificate();
    // A revoked one is none any more; the others stay.
    let line = world.ca.ca(&caller(), &"line".into()).await.unwrap();
    world.revoke(&line.certificate.serial_number).await;
    world.heard_everything().await;
    assert_eq!(enroll("f", "boot").await.status, 200);
    let csr = Device::new("g").csr();
    let answer = world.est("simpleenroll", "dms", &csr, Some(&chain)).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_changed_dms_counts_at_the_next_enrollment() {
    let world = world(&json!({})).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let enroll = async |name: &str| {
        let csr = Device::new(name).csr();
        let answer = world
            .est("simpleenroll", "dms", &csr, Some(&[&bootstrap]))
            .await;
        answer.status.as_u16()
    };
    assert_eq!(enroll("before").await, 200);
    let closed = dms(
        "dms",
        &json!({"registration_mode": "PRE_REGISTRATION"}),
        &json!({}),
    );
    let (status, reply) = world.call("PUT", "/v1/dms/dms", closed).await;
    assert_eq!(status.as_u16(), 200, "{reply}");
    assert_eq!(enroll("after").await, 403);
}

#[tokio::test]
async fn an_expired_certificate_enrolls_where_the_dms_allows_it_unless_revoked() {
    let expired =
        json!({"est_rfc7030_settings": {"client_certificate_settings": {"allow_expired": true}}});
    let world = world(&expired).await;
    let (good, bad) = (
        world.issue("boot", &Device::new("b")).await,
        world.issue("boot", &Device::new("b")).await,
    );
    world.revoke(&serial_of(&bad)).await;
    world.clock.advance(LIFETIME + Duration::days(1));
    world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("d").csr(),
            Some(&[&good]),
        )
        .await
        .certificate();
    let refused = world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("e").csr(),
            Some(&[&bad]),
        )
        .await;
    assert_eq!(refused.refusal().1, "certificate is revoked");
}

#[tokio::test]
async fn a_dms_without_usable_authentication_refuses() {
    let unusable = (
        500,
        "DMS auth mode not supported".to_owned(),
        "dms_misconfigured".to_owned(),
    );
    for mode in ["", "SOMETHING"] {
        let world = world(&json!({"est_rfc7030_settings": {"auth_mode": mode}})).await;
        let answer = world
            .est("simpleenroll", "dms", &Device::new("d").csr(), None)
            .await;
        assert_eq!(answer.refusal(), unusable, "{mode}");
    }
    let other_protocol = world(&json!({"protocol": "CMP_RFC4210"})).await;
    let answer = other_protocol
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    assert_eq!(
        answer.refusal(),
        (
            500,
            "DMS uses EST protocol".to_owned(),
            "dms_misconfigured".to_owned()
        )
    );
    let nothing = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    let production = world_with(EstConfig::production(), &nothing).await;
    let answer = production
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    let text = "enrollment without authentication is not allowed on this installation";
    assert_eq!(
        (answer.refusal().0, answer.refusal().1.as_str()),
        (403, text)
    );
}

#[tokio::test]
async fn the_chain_is_cut_to_the_levels_of_the_dms() {
    let levels = |n: i32| json!({"est_rfc7030_settings": {"client_certificate_settings": {"chain_level_validation": n}}});
    let chain_passes = async |n: i32, with_intermediate: bool| {
        let world = world(&levels(n)).await;
        world.certificate_authority("sub", Some("boot")).await;
        let certificate = world.issue("sub", &Device::new("bootstrap")).await;
        let sub = world
            .ca
            .ca(&caller(), &"sub".into())
            .await
            .unwrap()
            .certificate
            .certificate;
        let chain: &[_] = if with_intermediate {
            &[&certificate, &sub]
        } else {
            &[&certificate]
        };
        world
            .est("simpleenroll", "dms", &Device::new("d").csr(), Some(chain))
            .await
            .status
            .is_success()
    };
    assert!(chain_passes(0, true).await);
    assert!(chain_passes(-1, true).await);
    assert!(chain_passes(2, true).await);
    assert!(!chain_passes(1, true).await);
    assert!(!chain_passes(0, false).await);
}

#[tokio::test]
async fn a_revoked_certificate_under_an_intermediate_is_found() {
    let world = world(&json!({})).await;
    world.certificate_authority("sub", Some("boot")).await;
    let certificate = world.issue("sub", &Device::new("bootstrap")).await;
    let sub = world
        .ca
        .ca(&caller(), &"sub".into())
        .await
        .unwrap()
        .certificate
        .certificate;
    world.revoke(&serial_of(&certificate)).await;
    let answer = world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("d").csr(),
            Some(&[&certificate, &sub]),
        )
        .await;
    assert_eq!(answer.refusal().1, "certificate is revoked");
}

#[tokio::test]
async fn possession_is_checked_where_the_dms_says_so() {
    let nothing = |verify: bool| json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}, "verify_csr_signature": verify});
    let strict = world(&nothing(true)).await;
    let answer = strict
        .est("simpleenroll", "dms", &Device::new("d").broken_csr(), None)
        .await;
    assert_eq!(
        answer.refusal(),
        (400, "invalid CSR signature".to_owned(), String::new())
    );
    let lenient = world(&nothing(false)).await;
    lenient
        .est("simpleenroll", "dms", &Device::new("d").broken_csr(), None)
        .await
        .certificate();
}

#[tokio::test]
async fn who_may_register_depends_on_mode_owner_and_identity() {
    let nothing = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}, "registration_mode": "PRE_REGISTRATION"});
    let world = world(&nothing).await;
    let enroll =
        async |device: &Device| world.est("simpleenroll", "dms", &device.csr(), None).await;
    let (unknown, known, foreign) = (
        Device::new("unknown"),
        Device::new("known"),
        Device::new("foreign"),
    );
    registered(&world, "known", "dms").await;
    registered(&world, "foreign", "another").await;
    let refusal = |text: &str| (403, text.to_owned(), String::new());
    assert_eq!(
        enroll(&unknown).await.refusal(),
        refusal("device not preregistered")
    );
    assert_eq!(
        enroll(&foreign).await.refusal(),
        refusal("device already registered to another DMS")
    );
    // A first identity needs no permission to replace one.
    enroll(&known).await.certificate();
    assert_eq!(
        enroll(&known).await.refusal(),
        refusal("forbiddenNewEnrollment")
    );
    assert_eq!(world.issued_for("known").await.len(), 1);
}

#[tokio::test]
async fn a_replacement_revokes_what_it_replaces() {
    let replaceable = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}, "enable_replaceable_enrollment": true});
    let world = world(&replaceable).await;
    let device = Device::new("d");
    let first = serial_of(
        &world
            .est("simpleenroll", "dms", &device.csr(), None)
            .await
            .certificate(),
    );
    let second = serial_of(
        &world
            .est("simpleenroll", "dms", &device.csr(), None)
            .await
            .certificate(),
    );
    let replaced = world.certificate(&first).await;
    assert_eq!(replaced.status, CertificateStatus::Revoked);
    assert_eq!(replaced.revocation_reason, RevocationReason::Superseded);
    assert!(
        replaced
            .metadata
            .unwrap()
            .contains_key("lamassu.io/ra/attached-to")
    );
    let known = world.registered("d").await;
    let slot = known.identity.unwrap();
    assert_eq!(
        (slot.active_version, slot.active_serial()),
        (1, Some(&second))
    );
    assert!(
        slot.events
            .values()
            .any(|event| event.event_type == "RE-PROVISIONED")
    );
}

#[tokio::test]
async fn of_parallel_first_enrollments_one_certificate_stays_valid() {
    let world = std::sync::Arc::new(
        world(&json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}})).await,
    );
    let csr = Device::new("d").csr();
    let calls = (0..10).map(|_| {
        let (world, csr) = (std::sync::Arc::clone(&world), csr.clone());
        async move { world.est("simpleenroll", "dms", &csr, None).await }
    });
    let mut issued = Vec::new();
    for call in calls.collect::<JoinSet<_>>().join_all().await {
        let answer = call;
        match answer.status.as_u16() {
            200 => issued.push(serial_of(&answer.certificate())),
            403 => assert_eq!(answer.refusal().1, "forbiddenNewEnrollment"),
            _ => assert_eq!(
                (answer.refusal().1.as_str(), answer.header("retry-after")),
                ("device identity changed meanwhile", "2")
            ),
        }
    }
    assert_eq!(issued.len(), 1);
    let valid: Vec<_> = world
        .issued_for("d")
        .await
        .into_iter()
        .filter(|c| c.status == CertificateStatus::Active)
        .collect();
    assert_eq!(valid.len(), 1);
    assert_eq!(valid.first().map(|c| &c.serial_number), issued.first());
}

#[tokio::test]
async fn usages_are_enforced_where_the_installation_says_so() {
    // The certificates of these tests have no usages at all, which allows every use.
    let config = EstConfig {
        eku_mode: EkuMode::Enforce,
        ..EstConfig::default()
    };
    let world = world_with(config, &json!({})).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("d").csr(),
            Some(&[&bootstrap]),
        )
        .await
        .certificate();
    let boot = world
        .ca
        .ca(&caller(), &"boot".into())
        .await
        .unwrap()
        .certificate
        .certificate;
    // A CA's certificate signs certificates and nothing else.
    let answer = world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("e").csr(),
            Some(&[&boot]),
        )
        .await;
    assert_eq!(answer.refusal().2, "client_certificate_usage");
}

#[tokio::test]
async fn a_ca_profile_is_refused_before_anything_is_issued() {
    let world = world(&json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}})).await;
    let profile = lamassu_core::ca::IssuanceProfile {
        validity: lamassu_core::ca::Validity::lasting(
            lamassu_core::duration::WireDuration::from_secs(60),
        ),
        ..Default::default()
    };
    let mut profile = world.ca.create_profile(&caller(), profile).await.unwrap();
    let mut body = dms(
        "dms",
        &json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}}),
        &json!({}),
    );
    body["settings"]["issuance_profile_id"] = json!(profile.id);
    assert_eq!(world.call("PUT", "/v1/dms/dms", body).await.0.as_u16(), 200);
    // Its ear is on before the change.
    world.heard_everything().await;
    profile.sign_as_ca = true;
    world.ca.update_profile(&caller(), profile).await.unwrap();
    world.heard_everything().await;
    let answer = world
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    let text = "issuance profile signs CA certificates and cannot be used for enrollment";
    assert_eq!(
        answer.refusal(),
        (500, text.to_owned(), "dms_misconfigured".to_owned())
    );
    assert!(world.issued_for("d").await.is_empty());
}

#[tokio::test]
async fn nobody_enrolls_under_a_revoked_validation_ca() {
    let world = world(&json!({})).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let boot = world.ca.ca(&caller(), &"boot".into()).await.unwrap();
    world.revoke(&boot.serial_number).await;
    let answer = world
        .est(
            "simpleenroll",
            "dms",
            &Device::new("d").csr(),
            Some(&[&bootstrap]),
        )
        .await;
    let untrusted = (
        403,
        "invalid certificate".to_owned(),
        "client_certificate_untrusted".to_owned(),
    );
    assert_eq!(answer.refusal(), untrusted);
}

#[tokio::test]
async fn a_dms_whose_ca_is_gone_or_does_not_sign_is_misconfigured() {
    let nothing = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    let world = world(&nothing).await;
    let fleet = world.ca.ca(&caller(), &"fleet".into()).await.unwrap();
    let misconfigured = |text: &str| (500, text.to_owned(), "dms_misconfigured".to_owned());
    let key = KeyRef::from(fleet.certificate.subject_key_id.as_str());
    let status = KeyStatus::Disabled;
    world.kms.set_status(&caller(), &key, status).await.unwrap();
    let answer = world
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    assert_eq!(answer.refusal(), misconfigured("key is disabled"));
    world.revoke(&fleet.serial_number).await;
    let answer = world
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    assert_eq!(answer.refusal(), misconfigured("CA Status inconsistent"));
    let mut body = dms("dms", &nothing, &json!({}));
    body["settings"]["enrollment_settings"]["enrollment_ca"] = json!("gone");
    assert_eq!(world.call("PUT", "/v1/dms/dms", body).await.0.as_u16(), 200);
    let answer = world
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    assert_eq!(answer.refusal(), misconfigured("CA not found"));
}

#[tokio::test]
async fn est_requests_are_counted_by_operation_and_result() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = world(&json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}})).await;
    let device = Device::new("d");
    world
        .est("simpleenroll", "dms", &device.csr(), None)
        .await
        .certificate();
    world.est("simpleenroll", "dms", &device.csr(), None).await;
    world
        .est("simplereenroll", "nowhere", &device.csr(), None)
        .await;
    let text = rendered.render();
    for line in [
        r#"lamassu_est_requests_total{operation="simpleenroll",result="ok"} 1"#,
        r#"lamassu_est_requests_total{operation="simpleenroll",result="forbidden"} 1"#,
        r#"lamassu_est_requests_total{operation="simplereenroll",result="dms_not_found"} 1"#,
        r#"lamassu_est_request_duration_seconds_count{operation="simpleenroll"} 2"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_name_that_is_no_device_id_is_refused_before_anything_is_issued() {
    let world = world(&json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}})).await;
    for name in ["bell\u{7}".to_owned(), "x".repeat(513)] {
        let answer = world
            .est("simpleenroll", "dms", &Device::new(&name).csr(), None)
            .await;
        assert_eq!(
            answer.refusal(),
            (400, "struct validation error".to_owned(), String::new())
        );
        assert!(world.issued_for(&name).await.is_empty());
    }
}
