//! The event log, its readers and their wake-ups, with several processes on one database.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lamassu_db::{
    Db, LogLimits, Seq, WriteSet, dead_letters, replay_dead_letter, sql, subscriptions, trim_log,
};
use lamassu_testing::PostgresServer;
use tokio_postgres::Client;

use crate::events::{Recorder, Running, effects, publish, subscription};
use crate::fixture::{Fixture as _, Postgres, caller, count, eventually, soon};

/// Inserts an event in the transaction of a session of somebody else, who tells nobody.
async fn insert_event(session: &Client, n: i64) -> Seq {
    let take_id = "SELECT pg_current_xact_id()::text";
    session.query_one(take_id, &[]).await.expect("id");
    let insert = "INSERT INTO event_log (event_type, subject, source, occurred_at, body) \
                  VALUES ('thing.create', NULL, 'raw', 0, $1) RETURNING seq";
    let body = serde_json::json!({ "data": n }).to_string();
    let row = session.query_one(insert, &[&body]).await.expect("event");
    Seq(row.get(0))
}

async fn caught_up(db: &Db, seq: Seq) {
    soon(db.caught_up("recorder", seq)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_holds_back_what_comes_behind_it() {
    let fixture = Postgres::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(db), &handler);
    let first = publish(db, "thing.create", 1).await;
    caught_up(db, first).await;

    let session = fixture.raw().await;
    session.batch_execute("BEGIN").await.expect("begin");
    let early = insert_event(&session, 2).await;
    let late = publish(db, "thing.create", 3).await;
    assert!(early < late);
    // Long enough for several looks at the log, woken and by itself.
    let too_early = db.caught_up("recorder", late);
    let waited = tokio::time::timeout(Duration::from_millis(1_200), too_early).await;
    assert!(waited.is_err(), "read past a place that was to appear");
    assert!(db.log_head().await.expect("head") < early);
    session.batch_execute("COMMIT").await.expect("commit");
    caught_up(db, late).await;
    running.stop().await;
    assert_eq!(effects(db).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_transaction_holds_its_place_too() {
    // A server of its own: the next transaction that ends anywhere would hide what this is about.
    let server = PostgresServer::start(&["fsync=off", "autovacuum=off"]).expect("server");
    let fixture = Postgres::with(server.fresh_schema()).await;
    let session = fixture.raw().await;
    session.batch_execute("BEGIN").await.expect("begin");
    let open = insert_event(&session, 1).await;
    for _ in 0..5 {
        assert!(fixture.db().log_head().await.expect("head") < open);
    }
    session.batch_execute("COMMIT").await.expect("commit");
    soon(async { while fixture.db().log_head().await.expect("head") < open {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_whose_transaction_is_given_up_is_a_gap() {
    let fixture = Postgres::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(db), &handler);
    let session = fixture.raw().await;
    session.batch_execute("BEGIN").await.expect("begin");
    insert_event(&session, 1).await;
    let late = publish(db, "thing.create", 2).await;
    session.batch_execute("ROLLBACK").await.expect("rollback");
    caught_up(db, late).await;
    running.stop().await;
    assert_eq!(effects(db).await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_nobody_announced_is_found() {
    let fixture = Postgres::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(db), &handler);
    let session = fixture.raw().await;
    let seq = insert_event(&session, 1).await;
    caught_up(db, seq).await;
    running.stop().await;
    assert_eq!(effects(db).await, [1]);
}

/// Waits until both processes of a database listen.
async fn all_listen(fixture: &Postgres, n: i64) {
    let session = fixture.raw().await;
    let query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND query = $1";
    let listen = format!("LISTEN {}", fixture.options().schema);
    eventually(|| {
        let (session, listen) = (&session, &listen);
        async move {
            let row = session.query_one(query, &[listen]).await;
            row.expect("activity").get::<_, i64>(0) == n
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_set_wakes_those_who_wait_in_other_processes() {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    all_listen(&fixture, 2).await;
    let mut signal = other.signal("cascade");
    let mut unrelated = other.signal("unrelated");
    unrelated.mark_unchanged();
    // Named signals have no heartbeat: only the notification can do it, each time.
    for _ in 0..5 {
        signal.mark_unchanged();
        let mut set = WriteSet::new();
        set.wake("cascade");
        set.execute(sql("DELETE FROM thing", Vec::new()));
        fixture.db().commit(set).await.expect("commit");
        soon(signal.changed()).await.expect("woken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_again_is_woken_for_what_was_missed() {
    let fixture = Postgres::fresh().await;
    all_listen(&fixture, 1).await;
    let mut signal = fixture.db().signal("cascade");
    signal.mark_unchanged();
    let session = fixture.raw().await;
    let listen = format!("LISTEN {}", fixture.options().schema);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1";
    session.execute(end, &[&listen]).await.expect("ended");
    soon(signal.changed()).await.expect("woken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_replayed_from_another_process() {
    let fixture = Postgres::fresh().await;
    let db = fixture.db();
    let other = fixture.another().await;
    all_listen(&fixture, 2).await;
    let handler = Arc::new(Recorder::default());
    handler.broken.store(true, Ordering::Relaxed);
    let running = Running::start(subscription(db), &handler);
    let poison = publish(db, "thing.create", 13).await;
    caught_up(db, poison).await;
    handler.broken.store(false, Ordering::Relaxed);
    let letters = dead_letters(&other, 0, 10).await.expect("dead letters");
    assert_eq!(letters.len(), 1);
    replay_dead_letter(&other, &caller(), letters[0].id)
        .await
        .expect("marked");
    eventually(|| async { count(&other, "dead_letters").await == 0 }).await;
    running.stop().await;
    assert_eq!(effects(db).await, [13]);
    assert_eq!(count(db, "audit_log").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_trim_what_there_is_once() {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(fixture.db()), &handler);
    let mut last = Seq(0);
    for n in 0..60 {
        last = publish(&other, "thing.create", n).await;
    }
    caught_up(fixture.db(), last).await;
    running.stop().await;
    publish(&other, "thing.create", 60).await;
    fixture.clock().advance(time::Duration::hours(2));
    let limits = LogLimits {
        batch: 7,
        ..LogLimits::default()
    };
    let trim = |db: Db| async move {
        let mut all = 0;
        for _ in 0..60 {
            all += trim_log(&db, limits).await.expect("trim");
        }
        all
    };
    let (one, two) = tokio::join!(trim(fixture.db().clone()), trim(other.clone()));
    assert_eq!(one + two, 60);
    // What the subscription has yet to handle stays.
    assert_eq!(count(&other, "event_log").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_each_process_keep_their_order() {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(fixture.db()).batch(16), &handler);
    let publish_all = |db: Db, from: i64| async move {
        let mut last = Seq(0);
        for n in from..from + 100 {
            last = publish(&db, "thing.create", n).await;
        }
        last
    };
    let (one, two) = tokio::join!(
        publish_all(fixture.db().clone(), 1_000),
        publish_all(other.clone(), 2_000)
    );
    caught_up(fixture.db(), one.max(two)).await;
    running.stop().await;
    let (first, second): (Vec<i64>, Vec<i64>) = effects(fixture.db())
        .await
        .into_iter()
        .partition(|n| *n < 2_000);
    assert_eq!(first, (1_000..1_100).collect::<Vec<_>>());
    assert_eq!(second, (2_000..2_100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_runs_in_one_process_and_moves_to_the_next() {
    let fixture = Postgres::fresh().await;
    let (one, two) = (fixture.db(), fixture.another().await);
    let (first, second) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let running = Running::start(subscription(one), &first);
    let seq = publish(one, "thing.create", 1).await;
    caught_up(one, seq).await;
    // The second process waits for its turn and does nothing meanwhile.
    let waiting = Running::start(subscription(&two), &second);
    let seq = publish(&two, "thing.create", 2).await;
    caught_up(one, seq).await;
    assert_eq!(first.handled.load(Ordering::Relaxed), 2);
    assert_eq!(second.handled.load(Ordering::Relaxed), 0);
    let status = subscriptions(&two).await.expect("subscriptions");
    let [status] = status.as_slice() else {
        panic!("one subscription: {status:?}");
    };
    assert_eq!((status.name.as_str(), status.position), ("recorder", seq));
    assert_eq!((status.lag, status.waiting_since), (0, None));
    let holder = status.holder.as_deref().expect("somebody reads");
    assert!(
        holder.contains(&format!("/{}/", std::process::id())),
        "{holder}"
    );
    // It takes over at once from a process that ends in good order…
    running.stop().await;
    let seq = publish(one, "thing.create", 3).await;
    tokio::time::timeout(Duration::from_secs(3), two.caught_up("recorder", seq))
        .await
        .expect("before the lease would have ended");
    // …and once the lease has ended from one that was killed.
    let third = Running::start(subscription(one), &first);
    waiting.task.abort();
    let seq = publish(one, "thing.create", 4).await;
    fixture.clock().advance(time::Duration::seconds(11));
    caught_up(one, seq).await;
    third.stop().await;
    assert_eq!(effects(one).await, [1, 2, 3, 4]);
    assert_eq!(second.handled.load(Ordering::Relaxed), 1);
}
