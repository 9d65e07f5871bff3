//! Rows that nobody can read: they hold up nothing else, and are not given up.

use bytes::Bytes;
use lamassu_db::{NextRun, Statement, WriteSet, params, sql, system_caller};
use lamassu_va::{VaConfig, VaService};
use lamassu_x509::ocsp::request_to_der;
use time::Duration;

use crate::delegates::delegated;
use crate::support::{Ca, World, cert_id};

async fn execute(world: &World, statement: Statement) {
    let mut set = WriteSet::new();
    set.execute(statement);
    world.db.commit(set).await.unwrap();
}

async fn set_der(world: &World, ca: &Ca, der: Bytes) {
    let text = "UPDATE certificate SET der = $1 WHERE serial_number = $2";
    execute(world, sql(text, params![der, ca.serial.as_str()])).await;
}

async fn run_crl_job(world: &World, va: &VaService) -> NextRun {
    let (caller, now) = (system_caller("test"), world.db.now());
    va.crl_job().run(&caller, now).await.unwrap()
}

#[tokio::test]
async fn a_ca_that_cannot_be_read_gets_its_crl_as_soon_as_it_can() {
    let world = World::running().await;
    let (broken, other) = (world.root("root-a").await, world.root("root-b").await);
    world.settle().await;
    set_der(&world, &broken, Bytes::from_static(b"der")).await;
    // One that has not read the CAs yet.
    let (va, _) = world.replica().await;
    world.clock.advance(Duration::days(7));
    let next = run_crl_job(&world, &va).await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::seconds(30)));
    assert_eq!(world.listed(&other).await.0, 2);
    assert_eq!(world.listed(&broken).await.0, 1);
    set_der(&world, &broken, broken.certificate.as_der().clone()).await;
    world.clock.advance(Duration::seconds(30));
    run_crl_job(&world, &va).await;
    assert_eq!(world.listed(&broken).await.0, 2);
}

#[tokio::test]
async fn a_role_that_cannot_be_read_holds_up_no_other() {
    let world = World::running().await;
    let (broken, other) = (world.root("root-a").await, world.root("root-b").await);
    world.settle().await;
    let text = "UPDATE va_role SET crl_shards = -1 WHERE ca_ski = $1";
    execute(&world, sql(text, params![broken.ski.as_str()])).await;
    let (va, _) = world.replica().await;
    world.clock.advance(Duration::days(7));
    let next = run_crl_job(&world, &va).await;
    assert_eq!(next, NextRun::At(world.db.now() + Duration::seconds(30)));
    assert_eq!(world.listed(&other).await.0, 2);
}

#[tokio::test]
async fn what_becomes_due_does_not_wait_for_a_role_that_cannot_be_read() {
    let world = World::running().await;
    let (broken, other) = (world.root("root-a").await, world.root("root-b").await);
    world.settle().await;
    let soon = world.db.now() + Duration::seconds(5);
    let text = "UPDATE va_role SET crl_shards = -1, next_due = 0, delta_due = 0 WHERE ca_ski = $1";
    execute(&world, sql(text, params![broken.ski.as_str()])).await;
    let text = "UPDATE va_role SET next_due = $1 WHERE ca_ski = $2";
    execute(&world, sql(text, params![soon, other.ski.as_str()])).await;
    let (va, _) = world.replica().await;
    assert_eq!(run_crl_job(&world, &va).await, NextRun::At(soon));
    world.clock.advance(Duration::seconds(5));
    run_crl_job(&world, &va).await;
    assert_eq!(world.listed(&other).await.0, 2);
}

/// More than are looked at in one run.
#[tokio::test]
async fn many_roles_that_cannot_be_read_hold_up_no_other() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    for n in 0..120 {
        let text = "INSERT INTO va_role (ca_ski, ca_id, created_at, refresh_interval, validity, \
             subject_key_id_signer, regenerate_on_revoke, crl_number, this_update, next_update, \
             crl_file, crl_digest, changes, next_due, crl_shards) \
             SELECT CAST($1 AS TEXT), ca_id, created_at, refresh_interval, validity, \
             subject_key_id_signer, regenerate_on_revoke, crl_number, this_update, next_update, \
             crl_file, crl_digest, changes, 0, -1 FROM va_role WHERE ca_ski = $2";
        let ski = format!("{n:040x}");
        execute(&world, sql(text, params![ski, ca.ski.as_str()])).await;
    }
    let (va, _) = world.replica().await;
    world.clock.advance(Duration::days(7));
    run_crl_job(&world, &va).await;
    run_crl_job(&world, &va).await;
    assert_eq!(world.listed(&ca).await.0, 2);
}

#[tokio::test]
async fn many_shards_that_cannot_be_read_hold_up_no_other() {
    let config = VaConfig {
        va_domains: vec!["va.example/api/va".to_owned()],
        ..VaConfig::default()
    };
    let world = World::with_config(config).await;
    world.follow_events();
    let broken = world.root_in_shards("root-a", 128).await;
    let other = world.root_in_shards("root-b", 2).await;
    world.catch_up().await;
    let text = "UPDATE va_shard SET crl_number = -1, next_due = 0 WHERE ca_ski = $1";
    execute(&world, sql(text, params![broken.ski.as_str()])).await;
    world.run_shard_job().await;
    world.run_shard_job().await;
    let text = "SELECT part FROM va_shard WHERE ca_ski = $1 AND crl_number = 1";
    let made = world.db.rows(sql(text, params![other.ski.as_str()])).await;
    assert_eq!(made.unwrap().len(), 2);
}

#[tokio::test]
async fn the_key_of_the_responder_of_a_ca_that_cannot_be_read_is_kept() {
    let world = World::with_config(delegated()).await;
    let ca = world.root("root-a").await;
    let question = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    world.post_ocsp(&question).await;
    let keys = world.keys_called("OCSP responder of root-a").await;
    assert_eq!(keys.len(), 1);
    set_der(&world, &ca, Bytes::from_static(b"der")).await;
    world.reconcile().await;
    assert_eq!(world.keys_called("OCSP responder of root-a").await, keys);
}
