//! Subscriptions: order, effect exactly once, dead letters, trimming.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{
    AuditRecord, Db, Dialect, Event, EventHandler, HandlerError, Job as _, LogLimits, LoggedEvent,
    RetryPolicy, Seq, StartAt, Subscription, TrimLog, WriteSet, dead_letters, discard_dead_letter,
    forget_subscription, params, replay_dead_letter, sql, subscriptions, trim_log, trim_refusals,
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, caller, count, for_every_database, head_reaches, soon};

for_every_database!(
    events_take_effect_once_and_in_order_across_restarts,
    only_matching_events_are_delivered,
    a_subscription_that_starts_at_the_head_sees_nothing_older,
    a_batch_is_delivered_together,
    a_poison_event_is_set_aside_and_can_be_replayed,
    all_marked_dead_letters_are_replayed,
    a_panicking_handler_does_not_stop_the_subscription,
    an_unavailable_dependency_is_waited_for,
    handled_events_are_trimmed_behind_the_slowest,
    too_many_events_are_dropped_oldest_first,
    refusals_are_kept_up_to_a_number,
    a_subscription_that_nobody_runs_is_forgotten_on_request,
    who_looks_sees_how_far_a_subscription_is_behind,
);

/// Fast enough for tests.
pub(crate) const RETRY: RetryPolicy = RetryPolicy {
    attempts: 3,
    unavailable_attempts: 1_000,
    first_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(5),
};

/// Writes one row per event; fails as it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) broken: AtomicBool,
    panics: AtomicBool,
    unavailable_for: AtomicU32,
    largest_batch: AtomicU32,
    pub(crate) handled: AtomicU32,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot digest {0}")]
struct Indigestible(String);

#[async_trait]
impl EventHandler for Recorder {
    async fn handle(&self, _: &Caller, events: &[LoggedEvent]) -> Result<WriteSet, HandlerError> {
        let size = u32::try_from(events.len()).expect("small");
        self.largest_batch.fetch_max(size, Ordering::Relaxed);
        self.handled.fetch_add(size, Ordering::Relaxed);
        let mut set = WriteSet::new();
        for event in events {
            let n: i64 = event.data()?;
            let waits = self.unavailable_for.load(Ordering::Relaxed);
            if waits > 0 {
                self.unavailable_for.store(waits - 1, Ordering::Relaxed);
                return Err(HandlerError::Unavailable(Arc::new(Indigestible(
                    "now".into(),
                ))));
            }
            if n == 13 && self.panics.load(Ordering::Relaxed) {
                panic!("a defect in the handler");
            }
            if n == 13 && self.broken.load(Ordering::Relaxed) {
                return Err(HandlerError::failed(Indigestible(n.to_string())));
            }
            set.execute(sql(
                "INSERT INTO effect (n, seq) VALUES ($1, $2)",
                params![n, event.seq.0],
            ));
        }
        Ok(set)
    }
}

pub(crate) async fn publish(db: &Db, event_type: &'static str, n: i64) -> Seq {
    let mut set = WriteSet::new();
    set.event(Event::new(event_type, "service/test", &caller(), db.now()).data(&n));
    let committed = db.commit(set).await.expect("commit");
    committed.last_event().expect("an event")
}

pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(subscription: Subscription, handler: &Arc<Recorder>) -> Self {
        let shutdown = CancellationToken::new();
        let (token, handler) = (shutdown.clone(), Arc::clone(handler));
        let task = tokio::spawn(async move { subscription.run(handler, &token).await });
        Self { shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        soon(self.task).await.expect("subscription");
    }
}

pub(crate) async fn effects(db: &Db) -> Vec<i64> {
    let query = sql("SELECT n FROM effect ORDER BY seq", Vec::new());
    let rows = db.rows(query).await.expect("query");
    rows.iter()
        .map(|row| row.get("n").expect("a number"))
        .collect()
}

pub(crate) fn subscription(db: &Db) -> Subscription {
    Subscription::new(db, "recorder", &["thing.#"]).retry(RETRY)
}

async fn events_take_effect_once_and_in_order_across_restarts<F: Fixture>() {
    let mut fixture = F::fresh().await;
    let handler = Arc::new(Recorder::default());
    for round in 0..4 {
        let running = Running::start(subscription(fixture.db()), &handler);
        for n in round * 10..round * 10 + 10 {
            publish(fixture.db(), "thing.create", n).await;
        }
        // Stopped in the middle of the work, wherever that is: in good order, or as by a crash.
        if round % 2 == 0 {
            running.stop().await;
        } else {
            running.task.abort();
            // What a killed process held is free a little later.
            fixture.clock().advance(time::Duration::seconds(11));
        }
        fixture.restart().await;
    }
    let running = Running::start(subscription(fixture.db()), &handler);
    let last = publish(fixture.db(), "thing.create", 40).await;
    soon(fixture.db().caught_up("recorder", last)).await;
    running.stop().await;
    assert_eq!(effects(fixture.db()).await, (0..=40).collect::<Vec<_>>());
}

