//! Leases are exclusive, expire and can be given back.

use std::time::Duration;

use lamassu_db::{Lease, while_leased};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Sqlite, for_every_database, soon};

for_every_database!(
    a_lease_is_exclusive_until_it_is_released,
    an_expired_lease_goes_to_the_next_and_its_holder_notices,
    work_runs_under_its_lease_and_gives_it_back,
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

async fn work_runs_under_its_lease_and_gives_it_back<F: Fixture>() {
    let fixture = F::fresh().await;
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
