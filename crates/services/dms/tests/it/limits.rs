//! Which devices a DMS takes, how many, how fast, and what a renewal must keep.

use lamassu_core::pem::CertificateDer;
use lamassu_dms::EstConfig;
use lamassu_x509::SubjectFields;
use serde_json::{Value, json};
use time::Duration;

use crate::device::{Answer, Device};
use crate::support::{World, dms};

async fn world(config: EstConfig, enrollment: &Value, reenrollment: &Value) -> World {
    let world = World::with(config, |devices| devices).await;
    world.root("boot").await;
    world.root("fleet").await;
    let mut all = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    for (name, value) in enrollment.as_object().unwrap() {
        all[name] = value.clone();
    }
    world.created(dms("dms", &all, reenrollment)).await;
    world
}

async fn enroll(world: &World, name: &str) -> Answer {
    world
        .est("simpleenroll", "dms", &Device::new(name).csr(), None)
        .await
}

fn refusal(status: u16, text: &str, code: &str) -> (u16, String, String) {
    (status, text.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_dms_takes_no_more_devices_than_it_may_have() {
    let enrollment = json!({"max_devices": 2, "enable_replaceable_enrollment": true});
    let world = world(EstConfig::default(), &enrollment, &json!({})).await;
    for name in ["a", "b", "a"] {
        assert_eq!(enroll(&world, name).await.certificates().len(), 1);
    }
    let text = "the DMS has as many devices as it may have: delete some, or raise max_devices";
    assert_eq!(
        enroll(&world, "c").await.refusal(),
        refusal(403, text, "device_quota_reached")
    );
    // Devices of other DMSs are no matter of this one.
    let open = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}, "max_devices": 1});
    world.created(dms("other", &open, &json!({}))).await;
    let other = world
        .est("simpleenroll", "other", &Device::new("c").csr(), None)
        .await;
    assert_eq!(other.certificates().len(), 1);
}

#[tokio::test]
async fn only_devices_that_are_listed_enroll() {
    let enrollment = json!({"allowed_device_ids": ["s-1", "x"], "device_id_pattern": "s-[0-9]+"});
    let world = world(EstConfig::default(), &enrollment, &json!({})).await;
    let text = "device is not one that the DMS may enroll: its id must be in allowed_device_ids and match device_id_pattern";
    for name in ["x", "s-2", "s-1x"] {
        assert_eq!(
            enroll(&world, name).await.refusal(),
            refusal(403, text, "device_not_allowed")
        );
    }
    assert_eq!(enroll(&world, "s-1").await.certificates().len(), 1);
}

#[tokio::test]
async fn a_dms_answers_so_many_requests_at_once() {
    let config = EstConfig {
        dms_rate_limit: 1,
        ..EstConfig::default()
    };
    let enrollment = json!({"enable_replaceable_enrollment": true});
    let world = world(config, &enrollment, &json!({})).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(enroll(&world, "d").await);
    }
    let limited = answers.iter().find(|answer| answer.status.as_u16() == 429);
    let limited = limited.expect("twenty are more than five and one per second");
    assert_eq!(
        limited.refusal(),
        refusal(429, "too many requests to this DMS", "dms_rate_limited")
    );
    assert_eq!(limited.header("retry-after"), "1");
    assert_eq!(answers[0].status.as_u16(), 200);
}

