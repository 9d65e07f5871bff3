//! Sets that share a transaction, or meet those of others.

use std::time::Duration;

use lamassu_db::{
    Check, CommitError, DbError, PostgresOptions, WriteSet, params, retry_races_up_to, sql,
};
use lamassu_testing::PostgresServer;

use super::{FREE, Gate, REVISION, creation, growing, growth, size, together};
use crate::fixture::{Fixture as _, Postgres, count, insert_thing, put_thing, soon};

const GUARD: Check = Check::new("the CA is as it was read");

fn options() -> PostgresOptions {
    PostgresServer::shared().fresh_schema()
}

#[tokio::test]
async fn of_colliding_inserts_in_one_batch_one_wins() {
    let fixture = Postgres::fresh().await;
    let sets = (0..10).map(|n| creation(fixture.db(), ["a", "b"][n % 2]));
    let outcomes = together(&fixture, sets.collect()).await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 2, "{outcomes:?}");
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(error.failed(FREE), "{error:?}");
    }
    assert_eq!(count(fixture.db(), "event_log").await, 2);
}

#[tokio::test]
async fn a_set_is_not_refused_for_what_a_refused_one_did() {
    let fixture = Postgres::fresh().await;
    put_thing(fixture.db(), "taken", "T", 0).await;
    // The first takes `x` and fails at `taken`; the second wants `x`.
    let mut failing = WriteSet::new();
    failing.expect_one(insert_thing("x", "T", 1), FREE);
    failing.expect_one(insert_thing("taken", "T", 1), FREE);
    let mut succeeding = WriteSet::new();
    succeeding.expect_one(insert_thing("x", "T", 2), FREE);
    let outcomes = together(&fixture, vec![failing, succeeding]).await;
    let error = outcomes[0].as_ref().expect_err("taken");
    assert!(error.failed(FREE), "{error:?}");
    outcomes[1].as_ref().expect("x is free after all");
    assert_eq!(size(fixture.db(), "x").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_colliding_inserts_of_two_processes_one_wins() {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    let ids: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    let commits = ids
        .iter()
        .flat_map(|id| [fixture.db(), &other].map(|db| db.commit(creation(db, id))));
    let outcomes = soon(futures_util::future::join_all(commits)).await;
    for (id, outcomes) in ids.iter().zip(outcomes.chunks(2)) {
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "{id}: {outcomes:?}");
        let lost = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
        assert!(lost.is_some_and(|error| error.failed(FREE)), "{lost:?}");
    }
    assert_eq!(count(fixture.db(), "thing").await, 60);
    assert_eq!(count(fixture.db(), "event_log").await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_race_on_a_revision_is_found_out_in_every_process() {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    put_thing(fixture.db(), "a", "A", 0).await;
    let rounds = (0..40).map(|n| {
        let db = if n % 2 == 0 { fixture.db() } else { &other };
        retry_races_up_to::<_, lamassu_core::device::DeviceError, _>(200, move || async move {
            let query = sql(
                "SELECT revision, size FROM thing WHERE id = 'a'",
                Vec::new(),
            );
            let row = db.row_opt(query).await?.expect("a row");
            let revision: i64 = row.get("revision").expect("revision");
            let size: i64 = row.get("size").expect("size");
            let mut set = WriteSet::new();
            set.expect_one(
                sql(
                    "UPDATE thing SET size = $1, revision = $2 WHERE id = 'a' AND revision = $3",
                    params![size + 1, revision + 1, revision],
                ),
                REVISION,
            );
            Ok(db.commit(set).await?)
        })
    });
    for outcome in soon(futures_util::future::join_all(rounds)).await {
        outcome.expect("in the end");
    }
    assert_eq!(size(fixture.db(), "a").await, 40);
}

#[tokio::test]
async fn a_change_and_a_guard_of_what_was_before_do_not_pass_together() {
    let fixture = Postgres::fresh().await;
    put_thing(fixture.db(), "ca", "CA", 0).await;
    put_thing(fixture.db(), "other", "O", 0).await;
    let guard = || {
        sql(
            "SELECT id FROM thing WHERE id = 'ca' AND revision = 1",
            Vec::new(),
        )
    };
    // In the order in which a batch applies them: by the text of the first change.
    let mut before = WriteSet::new();
    before.guard(guard(), GUARD);
    before.expect_one(insert_thing("issued before", "T", 0), FREE);
    let mut change = WriteSet::new();
    change.expect_one(
        sql("UPDATE thing SET revision = 2 WHERE id = 'ca'", Vec::new()),
        REVISION,
    );
    let mut after = WriteSet::new();
    after.guard(guard(), GUARD);
    after.expect_one(
        sql("UPDATE thing SET size = 7 WHERE id = 'other'", Vec::new()),
        REVISION,
    );
    let outcomes = together(&fixture, vec![after, change, before]).await;
    let error = outcomes[0].as_ref().expect_err("behind the change");
    assert!(error.failed(GUARD), "{error:?}");
    outcomes[1].as_ref().expect("the change");
    outcomes[2].as_ref().expect("ahead of the change");
    assert_eq!(size(fixture.db(), "other").await, 0);
}

#[tokio::test]
async fn a_guard_waits_for_who_changes_its_row_and_sees_the_change() {
    let fixture = Postgres::fresh().await;
    let gate = Gate::close(&fixture, "ca").await;
    let update = "UPDATE thing SET revision = 2 WHERE id = 'ca'";
    gate.client.batch_execute(update).await.expect("update");
    let mut set = WriteSet::new();
    set.guard(
        sql(
            "SELECT id FROM thing WHERE id = 'ca' AND revision = 1",
            Vec::new(),
        ),
        GUARD,
    );
    set.expect_one(insert_thing("issued", "T", 0), FREE);
    let db = fixture.db().clone();
    let commit = tokio::spawn(async move { db.commit(set).await });
    gate.is_waited_for(&fixture).await;
    gate.open().await;
    let error = soon(commit).await.expect("task").expect_err("changed");
    assert!(error.failed(GUARD), "{error:?}");
    assert_eq!(count(fixture.db(), "thing").await, 1);
}

#[tokio::test]
async fn the_victim_of_a_deadlock_goes_again() {
    let fixture = Postgres::fresh().await;
    put_thing(fixture.db(), "a", "A", 0).await;
    let gate = Gate::close(&fixture, "b").await;
    // The other side notices so late that we are the victim.
    gate.client
        .batch_execute("SET LOCAL deadlock_timeout = '60s'")
        .await
        .expect("superuser");
    let db = fixture.db().clone();
    let commit = tokio::spawn(async move { db.commit(growing(&["a", "b"])).await });
    gate.is_waited_for(&fixture).await;
    let update = "UPDATE thing SET size = size + 10 WHERE id = 'a'";
    soon(gate.client.batch_execute(update))
        .await
        .expect("ours gave way");
    gate.open().await;
    soon(commit).await.expect("task").expect("repeated");
    assert_eq!(size(fixture.db(), "a").await, 11);
    assert_eq!(size(fixture.db(), "b").await, 1);
}

#[tokio::test]
async fn only_who_waits_in_vain_for_a_lock_is_refused() {
    let fixture = Postgres::with(PostgresOptions {
        lock_timeout: Duration::from_millis(700),
        ..options()
    })
    .await;
    let held = Gate::close(&fixture, "held").await;
    let mut sets: Vec<_> = (0..5)
        .map(|n| creation(fixture.db(), &n.to_string()))
        .collect();
    sets.extend((0..4).map(|_| growing(&["held"])));
    let started = std::time::Instant::now();
    let mut outcomes = together(&fixture, sets).await;
    // The others that want the same row do not wait for as long again, each.
    assert!(
        started.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        started.elapsed()
    );
    for outcome in outcomes.split_off(5) {
        let error = outcome.expect_err("held");
        assert!(
            matches!(error, CommitError::Db(DbError::Busy(_))),
            "{error:?}"
        );
    }
    for outcome in outcomes {
        outcome.expect("does not need the row");
    }
    assert_eq!(count(fixture.db(), "event_log").await, 5);
    held.open().await;
    fixture.db().commit(growing(&["held"])).await.expect("free");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended() {
    let fixture = Postgres::with(PostgresOptions {
        statement_timeout: Duration::from_millis(400),
        ..options()
    })
    .await;
    let db = fixture.db();
    let read = sql("SELECT pg_sleep(20)", Vec::new());
    let error = soon(db.rows(read)).await.expect_err("too long");
    assert!(matches!(error, DbError::TimedOut), "{error:?}");
    put_thing(db, "a", "A", 0).await;
    let mut slow = WriteSet::new();
    slow.execute(sql(
        "UPDATE thing SET size = 7 WHERE id = 'a' AND (SELECT 1 FROM pg_sleep(20)) = 1",
        Vec::new(),
    ));
    let outcomes = together(&fixture, vec![slow, creation(db, "b")]).await;
    let error = outcomes[0].as_ref().expect_err("too long");
    assert!(
        matches!(error, CommitError::Db(DbError::TimedOut)),
        "{error:?}"
    );
    outcomes[1].as_ref().expect("not its fault");
    assert_eq!(size(db, "a").await, 0);
    let mut set = WriteSet::new();
    set.expect_one(growth("a"), REVISION);
    db.commit(set).await.expect("the connection is in order");
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_any_more_leaves_no_old_snapshot_behind() {
    let fixture = Postgres::with(PostgresOptions {
        max_connections: 1,
        ..options()
    })
    .await;
    let db = fixture.db();
    for _ in 0..20 {
        let reading = db.snapshot(vec![
            sql("SELECT COUNT(*) FROM thing", Vec::new()),
            sql("SELECT pg_sleep(0.01)", Vec::new()),
        ]);
        let given_up = tokio::time::timeout(Duration::from_millis(5), reading).await;
        drop(given_up);
    }
    put_thing(db, "a", "A", 0).await;
    assert_eq!(count(db, "thing").await, 1);
}
