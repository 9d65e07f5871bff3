//! What CRLs say, when they are made, and how they are fetched.

use http::{Method, Request};
use lamassu_core::monitoring_job::MonitoringJobConfig;
use lamassu_db::{WriteSet, params, sql};
use lamassu_va::{CrlConfig, VaConfig};
use lamassu_x509::crl::{CertificateList, CrlReason};
use lamassu_x509::{Certificate, Extension, oids};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::final_crls::made_elsewhere;
use crate::openssl::crl_text;
use crate::support::{World, get, send, whole_seconds};

#[tokio::test]
async fn each_change_makes_exactly_one_crl() {
    let world = World::running().await;
    let ca = world.root("111").await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await, (1, vec![]));
    let issued = world.issue(&ca, "device-1").await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await, (1, vec![]));
    world.revoke(&issued, "CertificateHold").await;
    world.settle().await;
    let serial = issued.serial().to_hex();
    assert_eq!(world.listed(&ca).await, (2, vec![serial]));
    // Neither the job nor a restart makes another one.
    for _ in 0..3 {
        world.clock.advance(Duration::seconds(1));
        world.reconcile().await;
        world.settle().await;
    }
    assert_eq!(world.listed(&ca).await.0, 2);
    world.set_status(&issued, "ACTIVE").await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await, (3, vec![]));
}

#[tokio::test]
async fn the_running_service_makes_crls_by_itself() {
    let world = World::new().await;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let (va, stop) = (world.va.clone(), shutdown.clone());
    let running = tokio::spawn(async move { va.run(&stop).await });
    let ca = world.root("111").await;
    let issued = world.issue(&ca, "device-1").await;
    world.catch_up().await;
    assert_eq!(world.listed(&ca).await, (1, vec![]));
    world.revoke(&issued, "KeyCompromise").await;
    let serial = issued.serial().to_hex();
    let deadline = std::time::Duration::from_secs(20);
    tokio::time::timeout(deadline, async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
        while world.listed(&ca).await != (2, vec![serial.clone()]) {
            tick.tick().await;
        }
    })
    .await
    .expect("CRL number 2 lists the certificate");
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_list_says_who_when_and_why() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let reasons = [
        ("Unspecified", CrlReason::Unspecified),
        ("KeyCompromise", CrlReason::KeyCompromise),
        ("CertificateHold", CrlReason::CertificateHold),
        // Has no place in a complete list (RFC 5280 §5.3.1), so its reason is left out.
        ("RemoveFromCRL", CrlReason::Unspecified),
        ("PrivilegeWithdrawn", CrlReason::PrivilegeWithdrawn),
    ];
    let mut expected = Vec::new();
    for (name, reason) in reasons {
        let issued = world.issue(&ca, name).await;
        world.revoke(&issued, name).await;
        expected.push((
            issued.serial().to_hex(),
            whole_seconds(world.db.now()),
            reason,
        ));
        world.clock.advance(Duration::minutes(1));
    }
    world.settle().await;
    let list = world.crl(&ca).await;
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let mut entries: Vec<_> = list
        .entries()
        .map(|entry| (entry.serial.to_hex(), entry.revocation_date, entry.reason))
        .collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(entries, expected);
    assert_eq!(list.issuer(), ca.certificate.subject());
    let now = whole_seconds(world.db.now());
    assert_eq!(list.this_update(), now);
    assert_eq!(list.next_update(), Some(now + Duration::WEEK));
    let key_identifier = list.extensions().authority_key_identifier().unwrap();
    assert_eq!(
        hex::encode(key_identifier.unwrap().key_identifier.unwrap()),
        ca.ski
    );
    // No issuing distribution point: the list is complete.
    let extensions: Vec<_> = list
        .extensions()
        .iter()
        .filter_map(Extension::oid)
        .collect();
    assert_eq!(
        extensions,
        [oids::CE_AUTHORITY_KEY_IDENTIFIER, oids::CE_CRL_NUMBER]
    );
}

