//! The last CRLs of deleted CAs: the CA service waits for them with the key, and is told.

use http::StatusCode;
use lamassu_core::ca::CaService as _;
use lamassu_db::{NextRun, system_caller};
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
