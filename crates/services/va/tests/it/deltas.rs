//! Delta CRLs.

use std::process::Command;

use axum::body::Body;
use http::{Request, StatusCode};
use lamassu_va::VaConfig;
use lamassu_x509::crl::{CertificateList, CrlReason};
use lamassu_x509::oids;
use lamassu_x509::pem::{PemLabel, der_to_pem};
use serde_json::json;
use time::Duration;

use crate::support::{Ca, World, send};

/// A world whose CRLs have an address.
async fn world() -> World {
    let config = VaConfig {
        va_domains: vec!["va.example/api/va".to_owned()],
        ..VaConfig::default()
    };
    let world = World::with_config(config).await;
    world.follow_events();
    world
}

async fn delta(world: &World, ca: &Ca) -> CertificateList {
    let path = format!("/crl/{}/delta", ca.ski);
    let same = world.crl_at(&format!("/v1{path}"), ca).await;
    let delta = world.crl_at(&path, ca).await;
    assert_eq!(delta.as_der(), same.as_der());
    let head = Request::head(&path).body(Body::empty()).unwrap();
    let head = send(&world.router, head).await;
    let length = delta.as_der().len().to_string();
    assert_eq!(
        (head.status, head.header("content-length")),
        (StatusCode::OK, length.as_str())
    );
    delta
}

/// Number, number of the base, entries.
fn summary(list: &CertificateList) -> (u64, Option<u64>, Vec<(String, CrlReason)>) {
    (
        list.number().unwrap().unwrap().0,
        list.base_number().unwrap().map(|number| number.0),
        list.entries()
            .map(|entry| (entry.serial.to_hex(), entry.reason))
            .collect(),
    )
}

#[tokio::test]
async fn a_revocation_makes_a_short_list_and_leaves_the_long_one() {
    let world = world().await;
    let ca = world.root("root-a").await;
    let old = world.issue(&ca, "device-0").await;
    world.revoke(&old, "KeyCompromise").await;
    world.settle().await;
    let none = world.get(&format!("/crl/{}/delta", ca.ski)).await;
    assert_eq!(none.refusal(), (404, "CRL not found".to_owned()));
    assert!(
        world
            .crl(&ca)
            .await
            .extensions()
            .find(&oids::CE_FRESHEST_CRL)
            .is_none()
    );
    // Later than what counts as perhaps not on the list.
    world.clock.advance(Duration::minutes(6));

    world
        .set_options(&ca, json!({ "delta_validity": "1d" }))
        .await;
    world.settle().await;
    // A complete list that says where the others are, and the first of those.
    let base = world.crl(&ca).await;
    assert_eq!(summary(&base).0, 2);
    let freshest = base.extensions().find(&oids::CE_FRESHEST_CRL).unwrap();
    assert!(!freshest.is_critical());
    let address = format!("http://va.example/api/va/crl/{}/delta", ca.ski);
    let value = String::from_utf8_lossy(freshest.value()).into_owned();
    assert!(value.contains(&address), "{value}");
    assert_eq!(summary(&delta(&world, &ca).await), (3, Some(2), vec![]));

    let (held, lost) = (world.issue(&ca, "1").await, world.issue(&ca, "2").await);
    world.revoke(&held, "CertificateHold").await;
    world.revoke(&lost, "KeyCompromise").await;
    world.settle().await;
    let mut expected = vec![
        (held.serial().to_hex(), CrlReason::CertificateHold),
        (lost.serial().to_hex(), CrlReason::KeyCompromise),
    ];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    let made = delta(&world, &ca).await;
    assert_eq!(summary(&made), (4, Some(2), expected));
    assert!(
        made.extensions()
            .find(&oids::CE_DELTA_CRL_INDICATOR)
            .unwrap()
            .is_critical()
    );
    assert_eq!(world.crl(&ca).await.as_der(), base.as_der());
    let now = crate::support::whole_seconds(world.db.now());
    assert_eq!(made.next_update(), Some(now + Duration::DAY));
    let (kind, _, data) = world.events().await.pop().unwrap();
    assert_eq!(
        (kind.as_str(), &data["Number"]),
        ("va.role.crl.delta", &json!(4))
    );
    assert_eq!(data["URL"], json!(address));

    // The next complete list takes all in, and the lists to it begin anew.
    world.clock.advance(Duration::hours(167));
    world.settle().await;
    let next = world.crl(&ca).await;
    // Expired meanwhile, they stand on one list more.
    assert_eq!((summary(&next).0, summary(&next).2.len()), (5, 3));
    assert_eq!(summary(&delta(&world, &ca).await), (6, Some(5), vec![]));
}

