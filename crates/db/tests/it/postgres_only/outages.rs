//! Servers that crash, stop taking writes, hand over, or have too few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lamassu_core::error::{ErrorKind, StorageFailure};
use lamassu_db::{Db, DbError, PostgresOptions, WriteSet, params, sql};
use lamassu_testing::PostgresServer;

use super::{FREE, creation};
use crate::fixture::{Fixture as _, Postgres, count, eventually, insert_thing, put_thing, soon};

fn start(settings: &[&str]) -> PostgresServer {
    let mut all = vec!["fsync=off"];
    all.extend(settings);
    PostgresServer::start(&all).expect("server")
}

/// Several who commit one set after the other until told to stop, and write down what they were
/// told.
struct Committers {
    stop: Arc<AtomicBool>,
    confirmed: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Committers {
    fn start(db: &Db) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let confirmed = Arc::new(AtomicUsize::new(0));
        let tasks = (0..4).map(|worker| {
            let (db, stop, confirmed) = (db.clone(), Arc::clone(&stop), Arc::clone(&confirmed));
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in 0_usize.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("{worker}-{n}");
                    let mut set = creation(&db, &id);
                    set.expect_one(insert_thing(&format!("{id}+"), "T", 0), FREE);
                    match db.commit(set).await {
                        Ok(_) => {
                            ids.push(id);
                            confirmed.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let kind = StorageFailure::from(error.clone()).kind();
                            assert_eq!(kind, ErrorKind::Unavailable, "{error:?}");
                        }
                    }
                }
                ids
            })
        });
        let tasks = tasks.collect();
        Self {
            stop,
            confirmed,
            tasks,
        }
    }

    /// Waits until some more sets are confirmed.
    async fn go_on(&self) {
        let before = self.confirmed.load(Ordering::Relaxed);
        eventually(|| async { self.confirmed.load(Ordering::Relaxed) > before + 20 }).await;
    }

    /// Ends them and checks that what was confirmed is there, and nothing by half.
    async fn check(self, db: &Db) {
        self.stop.store(true, Ordering::Relaxed);
        let rows = |table: &'static str| async move { count(db, table).await };
        let mut confirmed = 0;
        for task in self.tasks {
            for id in soon(task).await.expect("task") {
                confirmed += 1;
                let query = sql(
                    "SELECT COUNT(*) AS n FROM thing WHERE id IN ($1, $2)",
                    params![&id, format!("{id}+")],
                );
                let row = db.row_opt(query).await.expect("query").expect("row");
                assert_eq!(row.get::<i64>("n").expect("n"), 2, "{id}");
            }
        }
        let (things, events) = (rows("thing").await, rows("event_log").await);
        assert_eq!(things, 2 * events, "half a set");
        // What was confirmed to nobody may be there as well.
        assert!(events >= confirmed && confirmed > 0, "{events} {confirmed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_that_was_confirmed() {
    // The others in this file are about who takes over, and their servers never sync.
    let server = Arc::new(PostgresServer::start_lazy().expect("server"));
    let fixture = Postgres::with(server.fresh_schema()).await;
    let committers = Committers::start(fixture.db());
    committers.go_on().await;
    let crashing = Arc::clone(&server);
    tokio::task::spawn_blocking(move || crashing.crash())
        .await
        .expect("task")
        .expect("crash");
    let error = fixture.db().ping().await.expect_err("down");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let resuming = Arc::clone(&server);
    tokio::task::spawn_blocking(move || resuming.resume())
        .await
        .expect("task")
        .expect("resume");
    committers.go_on().await;
    soon(async { while fixture.db().ping().await.is_err() {} }).await;
    committers.check(fixture.db()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_left_until_it_does() {
    let server = start(&[]);
    let fixture = Postgres::with(server.fresh_schema()).await;
    let db = fixture.db();
    put_thing(db, "a", "A", 0).await;
    server
        .psql("ALTER SYSTEM SET default_transaction_read_only = on")
        .expect("setting");
    server.psql("SELECT pg_reload_conf()").expect("reload");
    let refused = soon(async {
        for n in 0.. {
            if let Err(error) = db.commit(creation(db, &n.to_string())).await {
                return Some(error);
            }
        }
        None
    })
    .await;
    let failure = StorageFailure::from(refused.expect("refused"));
    assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure:?}");
    // Reading goes on.
    assert!(count(db, "thing").await >= 1);
    server
        .psql("ALTER SYSTEM RESET default_transaction_read_only")
        .expect("setting");
    server.psql("SELECT pg_reload_conf()").expect("reload");
    soon(async { while db.commit(creation(db, "again")).await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_is_followed() {
    let primary = start(&["synchronous_standby_names='*'", "synchronous_commit=local"]);
    let standby = primary.standby().expect("standby");
    let options = primary.fresh_schema();
    // The standby comes first and is passed over as long as it takes no writes.
    let hosts = [&standby, &primary].map(|server| ("127.0.0.1".to_owned(), server.port()));
    let fixture = Postgres::with(PostgresOptions {
        hosts: hosts.to_vec(),
        ..options
    })
    .await;
    primary
        .psql("ALTER SYSTEM SET synchronous_commit = on")
        .expect("setting");
    primary.psql("SELECT pg_reload_conf()").expect("reload");
    let committers = Committers::start(fixture.db());
    committers.go_on().await;
    primary.crash().expect("crash");
    standby
        .psql("ALTER SYSTEM SET synchronous_standby_names = ''")
        .expect("setting");
    standby.promote().expect("promotion");
    committers.go_on().await;
    soon(async { while fixture.db().ping().await.is_err() {} }).await;
    committers.check(fixture.db()).await;
    let port: String = text(fixture.db(), "SELECT current_setting('port') AS t").await;
    assert_eq!(port, standby.port().to_string());
}

/// The old server goes on, taking no writes: whoever only reads must not go on reading its past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_left_is_not_read_from() {
    let primary = start(&[]);
    let standby = primary.standby().expect("standby");
    let options = primary.fresh_schema();
    let hosts = [&primary, &standby].map(|server| ("127.0.0.1".to_owned(), server.port()));
    let fixture = Postgres::with(PostgresOptions {
        hosts: hosts.to_vec(),
        ..options
    })
    .await;
    let port = || async { text(fixture.db(), "SELECT current_setting('port') AS t").await };
    assert_eq!(port().await, primary.port().to_string());
    let position = primary.psql("SELECT pg_current_wal_lsn()").expect("place");
    let position = position.trim();
    eventually(|| async {
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
        standby.psql(&replayed).is_ok_and(|is| is.trim() == "t")
    })
    .await;
    primary
        .psql("ALTER SYSTEM SET default_transaction_read_only = on")
        .expect("setting");
    primary.psql("SELECT pg_reload_conf()").expect("reload");
    standby.promote().expect("promotion");
    // New connections find the standby at once; old ones go with the next look at the log.
    eventually(|| async {
        for _ in 0..40 {
            if port().await != standby.port().to_string() {
                return false;
            }
        }
        true
    })
    .await;
}

async fn text(db: &Db, query: &'static str) -> String {
    let row = db.row_opt(sql(query, Vec::new())).await;
    row.expect("query").expect("row").get("t").expect("text")
}

/// What `synchronous_commit` is in a transaction that writes.
async fn confirmation(db: &Db) -> String {
    let mut set = WriteSet::new();
    set.execute(sql(
        "UPDATE thing SET note = current_setting('synchronous_commit') WHERE id = 'a'",
        Vec::new(),
    ));
    db.commit(set).await.expect("commit");
    text(db, "SELECT note AS t FROM thing").await
}

#[tokio::test]
async fn commits_are_durable_where_the_defaults_are_not() {
    let server = start(&[]);
    let fixture = Postgres::with(server.fresh_schema()).await;
    put_thing(fixture.db(), "a", "A", 0).await;
    assert_eq!(confirmation(fixture.db()).await, "on");
    // The default goes down under a session that is in use.
    server
        .psql("ALTER SYSTEM SET synchronous_commit = off")
        .expect("setting");
    server.psql("SELECT pg_reload_conf()").expect("reload");
    let seen = fixture.db();
    let default = "SELECT current_setting('synchronous_commit') AS t";
    eventually(|| async { text(seen, default).await == "off" }).await;
    assert_eq!(confirmation(fixture.db()).await, "on");
    // Those of a database and of a role are worth no more.
    for place in ["DATABASE postgres", "ROLE lamassu"] {
        server
            .psql(&format!("ALTER {place} SET synchronous_commit = off"))
            .expect("setting");
        let other = fixture.another().await;
        assert_eq!(confirmation(&other).await, "on", "{place}");
        other.close().await;
    }
    // And where it means more than that, it is left alone.
    server
        .psql("ALTER ROLE lamassu SET synchronous_commit = remote_apply")
        .expect("setting");
    let other = fixture.another().await;
    assert_eq!(confirmation(&other).await, "remote_apply");
}

#[tokio::test]
async fn who_finds_no_free_connection_is_told_in_time() {
    let fixture = Postgres::with(PostgresOptions {
        max_connections: 2,
        acquire_timeout: Duration::from_millis(300),
        ..PostgresServer::shared().fresh_schema()
    })
    .await;
    let db = fixture.db().clone();
    let sleep = || sql("SELECT pg_sleep(3)", Vec::new());
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.rows(sleep()).await })
        })
        .collect();
    let raw = fixture.raw().await;
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3)'";
    eventually(|| {
        let asked = raw.query_one(asleep, &[]);
        async move { asked.await.expect("activity").get::<_, i64>(0) == 2 }
    })
    .await;
    let started = std::time::Instant::now();
    let error = db.ping().await.expect_err("no connection");
    assert!(matches!(error, DbError::Overloaded), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    // The writer has a connection of its own.
    put_thing(&db, "a", "A", 0).await;
    for one in busy {
        soon(one).await.expect("task").expect("read");
    }
    db.ping().await.expect("free again");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    // It takes connections, as the system does for a program that hangs.
    let mute = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port");
    let port = mute.local_addr().expect("address").port();
    let options = PostgresOptions {
        hosts: vec![("127.0.0.1".to_owned(), port)],
        connect_timeout: Duration::from_millis(200),
        ..PostgresServer::shared().fresh_schema()
    };
    let clock: lamassu_core::clock::SharedClock = Arc::new(lamassu_core::clock::SystemClock);
    let opened = tokio::time::timeout(Duration::from_secs(5), Db::open_postgres(options, clock));
    let error = opened.await.expect("in time").expect_err("no server");
    assert!(error.to_string().contains("cannot be opened"), "{error:?}");
}