#[tokio::test]
async fn strangers_do_not_use_up_what_a_dms_has_for_its_devices() {
    let config = EstConfig {
        dms_rate_limit: 1,
        ..EstConfig::default()
    };
    let certificate = json!({"est_rfc7030_settings": {"auth_mode": "CLIENT_CERTIFICATE",
        "client_certificate_settings": {"validation_cas": ["boot"]}}});
    let world = world(config, &certificate, &json!({})).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let device = Device::new("d");
    let ask = async |operation: &str, by: Option<&CertificateDer>| {
        let chain = by.map(|by| [by]);
        let chain = chain.as_ref().map(|chain| &chain[..]);
        let answer = world.est(operation, "dms", &device.csr(), chain).await;
        answer.status.as_u16()
    };
    let flood = async || {
        for operation in ["simpleenroll", "simplereenroll"] {
            for _ in 0..10 {
                assert_ne!(ask(operation, None).await, 429, "{operation}");
            }
        }
    };
    flood().await;
    assert_eq!(ask("simpleenroll", Some(&bootstrap)).await, 200);
    let own = world.issued_for("d").await.remove(0).certificate;
    world.clock.advance(Duration::days(2));
    flood().await;
    assert_eq!(ask("simplereenroll", Some(&own)).await, 200);
}

#[tokio::test]
async fn the_key_of_a_renewal_is_as_the_dms_says() {
    for (rule, same_key, other_key) in [
        ("allowed", None, None),
        (
            "forbidden",
            Some((
                "the key must not be that of the certificate to renew",
                "renewal_same_key",
            )),
            None,
        ),
        (
            "required",
            None,
            Some((
                "the key must be that of the certificate to renew",
                "renewal_other_key",
            )),
        ),
    ] {
        let world = world(
            EstConfig::default(),
            &json!({}),
            &json!({"key_reuse": rule}),
        )
        .await;
        let device = Device::new("d");
        let enrolled = world.est("simpleenroll", "dms", &device.csr(), None).await;
        assert_eq!(enrolled.certificates().len(), 1);
        for (device, expected) in [(&device, same_key), (&Device::new("d"), other_key)] {
            world.clock.advance(Duration::days(2));
            let answer = world
                .est("simplereenroll", "dms", &device.csr(), None)
                .await;
            match expected {
                None => assert_eq!(answer.certificates().len(), 1, "{rule}"),
                Some((text, code)) => assert_eq!(answer.refusal(), refusal(403, text, code)),
            }
        }
    }
}

#[tokio::test]
async fn a_strict_renewal_keeps_the_whole_subject_and_the_alternative_names() {
    let strict = json!({"strict_identity": true});
    let world = world(EstConfig::default(), &json!({}), &strict).await;
    let mut settings = dms(
        "dms",
        &json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}}),
        &strict,
    );
    settings["settings"]["issuance_profile"] = json!({
        "validity": {"type": "Duration", "duration": "30d"},
        "honor_subject": true, "honor_extensions": true,
    });
    let (status, answer) = world.call("PUT", "/v1/dms/dms", settings).await;
    assert_eq!(status.as_u16(), 200, "{answer}");
    let device = Device::new("d");
    let subject = SubjectFields::with_common_name("d");
    let named = |names: &[&str]| device.csr_with_names(&subject, names);
    let enrolled = world
        .est(
            "simpleenroll",
            "dms",
            &named(&["a.example", "b.example"]),
            None,
        )
        .await;
    assert_eq!(enrolled.certificates().len(), 1);
    world.clock.advance(Duration::days(2));
    let text = "subject alternative names differ from those of the certificate to renew";
    for names in [
        &[][..],
        &["a.example"],
        &["a.example", "b.example", "c.example"],
    ] {
        let answer = world
            .est("simplereenroll", "dms", &named(names), None)
            .await;
        assert_eq!(
            answer.refusal(),
            refusal(403, text, "renewal_other_names"),
            "{names:?}"
        );
    }
    let other = SubjectFields {
        organization: "o".to_owned(),
        ..subject.clone()
    };
    let csr = device.csr_with_names(&other, &["a.example", "b.example"]);
    let answer = world.est("simplereenroll", "dms", &csr, None).await;
    assert_eq!(answer.refusal().1, "invalid RawSubject bytes");
    let csr = named(&["B.example", "a.example"]);
    let renewed = world.est("simplereenroll", "dms", &csr, None).await;
    assert_eq!(renewed.certificates().len(), 1);
}
