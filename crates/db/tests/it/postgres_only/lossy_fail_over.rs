//! A server takes over that lacks the last commits: what reads the log must not believe that it has
//! handled events whose places others get.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{
    Event, EventHandler, HandlerError, LoggedEvent, PostgresOptions, Subscription, WriteSet,
};
use lamassu_testing::PostgresServer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::events::{RETRY, Recorder, effects, publish};
use crate::fixture::{Fixture as _, Postgres, caller, eventually, soon};

/// More than the places that a server writes down ahead, so that those lost are given out again.
const LOST: std::ops::Range<i64> = 1_000..1_100;

/// Records events, but waits to be let go with those that get lost.
struct Gate {
    recorder: Recorder,
    arrived: Semaphore,
    open: Semaphore,
}

#[async_trait]
impl EventHandler for Gate {
    async fn handle(
        &self,
        caller: &Caller,
        events: &[LoggedEvent],
    ) -> Result<WriteSet, HandlerError> {
        let set = self.recorder.handle(caller, events).await?;
        let last: i64 = events.last().expect("an event").data()?;
        if LOST.contains(&last) {
            self.arrived.add_permits(1);
            self.open.acquire().await.expect("open").forget();
        }
        Ok(set)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_of_events_that_got_lost_is_not_stored() {
    let primary = PostgresServer::start(&["fsync=off"]).expect("server");
    let standby = primary.standby().expect("standby");
    let options = primary.fresh_schema();
    let hosts = [&primary, &standby].map(|server| ("127.0.0.1".to_owned(), server.port()));
    let fixture = Postgres::with(PostgresOptions {
        hosts: hosts.to_vec(),
        ..options
    })
    .await;
    let db = fixture.db();
    let gate = Arc::new(Gate {
        recorder: Recorder::default(),
        arrived: Semaphore::new(0),
        open: Semaphore::new(0),
    });
    let subscription = Subscription::new(db, "recorder", &["thing.#"])
        .batch(200)
        .retry(RETRY);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn({
        let (gate, shutdown) = (Arc::clone(&gate), shutdown.clone());
        async move { subscription.run(gate, &shutdown).await }
    });
    let kept = publish(db, "thing.create", 0).await;
    soon(db.caught_up("recorder", kept)).await;

    cut_off(&primary, &standby, &fixture.options().schema).await;
    let mut lost = WriteSet::new();
    for n in LOST {
        lost.event(Event::new("thing.create", "service/test", &caller(), db.now()).data(&n));
    }
    db.commit(lost).await.expect("commit");
    soon(gate.arrived.acquire())
        .await
        .expect("arrived")
        .forget();
    primary.crash().expect("crash");
    standby.promote().expect("promotion");
    soon(async { while db.ping().await.is_err() {} }).await;

    let mut found = WriteSet::new();
    for n in 1..=200 {
        found.event(Event::new("thing.create", "service/test", &caller(), db.now()).data(&n));
    }
    soon(async { while db.commit(found.clone()).await.is_err() {} }).await;
    gate.open.add_permits(10_000);
    eventually(|| async { effects(db).await.len() > 200 }).await;
    assert_eq!(effects(db).await, (0..=200).collect::<Vec<_>>());
    shutdown.cancel();
    soon(task).await.expect("subscription");
}

/// Waits until the standby has everything, and ends its following.
async fn cut_off(primary: &PostgresServer, standby: &PostgresServer, schema: &str) {
    let positions = format!("SELECT position FROM {schema}.subscriptions");
    eventually(|| async {
        let [here, there] = [primary, standby].map(|server| server.psql(&positions).ok());
        here.is_some() && here == there
    })
    .await;
    standby
        .psql("ALTER SYSTEM SET primary_conninfo = ''")
        .expect("setting");
    standby.psql("SELECT pg_reload_conf()").expect("reload");
    eventually(|| async {
        let following = standby.psql("SELECT COUNT(*) FROM pg_stat_wal_receiver");
        following.is_ok_and(|count| count.trim() == "0")
    })
    .await;
}