#[tokio::test]
async fn a_burst_of_revocations_makes_few_crls() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let mut issued: Vec<Certificate> = Vec::new();
    for index in 0..10 {
        issued.push(world.issue(&ca, &index.to_string()).await);
    }
    for certificate in &issued {
        world.revoke(certificate, "Superseded").await;
    }
    world.settle().await;
    let (number, entries) = world.listed(&ca).await;
    assert_eq!((number, entries.len()), (2, 10));
}

#[tokio::test]
async fn a_revoked_subordinate_is_on_the_list_of_its_issuer() {
    let world = World::running().await;
    let root = world.root("root").await;
    let sub = world.ca("sub", Some("root"), "ECDSA", 256).await;
    world.settle().await;
    world
        .revoke_serial(&sub.serial, "CessationOfOperation")
        .await;
    world.settle().await;
    assert_eq!(world.listed(&root).await, (2, vec![sub.serial.clone()]));
    assert_eq!(world.listed(&sub).await, (1, vec![]));
}

#[tokio::test]
async fn cas_that_share_name_and_key_share_the_list() {
    let world = World::running().await;
    let old = world.root("old").await;
    let new = world.twin("new", &old).await;
    assert_eq!(
        (&new.ski, new.certificate.subject()),
        (&old.ski, old.certificate.subject())
    );
    world.settle().await;
    let (of_old, of_new) = (world.issue(&old, "1").await, world.issue(&new, "2").await);
    world.revoke(&of_new, "KeyCompromise").await;
    world.settle().await;
    assert_eq!(
        world.listed(&old).await,
        (2, vec![of_new.serial().to_hex()])
    );
    world.revoke(&of_old, "KeyCompromise").await;
    world.settle().await;
    let mut expected = vec![of_old.serial().to_hex(), of_new.serial().to_hex()];
    expected.sort();
    let (number, mut listed) = world.listed(&new).await;
    listed.sort();
    assert_eq!((number, listed), (3, expected));
}

#[tokio::test]
async fn a_long_list_has_every_certificate_once() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let expected: Vec<String> = (0x10_0000..0x10_0000 + 12_345)
        .map(|n| format!("{n:06x}"))
        .collect();
    for serials in expected.chunks(500) {
        let mut set = WriteSet::new();
        for serial in serials {
            set.execute(sql(
                "INSERT INTO va_revoked (ca_id, serial_number, revoked_at, reason, valid_to) \
                 VALUES ($1, $2, $3, 4, $4)",
                params![
                    ca.id.as_str(),
                    serial.as_str(),
                    world.db.now(),
                    world.db.now() + Duration::DAY
                ],
            ));
        }
        world.db.commit(set).await.unwrap();
    }
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.settle().await;
    let (number, mut listed) = world.listed(&ca).await;
    listed.retain(|serial| *serial != issued.serial().to_hex());
    assert_eq!(number, 2);
    assert!(listed == expected, "{} entries", listed.len());
}

#[tokio::test]
async fn crls_are_renewed_when_due_and_before_they_expire() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    world
        .clock
        .advance(Duration::hours(7 * 24 - 1) - Duration::seconds(1));
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 1);
    world.clock.advance(Duration::seconds(1));
    world.settle().await;
    let list = world.crl(&ca).await;
    assert_eq!(list.number().unwrap().unwrap().0, 2);
    let next = whole_seconds(world.db.now()) + Duration::WEEK;
    assert_eq!(list.next_update(), Some(next));
}

#[tokio::test]
async fn with_the_job_off_only_revocations_make_crls() {
    let config = VaConfig {
        crl_monitoring_job: MonitoringJobConfig {
            enabled: false,
            ..MonitoringJobConfig::default()
        },
        ..VaConfig::default()
    };
    let world = World::with_config(config).await;
    world.follow_events();
    let ca = world.root("root-a").await;
    world.settle().await;
    world.clock.advance(Duration::days(30));
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 1);
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 2);
}

