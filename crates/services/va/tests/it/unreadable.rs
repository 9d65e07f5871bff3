//! Rows that nobody can read: they hold up nothing else, and are not given up.

use bytes::Bytes;
use lamassu_db::{NextRun, Statement, WriteSet, params, sql, system_caller};
use lamassu_va::VaService;
use time::Duration;

use crate::support::{Ca, World};

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
