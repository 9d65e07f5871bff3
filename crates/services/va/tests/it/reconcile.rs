//! The comparison with the CA service at start.

use lamassu_db::{WriteSet, instant, mark_restored, params, sql, system_caller};
use time::Duration;

use crate::support::World;

#[tokio::test]
async fn cas_and_revocations_from_before_are_taken_over() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.reconcile().await;
    assert_eq!(world.listed(&ca).await, (1, vec![issued.serial().to_hex()]));
    // The events tell nothing new then.
    world.follow_events();
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 1);
}

#[tokio::test]
async fn entries_that_events_did_not_tell_are_repaired() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let (kept, lost) = (world.issue(&ca, "1").await, world.issue(&ca, "2").await);
    world.settle().await;
    world.revoke(&kept, "KeyCompromise").await;
    world.revoke(&lost, "Superseded").await;
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 2);
    let mut set = WriteSet::new();
    set.execute(sql(
        "DELETE FROM va_revoked WHERE serial_number = $1",
        params![lost.serial().to_hex()],
    ));
    set.execute(sql(
        "INSERT INTO va_revoked (ca_id, serial_number, revoked_at, reason, valid_to) \
         VALUES ($1, 'abcd', 0, 1, $2)",
        params![ca.id.as_str(), world.db.now() + Duration::DAY],
    ));
    world.db.commit(set).await.unwrap();
    world.reconcile().await;
    world.settle().await;
    let mut expected = vec![kept.serial().to_hex(), lost.serial().to_hex()];
    expected.sort();
    assert_eq!(world.listed(&ca).await, (3, expected));
}

/// More than one page on our side, with entries of the CA service among them.
#[tokio::test]
async fn entries_of_many_pages_are_repaired() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    let (first, second) = (world.issue(&ca, "1").await, world.issue(&ca, "2").await);
    world.revoke(&first, "KeyCompromise").await;
    world.revoke(&second, "Superseded").await;
    world.settle().await;
    let mut set = WriteSet::new();
    set.execute(sql(
        "DELETE FROM va_revoked WHERE serial_number = $1",
        params![second.serial().to_hex()],
    ));
    let valid_to = world.db.now() + Duration::DAY;
    for n in 0..1_300_u32 {
        // Spread over all serial numbers.
        let serial = format!("{:08x}", n * 3_000_000 + 0x0100_0000);
        set.execute(sql(
            "INSERT INTO va_revoked (ca_id, serial_number, revoked_at, reason, valid_to) \
             VALUES ($1, $2, 0, 1, $3)",
            params![ca.id.as_str(), serial, valid_to],
        ));
    }
    world.db.commit(set).await.unwrap();
    world.reconcile().await;
    world.settle().await;
    let mut expected = vec![first.serial().to_hex(), second.serial().to_hex()];
    expected.sort();
    assert_eq!(world.listed(&ca).await.1, expected);
}

/// From a CA service that may be another process: its entries come page by page, and the list has them all.
#[tokio::test]
async fn a_very_long_list_is_taken_over() {
    const N: u64 = 20_000;
    const COPIED: &str = "revision, created_at, der, status, certificate_type, engine_id, metadata, \
         is_ca, subject_common_name, subject_common_name_folded, subject_key_id, \
         authority_key_id, key_type, key_bits, key_strength, key_usage, extended_key_usage, \
         valid_from, valid_to, issuer_ca_id, issuer_serial_number, issuer_level, \
         revocation_timestamp, revocation_reason, next_due, next_window, expired_by_job";
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let issued = world.issue(&ca, "device").await;
    world.revoke(&issued, "Superseded").await;
    let text = format!(
        "WITH RECURSIVE counter(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < {N}) \
         INSERT INTO certificate (id, serial_number, {COPIED}) \
         SELECT id || '-' || i, CAST(1000000000 + i AS TEXT), {COPIED} FROM certificate, counter \
         WHERE serial_number = $1"
    );
    let mut set = WriteSet::new();
    set.execute(sql(text, params![issued.serial().to_hex()]));
    world.db.commit(set).await.unwrap();
    world.reconcile().await;
    let (number, mut listed) = world.listed(&ca).await;
    listed.retain(|serial| *serial != issued.serial().to_hex());
    let expected: Vec<String> = (1..=N).map(|n| (1_000_000_000 + n).to_string()).collect();
    assert_eq!(number, 1);
    assert!(listed == expected, "{} entries", listed.len());
}

#[tokio::test]
async fn an_empty_installation_is_left_alone() {
    let world = World::running().await;
    world.reconcile().await;
    world.settle().await;
    assert_eq!(world.events().await, []);
}

/// The same backup restored twice: what was published in between is not repeated.
#[tokio::test]
async fn crl_numbers_never_go_back_after_a_restore() {
    let world = World::running().await;
    let (old, late) = (world.root("root-a").await, world.root("root-b").await);
    world.settle().await;
    assert_eq!(world.listed(&old).await.0, 1);
    let mut published = 1;
    for _ in 0..2 {
        // What the backup has: the first CRL of one CA, no role of the other.
        let mut set = WriteSet::new();
        set.execute(sql(
            "UPDATE va_role SET crl_number = 1 WHERE ca_ski = $1",
            params![old.ski.as_str()],
        ));
        set.execute(sql(
            "DELETE FROM va_role WHERE ca_ski = $1",
            params![late.ski.as_str()],
        ));
        world.db.commit(set).await.unwrap();
        world.clock.advance(Duration::SECOND);
        let now = world.db.now();
        mark_restored(&world.db, now).await.unwrap();

        let (va, _) = world.replica().await;
        for job in [va.crl_job(), va.reconcile_job(), va.crl_job()] {
            job.run(&system_caller("test"), now).await.unwrap();
        }
        let floor = u64::try_from(instant::to_micros(now)).unwrap();
        assert!(floor > published);
        assert_eq!(world.listed(&old).await.0, floor);
        assert_eq!(world.listed(&late).await.0, floor);
        // A start makes no further ones, and then they go on by one.
        let (va, _) = world.replica().await;
        va.crl_job().run(&system_caller("test"), now).await.unwrap();
        let revoked = world.issue(&old, "device").await;
        world.revoke(&revoked, "KeyCompromise").await;
        world.catch_up().await;
        va.crl_job()
            .run(&system_caller("test"), world.db.now())
            .await
            .unwrap();
        published = world.listed(&old).await.0;
        assert_eq!(published, floor + 1);
    }
}
