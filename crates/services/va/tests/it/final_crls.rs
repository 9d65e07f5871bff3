//! The last CRLs of deleted CAs: the CA service waits for them with the key, and is told.

use std::process::Command;

use http::StatusCode;
use lamassu_core::ca::CaService as _;
use lamassu_core::va::RECONCILE_JOB;
use lamassu_db::{NextRun, system_caller};
use lamassu_x509::Certificate;
use serde_json::json;
use time::Duration;

use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_deleted_ca_signs_one_more_crl_that_outlives_its_certificates() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let early = world.issue(&ca, "early").await;
    world.revoke(&early, "KeyCompromise").await;
    let late = world.issue(&ca, "late").await;
    world.settle().await;
    let number = world.crl(&ca).await.number().unwrap().unwrap();
    world.clock.advance(Duration::seconds(1));
    world.delete(&ca).await;
    assert!(world.has_key(&ca).await);
    // Whatever the events have told, and the other job has tried, by then.
    let next = world.run_final_crl_job().await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::MINUTE));
    let list = world.crl(&ca).await;
    assert!(list.number().unwrap().unwrap() > number);
    let revoked: Vec<_> = list.entries().map(|entry| entry.serial.to_hex()).collect();
    assert!(revoked.contains(&early.serial().to_hex()), "{revoked:?}");
    assert!(revoked.contains(&late.serial().to_hex()), "{revoked:?}");
    assert!(list.next_update().unwrap() > late.not_after());
    // Settled: the key goes.
    world.run_cascades().await;
    assert!(!world.has_key(&ca).await);
    // The CRL stays, and there is none behind it, however long nobody makes one.
    world.settle().await;
    world.clock.advance(Duration::days(2));
    world.run_crl_job().await;
    world.run_final_crl_job().await;
    let kept = world.crl(&ca).await;
    assert_eq!(
        kept.number().unwrap().unwrap(),
        list.number().unwrap().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_crl_outlives_certificates_that_are_valid_for_longer_than_any_other() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let profile = json!({
        "validity": { "type": "Duration", "duration": "40d" }, "honor_subject": true,
    });
    let device = world.issue_with(&ca, "device-1", profile).await;
    world.settle().await;
    world.delete(&ca).await;
    world.run_final_crl_job().await;
    let list = world.crl(&ca).await;
    assert_eq!(
        list.next_update().unwrap().date(),
        (device.not_after() + Duration::DAY).date()
    );
}

/// RFC 5280, §4.1.2.5: the end of a certificate without a well-defined end. No date is behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_crl_of_a_certificate_without_end_has_none_either() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let profile = json!({
        "validity": { "type": "Time", "time": "9999-12-31T23:59:59Z" }, "honor_subject": true,
    });
    let device = world.issue_with(&ca, "device-1", profile).await;
    world.settle().await;
    world.delete(&ca).await;
    world.run_final_crl_job().await;
    let list = world.crl(&ca).await;
    assert_eq!(device.not_after().year(), 9999);
    assert_eq!(list.next_update().unwrap(), device.not_after());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_whose_key_does_not_sign_waits_and_is_tried_again() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.issue(&ca, "device-1").await;
    world.settle().await;
    world.disable_key(&ca).await;
    world.delete(&ca).await;
    let next = world.run_final_crl_job().await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::seconds(30)));
    world.run_cascades().await;
    assert!(world.has_key(&ca).await);
    // Not for ever.
    world.clock.advance(Duration::HOUR);
    world.run_cascades().await;
    assert!(!world.has_key(&ca).await);
    assert_eq!(
        world.get(&format!("/crl/{}", ca.ski)).await.status,
        StatusCode::OK
    );
}

/// CAs that share name and key share role and CRLs, which go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_with_the_key_of_another_leaves_the_crls_to_it() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let twin = world.twin("root-b", &ca).await;
    world.issue(&ca, "device-1").await;
    world.settle().await;
    world.delete(&ca).await;
    world.run_cascades().await;
    assert!(world.has_key(&ca).await);
    let retired = world.ca.retired_cas(&system_caller("test")).await;
    assert_eq!(retired.unwrap(), []);
    let before = world.crl(&twin).await.number().unwrap().unwrap();
    let device = world.issue(&twin, "device-2").await;
    world.revoke(&device, "KeyCompromise").await;
    world.settle().await;
    assert!(world.crl(&twin).await.number().unwrap().unwrap() > before);
}