/// One connection for everything, so that it shows whether it was used again.
async fn with_one_connection() -> Postgres {
    Postgres::with(PostgresOptions {
        max_connections: 1,
        ..PostgresServer::shared().fresh_schema()
    })
    .await
}

async fn connection(db: &Db) -> i64 {
    let query = sql("SELECT CAST(pg_backend_pid() AS bigint) AS n", Vec::new());
    let row = db.row_opt(query).await.expect("query").expect("row");
    row.get("n").expect("number")
}

/// A server that was demoted keeps its connections, and refuses what only a primary can do.
#[tokio::test]
async fn a_stream_leaves_the_connection_of_a_server_that_takes_no_writes() {
    let fixture = with_one_connection().await;
    let db = fixture.db();
    let before = connection(db).await;
    let statement = sql("SELECT nextval('event_log_seq_seq') AS n", Vec::new());
    let mut stream = db.stream(statement, 10).await.expect("stream");
    let error = stream.next().await.expect_err("read only");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_ne!(connection(db).await, before);
}

#[tokio::test]
async fn a_look_at_the_log_leaves_the_connection_of_a_server_that_takes_no_writes() {
    let fixture = with_one_connection().await;
    let db = fixture.db();
    db.log_head().await.expect("head");
    let before = connection(db).await;
    let raw = fixture.raw().await;
    raw.batch_execute(
        "ALTER SEQUENCE event_log_seq_seq RENAME TO hidden; \
         CREATE FUNCTION demoted() RETURNS bigint LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'no writes here' USING ERRCODE = '25006'; END $$; \
         CREATE VIEW event_log_seq_seq AS SELECT demoted() AS last_value, true AS is_called",
    )
    .await
    .expect("demotion");
    let error = db.log_head().await.expect_err("demoted");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_ne!(connection(db).await, before);
    raw.batch_execute(
        "DROP VIEW event_log_seq_seq; ALTER SEQUENCE hidden RENAME TO event_log_seq_seq",
    )
    .await
    .expect("promotion");
    db.log_head().await.expect("head");
}