async fn only_matching_events_are_delivered<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let subscription = Subscription::new(db, "recorder", &["thing.create", "part.#"]);
    let running = Running::start(subscription, &handler);
    for (n, event_type) in [
        "thing.create",
        "thing.created",
        "part.lost",
        "party",
        "part.x.y",
    ]
    .into_iter()
    .enumerate()
    {
        let seq = publish(db, event_type, i64::try_from(n).expect("small")).await;
        soon(db.caught_up("recorder", seq)).await;
    }
    running.stop().await;
    assert_eq!(effects(db).await, [0, 2, 4]);
}

async fn a_subscription_that_starts_at_the_head_sees_nothing_older<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let old = publish(db, "thing.create", 1).await;
    // Until then it is not old.
    head_reaches(db, old).await;
    let running = Running::start(subscription(db).starting_at(StartAt::Head), &handler);
    soon(db.caught_up("recorder", old)).await;
    let new = publish(db, "thing.create", 2).await;
    soon(db.caught_up("recorder", new)).await;
    running.stop().await;
    assert_eq!(effects(db).await, [2]);
}

async fn a_batch_is_delivered_together<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let mut last = Seq(0);
    for n in 0..20 {
        last = publish(db, "thing.create", n).await;
    }
    // Where transactions of others are open, the log becomes readable bit by bit.
    head_reaches(db, last).await;
    let running = Running::start(subscription(db).batch(64), &handler);
    soon(db.caught_up("recorder", last)).await;
    running.stop().await;
    assert_eq!(handler.largest_batch.load(Ordering::Relaxed), 20);
    assert_eq!(effects(db).await, (0..20).collect::<Vec<_>>());
}

async fn a_poison_event_is_set_aside_and_can_be_replayed<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    handler.broken.store(true, Ordering::Relaxed);
    let running = Running::start(subscription(db).batch(8), &handler);
    let mut last = Seq(0);
    for n in [12, 13, 14] {
        last = publish(db, "thing.create", n).await;
    }
    soon(db.caught_up("recorder", last)).await;

    let letters = dead_letters(db, 0, 10).await.expect("dead letters");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attempts, 3);
    assert_eq!(
        letters[0].error,
        "the event handler failed: cannot digest 13"
    );
    assert_eq!(effects(db).await, [12, 14]);

    // Still broken: kept, with one more attempt.
    replay_dead_letter(db, &caller(), letters[0].id)
        .await
        .expect("marked");
    soon(async {
        while dead_letters(db, 0, 10).await.expect("dead letters")[0].attempts < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    handler.broken.store(false, Ordering::Relaxed);
    replay_dead_letter(db, &caller(), letters[0].id)
        .await
        .expect("marked");
    soon(async {
        while !dead_letters(db, 0, 10)
            .await
            .expect("dead letters")
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.stop().await;
    assert_eq!(effects(db).await, [12, 13, 14]);
    let error = discard_dead_letter(db, &caller(), letters[0].id)
        .await
        .expect_err("gone");
    assert!(error.is_race(), "{error}");
}

async fn all_marked_dead_letters_are_replayed<F: Fixture>() {
    const LETTERS: i64 = 230;
    let fixture = F::fresh().await;
    let db = fixture.db();
    let mut set = WriteSet::new();
    for n in 0..LETTERS {
        set.execute(sql(
            "INSERT INTO dead_letters (subscription, seq, event_type, subject, body, error, \
             attempts, failed_at, replay) \
             VALUES ('recorder', $1, 'thing.create', NULL, $2, 'broken', 3, $3, $4)",
            params![
                n,
                serde_json::json!({ "data": n }).to_string(),
                db.now(),
                true
            ],
        ));
    }
    db.commit(set).await.expect("dead letters");
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(db), &handler);
    // Nothing wakes the subscription meanwhile.
    soon(async {
        while count(db, "effect").await < LETTERS {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.stop().await;
    assert_eq!(count(db, "dead_letters").await, 0);
}

async fn a_panicking_handler_does_not_stop_the_subscription<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    handler.panics.store(true, Ordering::Relaxed);
    let running = Running::start(subscription(db), &handler);
    publish(db, "thing.create", 13).await;
    let last = publish(db, "thing.create", 14).await;
    soon(db.caught_up("recorder", last)).await;
    running.stop().await;
    let letters = dead_letters(db, 0, 10).await.expect("dead letters");
    assert_eq!(
        letters[0].error,
        "the event handler failed: the event handler panicked"
    );
    assert_eq!(effects(db).await, [14]);
}

async fn an_unavailable_dependency_is_waited_for<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    handler.unavailable_for.store(20, Ordering::Relaxed);
    let running = Running::start(subscription(db), &handler);
    let last = publish(db, "thing.create", 1).await;
    soon(db.caught_up("recorder", last)).await;
    running.stop().await;
    assert_eq!(effects(db).await, [1]);
    assert_eq!(count(db, "dead_letters").await, 0);
}

async fn handled_events_are_trimmed_behind_the_slowest<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(db), &handler);
    let handled = publish(db, "thing.create", 1).await;
    soon(db.caught_up("recorder", handled)).await;
    running.stop().await;
    publish(db, "thing.create", 2).await;

    assert_eq!(trim_log(db, LogLimits::default()).await.expect("trim"), 0);
    fixture.clock().advance(time::Duration::hours(2));
    assert_eq!(trim_log(db, LogLimits::default()).await.expect("trim"), 1);
    assert_eq!(count(db, "event_log").await, 1);
    // A wall clock that jumps ahead makes nothing old that nobody has handled: only time does in which
    // somebody could have.
    fixture.clock().advance(time::Duration::days(400));
    let job = TrimLog::new(db, LogLimits::default());
    for _ in 0..2 {
        job.run(&caller(), db.now()).await.expect("trim");
    }
    assert_eq!(count(db, "event_log").await, 1);
    let day = 24 * 60 * 60 * 1_000_000_i64;
    let ran = |days: i64| {
        let marks = json!([{"micros": day, "newest": 2}, {"micros": 2 * day, "newest": 2}]);
        json!({"micros": days * day, "marks": marks})
    };
    for (days, n_dropped) in [(30, 0), (31, 1)] {
        let mut set = WriteSet::new();
        set.execute(sql(
            "UPDATE settings SET value = $1 WHERE name = 'log_running_time'",
            params![ran(days).to_string().into_bytes()],
        ));
        db.commit(set).await.expect("commit");
        let dropped = trim_log(db, LogLimits::default()).await.expect("trim");
        assert_eq!(dropped, n_dropped, "{days}");
    }
    // The log's places go on where they were.
    assert!(publish(db, "thing.create", 3).await > Seq(2));
}

async fn too_many_events_are_dropped_oldest_first<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let running = Running::start(subscription(db), &Arc::new(Recorder::default()));
    let handled = publish(db, "thing.create", 0).await;
    soon(db.caught_up("recorder", handled)).await;
    running.stop().await;
    for n in 1..=10 {
        publish(db, "thing.create", n).await;
    }
    let limits = LogLimits {
        max_events: 6,
        batch: 3,
        ..LogLimits::default()
    };
    let mut gone = Vec::new();
    loop {
        match trim_log(db, limits).await.expect("trim") {
            0 => break,
            n => gone.push(n),
        }
    }
    assert_eq!(gone, [3, 2]);
    // What is left is handled as ever.
    let running = Running::start(subscription(db), &Arc::new(Recorder::default()));
    let last = publish(db, "thing.create", 11).await;
    soon(db.caught_up("recorder", last)).await;
    running.stop().await;
    assert_eq!(effects(db).await, [0, 5, 6, 7, 8, 9, 10, 11]);
}

