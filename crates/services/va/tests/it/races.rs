//! Many at once: numbers are given once, roles are made once.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use lamassu_db::system_caller;
use lamassu_va::VaService;

use crate::support::{World, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_who_fetch_a_crl_that_nobody_made_get_the_same_one() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let path = format!("/crl/{}", ca.ski);
    let fetched = join_all((0..20).map(|_| world.get(&path))).await;
    let bodies: BTreeSet<_> = fetched
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            answer.body.clone()
        })
        .collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(world.listed(&ca).await.0, 1);
    let roles = world.get("/v1/roles").await.json(200);
    assert_eq!(roles["list"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_never_give_a_number_twice() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let (other, replica) = world.replica().await;
    let jobs = [&world.va, &other, &world.va, &other].map(VaService::crl_job);
    for job in &jobs {
        job.run(&system_caller("test"), world.db.now())
            .await
            .unwrap();
    }
    let path = format!("/crl/{}", ca.ski);
    for round in 0..5 {
        let issued = world.issue(&ca, &round.to_string()).await;
        world.revoke(&issued, "Superseded").await;
        world.catch_up().await;
        let caller = system_caller("test");
        join_all(jobs.iter().map(|job| job.run(&caller, world.db.now()))).await;
        let (ours, theirs) = (world.get(&path).await, get(&replica, &path, &[]).await);
        assert_eq!(ours.body, theirs.body);
        let (number, entries) = world.listed(&ca).await;
        assert_eq!(
            (number, entries.len()),
            (round + 2, usize::try_from(round + 1).unwrap())
        );
    }
    let numbers: Vec<u64> = world
        .events()
        .await
        .iter()
        .filter(|event| event.0 == "va.role.crl.create")
        .map(|event| event.2["Number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}
