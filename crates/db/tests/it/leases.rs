//! Leases are exclusive, expire and can be given back.

use std::time::Duration;

use lamassu_db::{Lease, while_leased};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Postgres, Sqlite, count, for_every_database, soon};

for_every_database!(
    a_lease_is_exclusive_until_it_is_released,
    an_expired_lease_goes_to_the_next_and_its_holder_notices,
);

const TTL: Duration = Duration::from_secs(30);

async fn a_lease_is_exclusive_until_it_is_released<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let held = Lease::try_acquire(db, "job", TTL)
        .await
        .expect("db")
        .expect("free");
    assert!(
        Lease::try_acquire(db, "job", TTL)
            .await
            .expect("db")
            .is_none()
    );
    assert!(
        Lease::try_acquire(db, "other", TTL)
            .await
            .expect("db")
            .is_some()
    );
    held.renew().await.expect("still held");
    held.release().await.expect("released");
    assert!(
        Lease::try_acquire(db, "job", TTL)
            .await
            .expect("db")
            .is_some()
    );
}

async fn an_expired_lease_goes_to_the_next_and_its_holder_notices<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let old = Lease::try_acquire(db, "job", TTL)
        .await
        .expect("db")
        .expect("free");
    fixture.clock().advance(time::Duration::seconds(30));
    let new = Lease::try_acquire(db, "job", TTL)
        .await
        .expect("db")
        .expect("expired");
    let error = old.renew().await.expect_err("lost");
    assert!(error.is_race(), "{error}");
    // Releasing what was lost takes nothing from the new holder.
    old.release().await.expect("nothing to do");
    new.renew().await.expect("still held");
}

#[tokio::test]
async fn work_runs_under_its_lease_and_gives_it_back() {
    let fixture = Postgres::fresh().await;
    let shutdown = CancellationToken::new();
    let (started, running) = oneshot::channel();
    let task = tokio::spawn({
        let (db, shutdown) = (fixture.db().clone(), shutdown.clone());
        async move {
            let mut started = Some(started);
            while_leased(&db, "job", TTL, &shutdown, || {
                let started = started.take();
                let shutdown = shutdown.clone();
                async move {
                    started.expect("one run").send(()).expect("waited for");
                    shutdown.cancelled().await;
                }
            })
            .await;
        }
    });
    soon(running).await.expect("started");
    assert!(
        Lease::try_acquire(fixture.db(), "job", TTL)
            .await
            .expect("db")
            .is_none()
    );
    shutdown.cancel();
    soon(task).await.expect("ended");
    assert!(
        Lease::try_acquire(fixture.db(), "job", TTL)
            .await
            .expect("db")
            .is_some()
    );
}

#[tokio::test]
async fn the_only_process_of_a_directory_works_without_writing() {
    let fixture = Sqlite::fresh().await;
    let shutdown = CancellationToken::new();
    let ran = while_leased(fixture.db(), "job", TTL, &shutdown, || async {
        assert_eq!(count(fixture.db(), "leases").await, 0);
        shutdown.cancel();
    });
    soon(ran).await;
    assert!(shutdown.is_cancelled());
}

#[tokio::test]
async fn a_released_lease_goes_to_who_waits_for_it_at_once() {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    let held = Lease::try_acquire(fixture.db(), "job", TTL)
        .await
        .expect("db")
        .expect("free");
    let shutdown = CancellationToken::new();
    let work = || async { shutdown.cancel() };
    let waiting = while_leased(&other, "job", TTL, &shutdown, work);
    let releasing = async {
        // Far less than the third of its time after which it is tried again.
        let early = tokio::time::timeout(Duration::from_millis(500), shutdown.cancelled());
        assert!(early.await.is_err(), "it is held");
        held.release().await.expect("released");
    };
    tokio::time::timeout(Duration::from_secs(5), async {
        tokio::join!(waiting, releasing)
    })
    .await
    .expect("before it is tried again");
}

#[tokio::test]
async fn a_restarted_owner_of_the_directory_takes_leases_over() {
    let mut fixture = Sqlite::fresh().await;
    let lost = Lease::try_acquire(fixture.db(), "job", TTL)
        .await
        .expect("db");
    assert!(lost.is_some());
    fixture.restart().await;
    let again = Lease::try_acquire(fixture.db(), "job", TTL)
        .await
        .expect("db");
    assert!(again.is_some());
}
