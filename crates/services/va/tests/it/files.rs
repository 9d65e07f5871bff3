//! CRL files: what crashes leave, what is kept, what is lost.

use lamassu_db::system_caller;
use lamassu_va::{CrlConfig, VaConfig};
use time::Duration;

use crate::support::{Ca, World, get};

async fn renew(world: &World, times: u32) {
    for _ in 0..times {
        world.clock.advance(Duration::WEEK);
        world.settle().await;
    }
}

#[tokio::test]
async fn files_are_pem_under_the_names_that_tools_know() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    assert_eq!(world.crl_files(&ca), ["1.crl"]);
    let pem = std::fs::read_to_string(world.crl_folder(&ca).join("1.crl")).unwrap();
    assert!(pem.starts_with("-----BEGIN X509 CRL-----\n"));
    assert!(pem.ends_with("\n-----END X509 CRL-----\n"));
}

#[tokio::test]
async fn what_a_crash_left_is_swept_and_its_number_used() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    // A process wrote file 2 and died before the role pointed at it.
    std::fs::write(world.crl_folder(&ca).join("2.crl"), "stray").unwrap();
    std::fs::write(world.crl_folder(&ca).join("1-abc.crl"), "stray").unwrap();
    std::fs::write(world.crl_folder(&ca).join("notes.txt"), "mine").unwrap();
    let first = world.crl(&ca).await;
    // The next process sweeps at its start.
    world.run_crl_job().await;
    assert_eq!(world.crl_files(&ca), ["1.crl", "notes.txt"]);
    renew(&world, 1).await;
    assert_eq!(world.crl_files(&ca), ["1.crl", "2.crl", "notes.txt"]);
    assert_eq!(world.listed(&ca).await.0, 2);
    assert_eq!(first.number().unwrap().unwrap().0, 1);
}

#[tokio::test]
async fn a_stray_in_the_way_is_never_served() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.catch_up().await;
    let job = world.va.crl_job();
    job.run(&system_caller("test"), world.db.now())
        .await
        .unwrap();
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.catch_up().await;
    // Not swept yet, as another process would leave it while this one runs.
    std::fs::write(world.crl_folder(&ca).join("2.crl"), "stray").unwrap();
    job.run(&system_caller("test"), world.db.now())
        .await
        .unwrap();
    let (_, replica) = world.replica().await;
    let served = get(&replica, &format!("/crl/{}", ca.ski), &[]).await;
    assert_eq!(served.status, 200);
    assert_eq!(
        served.body,
        world.get(&format!("/crl/{}", ca.ski)).await.body
    );
    assert_eq!(world.crl_files(&ca).len(), 2, "{:?}", world.crl_files(&ca));
}

#[tokio::test]
async fn only_the_last_crls_are_kept() {
    let keep = |keep_last_n| VaConfig {
        crl: CrlConfig {
            keep_last_n,
            ..CrlConfig::default()
        },
        ..VaConfig::default()
    };
    for (kept, expected) in [
        (2, vec!["4.crl", "5.crl"]),
        (0, vec!["1.crl", "2.crl", "3.crl", "4.crl", "5.crl"]),
    ] {
        let world = World::with_config(keep(kept)).await;
        world.follow_events();
        let ca = world.root("root-a").await;
        world.settle().await;
        renew(&world, 4).await;
        assert_eq!(world.crl_files(&ca), expected);
    }
}

#[tokio::test]
async fn a_lost_or_damaged_file_is_replaced_by_the_next_crl() {
    let damage: [fn(&World, &Ca); 3] = [
        |world, ca| std::fs::remove_file(world.crl_folder(ca).join("1.crl")).unwrap(),
        |world, ca| std::fs::write(world.crl_folder(ca).join("1.crl"), "torn").unwrap(),
        |world, ca| {
            let pem = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
            std::fs::write(world.crl_folder(ca).join("1.crl"), pem).unwrap();
        },
    ];
    for damage in damage {
        let world = World::running().await;
        let ca = world.root("root-a").await;
        world.settle().await;
        damage(&world, &ca);
        let (_, replica) = world.replica().await;
        let served = get(&replica, &format!("/crl/{}", ca.ski), &[]).await;
        assert_eq!(served.status, 200);
        assert_eq!(world.listed(&ca).await.0, 2);
    }
}