#[tokio::test]
async fn an_expired_certificate_leaves_after_one_more_list() {
    for (prune_expired, expected) in [(true, 0), (false, 1)] {
        let config = VaConfig {
            crl: CrlConfig {
                prune_expired,
                ..CrlConfig::default()
            },
            ..VaConfig::default()
        };
        let world = World::with_config(config).await;
        world.follow_events();
        let ca = world.root("root-a").await;
        let issued = world.issue(&ca, "device-1").await;
        world.revoke(&issued, "Superseded").await;
        world.settle().await;
        world.clock.advance(Duration::WEEK);
        world.settle().await;
        // RFC 5280 §3.3: on one list that was made after its end.
        let (second, entries) = world.listed(&ca).await;
        assert_eq!(entries.len(), 1);
        world.clock.advance(Duration::WEEK);
        world.settle().await;
        let (third, entries) = world.listed(&ca).await;
        assert_eq!((third, entries.len()), (second + 1, expected));
        let list = world.crl(&ca).await;
        let kept_since = (!prune_expired).then(|| ca.certificate.not_before());
        assert_eq!(expired_stay_since(&list), kept_since.map(generalized));
        crl_text(list.as_der(), &ca);
    }
}

#[tokio::test]
async fn a_ca_that_was_taken_in_promises_nothing_of_expired_certificates() {
    let config = VaConfig {
        crl: CrlConfig {
            prune_expired: false,
            ..CrlConfig::default()
        },
        ..VaConfig::default()
    };
    let world = World::with_config(config).await;
    let (certificate, key) = made_elsewhere("factory", &"0a".repeat(20));
    let ca = world.import_with_key("factory", certificate, &key).await;
    assert_eq!(expired_stay_since(&world.crl(&ca).await), None);
}

/// What a list says of expired certificates: X.509 §9.5.2.8, DER of a `GeneralizedTime`.
pub(crate) fn expired_stay_since(list: &CertificateList) -> Option<Vec<u8>> {
    let extension = list.extensions().find(&oids::CE_EXPIRED_CERTS_ON_CRL)?;
    assert!(!extension.is_critical());
    Some(extension.value().to_vec())
}

pub(crate) fn generalized(time: OffsetDateTime) -> Vec<u8> {
    let (year, month, day) = time.date().to_calendar_date();
    let (hour, minute, second) = time.time().as_hms();
    let month = u8::from(month);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    [&[0x18, 15], text.as_bytes()].concat()
}

#[tokio::test]
async fn a_crl_that_nobody_made_yet_is_made_on_the_spot_and_is_number_one() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    assert_eq!(world.listed(&ca).await, (1, vec![]));
    world.follow_events();
    world.settle().await;
    assert_eq!(world.listed(&ca).await, (1, vec![]));
    let types: Vec<String> = world
        .events()
        .await
        .into_iter()
        .map(|event| event.0)
        .collect();
    assert_eq!(types, ["va.role.crl.create", "va.role.crl.init"]);
}

#[tokio::test]
async fn unknown_cas_and_cas_without_key_have_no_crl() {
    let world = World::new().await;
    let unknown = world.get("/crl/0badcafe").await;
    assert_eq!(unknown.refusal(), (404, "VA role not found".to_owned()));
    let ca = world.root("root-a").await;
    let router = world.without_keys().await;
    let path = format!("/crl/{}", ca.ski);
    for _ in 0..2 {
        let refused = get(&router, &path, &[]).await;
        assert_eq!(refused.refusal(), (404, "CRL not found".to_owned()));
    }
    let role = get(&router, &format!("/v1/roles/{}", ca.ski), &[]).await;
    let latest = &role.json(200)["latest_crl"];
    assert_eq!(latest["version"], 0);
    assert_eq!(latest["valid_until"], "0001-01-01T00:00:00Z");
    // As soon as the key is there, the first list is number 1.
    assert_eq!(world.listed(&ca).await, (1, vec![]));
}