async fn refusals_are_kept_up_to_a_number<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for n in 0..8 {
        let record = AuditRecord::done(&caller(), "thing.create", n.to_string(), db.now());
        let mut set = WriteSet::new();
        // Every other one was refused.
        set.audit(if n % 2 == 0 {
            record
        } else {
            record.refused("no")
        });
        db.commit(set).await.expect("commit");
    }
    assert_eq!(trim_refusals(db, 4, 10).await.expect("trim"), 0);
    assert_eq!(trim_refusals(db, 1, 2).await.expect("trim"), 2);
    assert_eq!(trim_refusals(db, 1, 2).await.expect("trim"), 1);
    let query = sql("SELECT resource FROM audit_log ORDER BY id", Vec::new());
    let rows = db.rows(query).await.expect("query");
    let left: Vec<String> = rows
        .iter()
        .map(|row| row.get("resource").expect("text"))
        .collect();
    assert_eq!(left, ["0", "2", "4", "6", "7"]);
}

async fn a_subscription_that_nobody_runs_is_forgotten_on_request<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let forget = |name: &'static str| async move { forget_subscription(db, &caller(), name).await };
    let running = Running::start(subscription(db), &Arc::new(Recorder::default()));
    let handled = publish(db, "thing.create", 1).await;
    soon(db.caught_up("recorder", handled)).await;
    if db.dialect() == Dialect::Postgres {
        // Of an SQLite file, who reads is who would forget.
        assert!(forget("recorder").await.expect_err("in use").is_race());
    }
    running.stop().await;
    assert!(forget("another").await.expect_err("unknown").is_race());
    forget("recorder").await.expect("forgotten");
    assert_eq!(subscriptions(db).await.expect("subscriptions"), []);
}

async fn who_looks_sees_how_far_a_subscription_is_behind<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let handler = Arc::new(Recorder::default());
    let running = Running::start(subscription(db), &handler);
    let handled = publish(db, "thing.create", 1).await;
    soon(db.caught_up("recorder", handled)).await;
    running.stop().await;
    let waiting_since = db.now();
    publish(db, "thing.create", 2).await;
    fixture.clock().advance(time::Duration::minutes(5));
    publish(db, "thing.create", 3).await;
    let status = subscriptions(db).await.expect("subscriptions");
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].name, "recorder");
    assert_eq!((status[0].position, status[0].lag), (handled, 2));
    assert_eq!(status[0].waiting_since, Some(waiting_since));
    assert_eq!(status[0].holder, None);
}