#[tokio::test]
async fn only_a_released_hold_is_removed() {
    let world = world().await;
    let ca = world.root("root-a").await;
    let (held, odd) = (world.issue(&ca, "1").await, world.issue(&ca, "2").await);
    world.revoke(&held, "CertificateHold").await;
    world.revoke(&odd, "RemoveFromCRL").await;
    world.settle().await;
    world
        .set_options(&ca, json!({ "delta_validity": "1d" }))
        .await;
    world.settle().await;
    let base = world.crl(&ca).await;
    assert_eq!(base.entries().count(), 2);
    world.set_status(&held, "ACTIVE").await;
    world.settle().await;
    let entries = summary(&delta(&world, &ca).await).2;
    assert!(entries.contains(&(held.serial().to_hex(), CrlReason::RemoveFromCrl)));
    // The reason that a client gave is no removal.
    assert!(entries.contains(&(odd.serial().to_hex(), CrlReason::Unspecified)));
    // Held again, it is not removed any more.
    world.revoke(&held, "CertificateHold").await;
    world.settle().await;
    let entries = summary(&delta(&world, &ca).await).2;
    assert!(entries.contains(&(held.serial().to_hex(), CrlReason::CertificateHold)));
    assert!(
        entries
            .iter()
            .all(|(_, reason)| *reason != CrlReason::RemoveFromCrl)
    );
}

#[tokio::test]
async fn older_clients_keep_delta_crls_and_null_ends_them() {
    let world = world().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let path = format!("/v1/roles/{}", ca.ski);
    let with = json!({ "validity": "1w", "delta_validity": "2h" });
    let updated = world.put(&path, with.to_string()).await.json(200);
    assert_eq!(updated["crl_options"]["delta_validity"], "2h");
    let without = json!({ "validity": "2w", "regenerate_on_revoke": true });
    let updated = world.put(&path, without.to_string()).await.json(200);
    assert_eq!(updated["crl_options"]["delta_validity"], "2h");
    world.settle().await;
    assert_eq!(summary(&delta(&world, &ca).await).0, 3);
    // Renewed by itself before it ends.
    world.clock.advance(Duration::minutes(61));
    world.run_crl_job().await;
    assert_eq!(summary(&delta(&world, &ca).await).0, 4);
    let cleared = json!({ "validity": "2w", "regenerate_on_revoke": true, "delta_validity": null });
    let updated = world.put(&path, cleared.to_string()).await.json(200);
    assert_eq!(updated["crl_options"].get("delta_validity"), None);
    world.settle().await;
    let ended = world.get(&format!("/crl/{}/delta", ca.ski)).await;
    assert_eq!(ended.refusal(), (404, "CRL not found".to_owned()));
    // From here on the complete list is made at once again.
    let complete = world.crl(&ca).await;
    assert_eq!(summary(&complete).0, 5);
    assert!(complete.extensions().find(&oids::CE_FRESHEST_CRL).is_none());
    let issued = world.issue(&ca, "1").await;
    world.revoke(&issued, "Superseded").await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await, (6, vec![issued.serial().to_hex()]));
}

#[tokio::test]
async fn openssl_believes_delta_crls() {
    let world = world().await;
    let ca = world.root("root-a").await;
    let (held, lost) = (world.issue(&ca, "1").await, world.issue(&ca, "2").await);
    world.revoke(&held, "CertificateHold").await;
    world.settle().await;
    world
        .set_options(&ca, json!({ "delta_validity": "1d" }))
        .await;
    world.settle().await;
    world.set_status(&held, "ACTIVE").await;
    world.revoke(&lost, "KeyCompromise").await;
    world.settle().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lists = [world.crl(&ca).await, delta(&world, &ca).await]
        .map(|list| der_to_pem(PemLabel::Crl, list.as_der()));
    std::fs::write(dir.join("base.pem"), &lists[0]).unwrap();
    std::fs::write(dir.join("lists.pem"), lists.concat()).unwrap();
    for (name, certificate) in [("ca", &ca.certificate), ("held", &held), ("lost", &lost)] {
        let pem = der_to_pem(PemLabel::Certificate, certificate.as_der());
        std::fs::write(dir.join(format!("{name}.pem")), pem).unwrap();
    }
    let verify = |name: &str, lists: &str, flags: &[&str]| {
        let output = Command::new("openssl")
            .args([
                "verify",
                "-crl_check",
                "-CAfile",
                "ca.pem",
                "-CRLfile",
                lists,
            ])
            .args(flags)
            .arg(format!("{name}.pem"))
            .current_dir(dir)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    // By the complete list alone, and with the delta CRL.
    let text = verify("held", "base.pem", &[]);
    assert!(text.contains("certificate revoked"), "{text}");
    let text = verify("lost", "base.pem", &[]);
    assert!(text.contains("lost.pem: OK"), "{text}");
    let deltas = ["-extended_crl", "-use_deltas"];
    let text = verify("held", "lists.pem", &deltas);
    assert!(text.contains("held.pem: OK"), "{text}");
    let text = verify("lost", "lists.pem", &deltas);
    assert!(text.contains("certificate revoked"), "{text}");
}
