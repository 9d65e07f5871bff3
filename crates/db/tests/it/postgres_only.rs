//! What only a PostgreSQL server has: other processes on the same tables, and a network between.

mod across_processes;
mod batches;
mod failures;
mod login;
mod lossy_fail_over;
mod migrations;
mod outages;
mod outcomes;
mod serial;
mod twins;

use lamassu_db::{Check, Db, Event, Statement, WriteSet, params, sql};
use tokio_postgres::Client;

use crate::fixture::{Fixture as _, Postgres, caller, insert_thing, put_thing, soon};

const FREE: Check = Check::new("thing id is free");
const REVISION: Check = Check::new("thing revision");

/// A set that inserts a thing and tells so.
fn creation(db: &Db, id: &str) -> WriteSet {
    let mut set = WriteSet::new();
    set.expect_one(insert_thing(id, "T", 0), FREE);
    set.event(Event::new("thing.create", "service/test", &caller(), db.now()).data(&id));
    set
}

/// Adds one to the size of a thing.
fn growth(id: &str) -> Statement {
    sql(
        "UPDATE thing SET size = size + 1 WHERE id = $1",
        params![id],
    )
}

fn growing(ids: &[&str]) -> WriteSet {
    let mut set = WriteSet::new();
    for id in ids {
        set.expect_one(growth(id), REVISION);
    }
    set
}

async fn size(db: &Db, id: &str) -> i64 {
    let query = sql("SELECT size FROM thing WHERE id = $1", params![id]);
    let row = db.row_opt(query).await.expect("query").expect("a row");
    row.get("size").expect("a number")
}

/// A row that a session of somebody else holds, and the write sets that wait for it.
struct Gate {
    client: Client,
    pid: i32,
}

impl Gate {
    /// Makes a thing and holds it.
    async fn close(fixture: &Postgres, id: &str) -> Self {
        put_thing(fixture.db(), id, "G", 0).await;
        let client = fixture.raw().await;
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await;
        let pid = row.expect("pid").get(0);
        client.batch_execute("BEGIN").await.expect("begin");
        let update = "UPDATE thing SET note = 'held' WHERE id = $1";
        client.execute(update, &[&id]).await.expect("update");
        Self { client, pid }
    }

    /// Waits until the writer of a process is stopped here; gives the server's process id.
    async fn is_waited_for(&self, fixture: &Postgres) -> i32 {
        let watch = fixture.raw().await;
        let query = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))";
        soon(async {
            loop {
                let row = watch.query_opt(query, &[&self.pid]).await;
                if let Some(row) = row.expect("activity") {
                    break row.get(0);
                }
            }
        })
        .await
    }

    async fn open(self) {
        self.client.batch_execute("COMMIT").await.expect("commit");
    }
}

/// Commits all sets in one batch: while the writer waits at a gate, they gather behind it. Gives
/// their outcomes in order.
async fn together(
    fixture: &Postgres,
    sets: Vec<WriteSet>,
) -> Vec<Result<lamassu_db::Committed, lamassu_db::CommitError>> {
    let db = fixture.db();
    let gate = Gate::close(fixture, "gate").await;
    let first = tokio::spawn({
        let db = db.clone();
        async move { db.commit(growing(&["gate"])).await }
    });
    gate.is_waited_for(fixture).await;
    let mut commits = Box::pin(futures_util::future::join_all(
        sets.into_iter().map(|set| db.commit(set)),
    ));
    // Polled once, they wait in the queue.
    assert!(futures_util::poll!(commits.as_mut()).is_pending());
    gate.open().await;
    first.await.expect("task").expect("the gate's own set");
    soon(commits).await
}
