//! What only the SQLite file has: its directory, its size, its queue.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use lamassu_core::clock::SystemClock;
use lamassu_core::error::{ErrorKind, StorageFailure};
use lamassu_db::{
    Check, CommitError, DataDir, Db, DbError, Migration, OpenError, Schema, SqliteOptions,
    Statement, WriteSet, check_sqlite, copy_sqlite, installation_id, mark_restored, params,
    restored_at, sql,
};

use crate::fixture::{Fixture, Sqlite, count, insert_thing, put_thing, soon};

const FREE: Check = Check::new("free");

#[tokio::test]
async fn a_second_owner_of_the_directory_is_refused_by_pid() {
    let fixture = Sqlite::fresh().await;
    let error = DataDir::open(fixture.path()).expect_err("locked");
    assert_eq!(
        error.to_string(),
        format!(
            "data directory {} is in use by process {}",
            fixture.path().display(),
            std::process::id()
        )
    );
    fixture.db().close().await;
    DataDir::open(fixture.path()).expect("free after close");
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let fixture = Sqlite::fresh().await;
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .expect("metadata")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(fixture.path()), 0o700);
    for entry in std::fs::read_dir(fixture.path()).expect("directory") {
        let path = entry.expect("entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_full_database_refuses_whole_sets_and_recovers() {
    let options = SqliteOptions {
        max_bytes: Some(512 * 1024),
        ..SqliteOptions::default()
    };
    let fixture = Sqlite::with(options).await;
    let db = fixture.db();
    put_thing(db, "small", "S", 1).await;
    let large = |id: String| {
        let mut set = WriteSet::new();
        set.expect_one(insert_thing(&format!("{id}-first"), "x", 1), FREE);
        set.expect_one(insert_thing(&id, &"x".repeat(100_000), 1), FREE);
        set
    };
    let mut stored = 1;
    let error = loop {
        match db.commit(large(stored.to_string())).await {
            Ok(_) => stored += 2,
            Err(error) => break error,
        }
        assert!(stored < 100, "the limit never bites");
    };
    assert!(
        matches!(error, CommitError::Db(DbError::Full(_))),
        "{error:?}"
    );
    assert_eq!(StorageFailure::from(error).kind(), ErrorKind::Unavailable);
    assert_eq!(count(db, "thing").await, stored);

    let mut set = WriteSet::new();
    set.execute(sql("DELETE FROM thing WHERE id <> $1", params!["small"]));
    db.commit(set).await.expect("room is made");
    db.commit(large("again".to_owned()))
        .await
        .expect("fits again");
}

#[tokio::test]
async fn a_full_queue_is_overload_at_once() {
    let options = SqliteOptions {
        write_queue: 1,
        ..SqliteOptions::default()
    };
    let fixture = Sqlite::with(options).await;
    let commits = (0..200).map(|n| {
        let mut set = WriteSet::new();
        set.execute(insert_thing(&n.to_string(), "T", n));
        fixture.db().commit(set)
    });
    let outcomes = futures_util::future::join_all(commits).await;
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let mut n_refused = 0;
    for error in refused {
        assert!(
            matches!(error, CommitError::Db(DbError::Overloaded)),
            "{error:?}"
        );
        n_refused += 1;
    }
    assert!(n_refused > 0);
    assert_eq!(count(fixture.db(), "thing").await, 200 - n_refused);
}

#[tokio::test]
async fn a_closed_database_says_so() {
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    db.close().await;
    db.close().await;
    let error = db.commit(WriteSet::new()).await.expect_err("closed");
    assert!(
        matches!(error, CommitError::Db(DbError::Closed)),
        "{error:?}"
    );
    let error = db
        .rows(sql("SELECT 1", Vec::new()))
        .await
        .expect_err("closed");
    assert!(matches!(error, DbError::Closed), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_does_not_open() {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::write(dir.path().join("lamassu.db"), "x".repeat(8_192)).expect("write");
    let data_dir = DataDir::open(dir.path()).expect("data directory");
    let clock = Arc::new(SystemClock);
    let error = Db::open_sqlite(data_dir, SqliteOptions::default(), clock)
        .await
        .expect_err("no database");
    assert!(matches!(error, OpenError::Database(_)), "{error:?}");
}

#[tokio::test]
async fn the_log_of_changes_is_checkpointed_away() {
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    for n in 0..60 {
        let mut set = WriteSet::new();
        set.execute(insert_thing(&n.to_string(), &"x".repeat(200_000), n));
        db.commit(set).await.expect("commit");
    }
    // Rows reach the file itself by a checkpoint only.
    let file = fixture.path().join("lamassu.db");
    soon(async {
        while std::fs::metadata(&file).expect("file").len() < 20_000_000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_process_can_read_but_not_write() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let clock = || Arc::new(SystemClock);
    let error = Db::open_sqlite_beside(directory.path(), clock()).expect_err("no database yet");
    assert!(matches!(error, OpenError::Database(_)), "{error:?}");
    let dir = DataDir::open(directory.path()).expect("data directory");
    let owner = Db::open_sqlite(dir, SqliteOptions::default(), clock())
        .await
        .expect("database");
    let id = installation_id(&owner).await.expect("id");

    let beside = Db::open_sqlite_beside(directory.path(), clock()).expect("beside");
    assert_eq!(installation_id(&beside).await.expect("id"), id);
    let mut set = WriteSet::new();
    set.execute(sql("DELETE FROM settings", Vec::new()));
    let error = beside.commit(set).await.expect_err("read only");
    assert!(
        matches!(error, CommitError::Db(DbError::Closed)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_lock_that_a_foreign_program_holds_is_busy_and_then_over() {
    let options = SqliteOptions {
        busy_timeout: Duration::from_millis(20),
        ..SqliteOptions::default()
    };
    let fixture = Sqlite::with(options).await;
    let foreign = rusqlite::Connection::open(fixture.path().join("lamassu.db")).expect("open");
    foreign.execute_batch("BEGIN IMMEDIATE").expect("lock");
    let insert = || {
        let mut set = WriteSet::new();
        set.expect_one(insert_thing("a", "A", 1), FREE);
        fixture.db().commit(set)
    };
    let error = insert().await.expect_err("locked");
    assert!(
        matches!(error, CommitError::Db(DbError::Busy(_))),
        "{error:?}"
    );
    // Readers do not mind.
    assert_eq!(count(fixture.db(), "thing").await, 0);
    foreign.execute_batch("ROLLBACK").expect("unlock");
    insert().await.expect("free again");
}

/// Counts for ever.
fn endless() -> Statement {
    sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
        Vec::new(),
    )
}

fn one_reader(read_timeout: Duration) -> SqliteOptions {
    SqliteOptions {
        readers: 1,
        read_timeout,
        ..SqliteOptions::default()
    }
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_given_up() {
    let fixture = Sqlite::with(one_reader(Duration::from_millis(100))).await;
    let db = fixture.db();
    let error = soon(db.rows(endless())).await.expect_err("too long");
    assert!(matches!(error, DbError::TimedOut), "{error:?}");
    assert_eq!(StorageFailure::from(error).kind(), ErrorKind::Unavailable);
    assert_eq!(soon(count(db, "thing")).await, 0);
}

#[tokio::test]
async fn a_read_ends_with_its_caller() {
    let fixture = Sqlite::with(one_reader(Duration::from_secs(3_600))).await;
    let db = fixture.db();
    let waited = tokio::time::timeout(Duration::from_millis(100), db.rows(endless())).await;
    waited.expect_err("endless");
    assert_eq!(soon(count(db, "thing")).await, 0);
}

#[tokio::test]
async fn streams_end_with_their_consumers() {
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    // More than run at a time, so each needs the place of an earlier one.
    for _ in 0..10 {
        let mut rows = soon(db.stream(endless(), 10)).await.expect("a stream");
        let waited = tokio::time::timeout(Duration::from_millis(10), rows.next()).await;
        waited.expect_err("endless");
    }
}

#[tokio::test]
async fn closing_does_not_wait_for_endless_reads() {
    let fixture = Sqlite::with(one_reader(Duration::from_secs(3_600))).await;
    let db = fixture.db();
    let reads = async { tokio::join!(db.rows(endless()), db.rows(endless())) };
    let ((first, second), ()) = soon(async { tokio::join!(reads, db.close()) }).await;
    for outcome in [first, second] {
        let error = outcome.expect_err("closed");
        assert!(matches!(error, DbError::Closed), "{error:?}");
    }
}

#[tokio::test]
async fn a_snapshot_that_fails_leaves_no_transaction_behind() {
    let fixture = Sqlite::with(one_reader(Duration::from_millis(100))).await;
    let db = fixture.db();
    for broken in [endless(), sql("SELECT * FROM nowhere", Vec::new())] {
        let query = sql("SELECT COUNT(*) FROM thing", Vec::new());
        soon(db.snapshot(vec![query, broken]))
            .await
            .expect_err("the second statement fails");
        let before = count(db, "thing").await;
        put_thing(db, &before.to_string(), "T", 1).await;
        assert_eq!(count(db, "thing").await, before + 1);
    }
}

#[tokio::test]
async fn a_long_reader_does_not_hold_up_commits() {
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    put_thing(db, "seen", "S", 1).await;
    let foreign = rusqlite::Connection::open(fixture.path().join("lamassu.db")).expect("open");
    foreign
        .execute_batch("BEGIN; SELECT COUNT(*) FROM thing;")
        .expect("a snapshot");
    // The log grows beyond the size at which it is emptied, which the snapshot forbids.
    let mut slowest = Duration::ZERO;
    for n in 0..500 {
        let mut set = WriteSet::new();
        set.execute(insert_thing(&n.to_string(), &"x".repeat(100_000), n));
        let started = std::time::Instant::now();
        db.commit(set).await.expect("commit");
        slowest = slowest.max(started.elapsed());
    }
    let log = fixture.path().join("lamassu.db-wal");
    assert!(std::fs::metadata(log).expect("log").len() > 80_000_000);
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_and_holds_up_no_commit() {
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    for n in 0..50 {
        put_thing(db, &format!("before-{n}"), &"x".repeat(100_000), 1).await;
    }
    let to = tempfile::tempdir().expect("temporary directory");
    let (from, into) = (fixture.path().to_owned(), to.path().to_owned());
    let copying = tokio::task::spawn_blocking(move || copy_sqlite(&from, &into));
    // Pairs that are committed together: a copy has both or none.
    let mut n_pairs = 0;
    while !copying.is_finished() || n_pairs < 10 {
        let mut set = WriteSet::new();
        set.expect_one(insert_thing(&format!("left-{n_pairs}"), "L", 1), FREE);
        set.expect_one(insert_thing(&format!("right-{n_pairs}"), "R", 1), FREE);
        soon(db.commit(set)).await.expect("commit");
        n_pairs += 1;
    }
    copying.await.expect("no panic").expect("copied");
    check_sqlite(to.path()).expect("sound");
    let copy = Db::open_sqlite_beside(to.path(), Arc::new(SystemClock)).expect("opens");
    let names = |name: &'static str| {
        let query = sql("SELECT id FROM thing WHERE name = $1", params![name]);
        copy.rows(query)
    };
    let (left, right) = (
        names("L").await.expect("left"),
        names("R").await.expect("right"),
    );
    assert_eq!(left.len(), right.len());
    assert!(count(&copy, "thing").await >= 50);
}

#[tokio::test]
async fn a_damaged_database_is_not_copied() {
    let fixture = Sqlite::fresh().await;
    for n in 0..20 {
        put_thing(fixture.db(), &n.to_string(), &"x".repeat(20_000), 1).await;
    }
    fixture.db().close().await;
    let file = fixture.path().join("lamassu.db");
    let foreign = rusqlite::Connection::open(&file).expect("open");
    foreign
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("checkpoint");
    drop(foreign);
    let mut content = std::fs::read(&file).expect("read");
    let middle = content.len() / 2 / 4096 * 4096;
    content[middle..middle + 4096].fill(0xa5);
    std::fs::write(&file, content).expect("write");
    let to = tempfile::tempdir().expect("temporary directory");
    let error = copy_sqlite(fixture.path(), to.path()).expect_err("damaged");
    assert!(
        matches!(error, OpenError::Database(_) | OpenError::Start(_)),
        "{error:?}"
    );
    check_sqlite(fixture.path()).expect_err("damaged");
}

#[tokio::test]
async fn a_restore_is_remembered() {
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    assert_eq!(restored_at(db).await.expect("read"), None);
    for _ in 0..2 {
        mark_restored(db, db.now()).await.expect("write");
        assert_eq!(restored_at(db).await.expect("read"), Some(db.now()));
    }
}

/// Connections that have read from a view before a migration made it anew.
#[tokio::test]
async fn rows_have_the_columns_of_tables_that_were_changed_since() {
    const ONE: Migration = Migration::portable(
        1,
        "one",
        "CREATE TABLE one (id TEXT); CREATE VIEW all_ones AS SELECT one.* FROM one; \
         INSERT INTO one (id) VALUES ('a');",
    );
    const TWO: Migration = Migration::portable(
        2,
        "two",
        "ALTER TABLE one ADD COLUMN two TEXT NOT NULL DEFAULT 'b'; DROP VIEW all_ones; \
         CREATE VIEW all_ones AS SELECT one.* FROM one;",
    );
    let fixture = Sqlite::fresh().await;
    let db = fixture.db();
    let schema = |migrations| Schema {
        name: "sample",
        migrations,
    };
    let read = || db.row_opt(sql("SELECT * FROM all_ones", Vec::new()));
    db.migrate(schema(&[ONE])).await.expect("migration");
    for _ in 0..20 {
        read().await.expect("read").expect("a row");
    }
    db.migrate(schema(&[ONE, TWO])).await.expect("migration");
    for _ in 0..20 {
        let row = read().await.expect("read").expect("a row");
        let columns: [String; 2] = ["id", "two"].map(|name| row.get(name).expect("column"));
        assert_eq!(columns, ["a", "b"]);
    }
}