/// A CA of this name, made by openssl, and its key in PEM; it calls its key as it is told.
pub(crate) fn made_elsewhere(name: &str, ski: &str) -> (Certificate, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\nO=Fleet\nCN={name}\n\
         [ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
         subjectKeyIdentifier={ski}\n"
    );
    std::fs::write(dir.path().join("ca.cnf"), config).unwrap();
    let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config ca.cnf \
                -keyout key.pem -outform DER -out ca.der";
    let made = Command::new("openssl")
        .args(make.split_whitespace())
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    (
        Certificate::from_der(read("ca.der")).unwrap(),
        read("key.pem"),
    )
}

/// What a certificate calls its key is up to whoever makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unrelated_ca_that_calls_its_key_the_same_neither_prevents_nor_replaces_a_last_crl() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let device = world.issue(&ca, "device-1").await;
    world.settle().await;
    let (certificate, key) = made_elsewhere("root-a", &ca.ski);
    let unrelated = world.import_with_key("unrelated", certificate, &key).await;
    assert_eq!(unrelated.ski, ca.ski);
    world.settle().await;
    let waiting = async || {
        let retired = world.ca.retired_cas(&system_caller("test")).await;
        retired.unwrap().len()
    };
    world.delete(&ca).await;
    assert_eq!(waiting().await, 1);
    world.run_final_crl_job().await;
    assert_eq!(waiting().await, 0);
    let last = world.crl(&ca).await;
    assert!(last.next_update().unwrap() > device.not_after());
    // Its own certificates come and go, and the list stays for as long as it is needed.
    let profile = json!({
        "validity": { "type": "Duration", "duration": "20d" }, "honor_subject": true,
    });
    let other = world.issue_with(&unrelated, "device-2", profile).await;
    world.revoke(&other, "KeyCompromise").await;
    world.settle().await;
    assert_eq!(world.crl(&ca).await.as_der(), last.as_der());
    // And then it is the other one's turn.
    world.clock.advance(Duration::days(8));
    world.run_crl_job().await;
    let list = world.crl(&unrelated).await;
    assert!(list.entries().any(|entry| entry.serial == *other.serial()));
}

/// The last CRL of a deleted CA whose key another one's certificate names: that one's CRLs go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_ca_leaves_the_crls_of_the_one_that_had_the_name_of_its_key_before() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let (certificate, key) = made_elsewhere("root-b", &ca.ski);
    let later = world.import_with_key("root-b", certificate, &key).await;
    let profile = json!({
        "validity": { "type": "Duration", "duration": "12h" }, "honor_subject": true,
    });
    world.issue_with(&later, "device-1", profile).await;
    world.settle().await;
    let before = world.crl(&ca).await;
    world.delete(&later).await;
    world.run_final_crl_job().await;
    let retired = world.ca.retired_cas(&system_caller("test")).await;
    assert_eq!(retired.unwrap(), []);
    assert!(world.crl(&ca).await.number().unwrap() >= before.number().unwrap());
    world.clock.advance(Duration::hours(167));
    world.run_crl_job().await;
    assert!(world.crl(&ca).await.number().unwrap() > before.number().unwrap());
}

/// Its key is not the one that the list is of.
#[tokio::test]
async fn a_new_ca_with_the_id_of_a_deleted_one_signs_no_list_of_it() {
    let world = World::running().await;
    let old = world.root("root-a").await;
    world.catch_up().await;
    world.delete(&old).await;
    let new = world.root("root-a").await;
    assert_ne!(old.ski, new.ski);
    world.catch_up().await;
    world.run_crl_job().await;
    let answer = world.get(&format!("/crl/{}", old.ski)).await;
    assert_eq!(answer.refusal(), (404, "CA not found".to_owned()));
    world.crl(&new).await;
}

#[tokio::test]
async fn what_a_deleted_ca_revoked_leaves_the_list_of_the_next_one_with_its_id() {
    let world = World::running().await;
    let old = world.root("root-a").await;
    let device = world.issue(&old, "device-1").await;
    world.revoke(&device, "KeyCompromise").await;
    world.settle().await;
    world.delete(&old).await;
    world.run_final_crl_job().await;
    world.run_cascades().await;
    world.catch_up().await;
    let mut woken = world.db.signal(RECONCILE_JOB);
    woken.mark_unchanged();
    let new = world.root("root-a").await;
    assert_eq!(woken.has_changed().ok(), Some(true));
    world.reconcile().await;
    world.settle().await;
    assert_eq!(world.listed(&new).await.1, [""; 0]);
}