#[tokio::test]
async fn crls_are_served_with_their_lifetime_and_only_when_new() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let path = format!("/crl/{}", ca.ski);
    let answer = world.get(&path).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/pkix-crl");
    assert_eq!(
        answer.header("cache-control"),
        "max-age=300, public, no-transform, must-revalidate"
    );
    let (etag, modified) = (answer.header("etag"), answer.header("last-modified"));
    let weak = format!("\"x\", W/{etag}");
    for condition in [
        ("if-none-match", etag),
        ("if-none-match", weak.as_str()),
        ("if-none-match", "*"),
        ("if-modified-since", modified),
    ] {
        let unmodified = world.get_with(&path, &[condition]).await;
        assert_eq!(unmodified.status, 304, "{condition:?}");
        assert!(unmodified.body.is_empty());
        assert_eq!(unmodified.header("etag"), etag);
    }
    let conditions = [("if-none-match", "\"x\""), ("if-modified-since", modified)];
    assert_eq!(world.get_with(&path, &conditions).await.status, 200);
    for alias in [
        format!("/crl/{}.crl", ca.ski),
        format!("/v1/crl/{}", ca.ski),
        format!("/crl/{}", ca.ski.to_uppercase()),
        format!("/api/va/crl/{}", ca.ski),
    ] {
        assert_eq!(world.get(&alias).await.body, answer.body, "{alias}");
    }
    let head = Request::builder().method(Method::HEAD).uri(&path);
    let head = send(&world.router, head.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), answer.body.len().to_string());
    assert_eq!(head.header("etag"), etag);
}

#[tokio::test]
async fn the_certificate_of_a_ca_is_served_as_der() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    for path in [format!("/ca/{}", ca.ski), format!("/v1/ca/{}.cer", ca.ski)] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/pkix-cert");
        assert_eq!(&answer.body, ca.certificate.as_der());
    }
    let refused = world.get("/ca/0badcafe").await;
    assert_eq!(refused.refusal(), (404, "CA not found".to_owned()));
}

#[tokio::test]
async fn a_new_crl_is_told_without_its_entries() {
    let config = VaConfig {
        va_domains: vec!["va.example/api/va".to_owned()],
        ..VaConfig::default()
    };
    let world = World::with_config(config).await;
    world.follow_events();
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    world.settle().await;
    world.revoke(&issued, "KeyCompromise").await;
    world.settle().await;
    let events = world.events().await;
    let types: Vec<&str> = events.iter().map(|event| event.0.as_str()).collect();
    assert_eq!(
        types,
        [
            "va.role.crl.create",
            "va.role.crl.init",
            "va.role.crl.create"
        ]
    );
    assert!(
        events
            .iter()
            .all(|event| event.1 == format!("crl/{}", ca.ski))
    );
    let role = &events[1].2;
    assert_eq!(role["latest_crl"]["version"], 0);
    assert_eq!(role["latest_crl"]["valid_until"], "0001-01-01T00:00:00Z");
    let crl = world.crl(&ca).await;
    let time = |time: time::OffsetDateTime| lamassu_core::timestamp::Timestamp(time).to_string();
    let key_identifier = hex::decode(&ca.ski).unwrap();
    let expected = json!({
        "Number": 2,
        "ThisUpdate": time(crl.this_update()),
        "NextUpdate": time(crl.next_update().unwrap()),
        "AuthorityKeyId": base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            key_identifier,
        ),
        "Issuer": {
            "Country": null,
            "Organization": ["Fleet"],
            "OrganizationalUnit": null,
            "Locality": null,
            "Province": null,
            "CommonName": "root-a",
        },
        "RevokedCertificateCount": 1,
        "URL": format!("http://va.example/api/va/crl/{}", ca.ski),
    });
    assert_eq!(events[2].2, expected);
}
