//! The connection breaks around `COMMIT`.

use lamassu_core::error::{ErrorKind, StorageFailure};
use lamassu_db::{CommitError, PostgresOptions};
use lamassu_testing::{Cut, PostgresProxy, PostgresServer};

use super::{Gate, creation, growing, size};
use crate::fixture::{Fixture as _, Postgres, count, put_thing, soon};

/// A database behind a way that can break.
async fn behind_a_proxy() -> (PostgresProxy, Postgres) {
    let server = PostgresServer::shared();
    let proxy = PostgresProxy::start(server.port()).await.expect("proxy");
    let fixture = Postgres::with(PostgresOptions {
        hosts: vec![("127.0.0.1".to_owned(), proxy.port())],
        ..server.fresh_schema()
    })
    .await;
    put_thing(fixture.db(), "a", "A", 0).await;
    (proxy, fixture)
}

#[tokio::test]
async fn a_set_whose_commit_did_not_arrive_is_applied_once() {
    let (proxy, fixture) = behind_a_proxy().await;
    proxy.cut_at_commit(Cut::Before);
    let outcome = soon(fixture.db().commit(growing(&["a"]))).await;
    outcome.expect("repeated");
    assert!(proxy.was_cut());
    assert_eq!(size(fixture.db(), "a").await, 1);
}

#[tokio::test]
async fn a_set_whose_confirmation_got_lost_is_applied_once() {
    let (proxy, fixture) = behind_a_proxy().await;
    proxy.cut_at_commit(Cut::Answer);
    let mut set = growing(&["a"]);
    set.append(creation(fixture.db(), "b"));
    let outcome = soon(fixture.db().commit(set)).await;
    let committed = outcome.expect("the server says that it is committed");
    assert!(proxy.was_cut());
    assert_eq!(size(fixture.db(), "a").await, 1);
    // Those who wait for its events hear of it as of any other.
    soon(async {
        while fixture.db().log_head().await.expect("head")
            < committed.last_event().expect("an event")
        {}
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stays_away_leaves_the_outcome_unknown() {
    let (proxy, fixture) = behind_a_proxy().await;
    proxy.cut_at_commit(Cut::AnswerAndBeyond);
    let error = soon(fixture.db().commit(growing(&["a"])))
        .await
        .expect_err("nobody knows");
    assert!(matches!(error, CommitError::OutcomeUnknown(_)), "{error:?}");
    let failure = StorageFailure::from(error);
    assert_eq!(failure.kind(), ErrorKind::Unavailable);
    let error = fixture
        .db()
        .commit(growing(&["a"]))
        .await
        .expect_err("away");
    assert_eq!(StorageFailure::from(error).kind(), ErrorKind::Unavailable);
    proxy.come_back();
    // Nobody has to do anything for it to go on.
    soon(async { while fixture.db().commit(growing(&["a"])).await.is_err() {} }).await;
    assert_eq!(size(fixture.db(), "a").await, 2);
}

#[tokio::test]
async fn a_writer_whose_connection_is_ended_while_it_waits_goes_again() {
    let fixture = Postgres::fresh().await;
    let gate = Gate::close(&fixture, "a").await;
    let db = fixture.db().clone();
    let mut set = growing(&["a"]);
    set.append(creation(&db, "b"));
    let commit = tokio::spawn(async move { db.commit(set).await });
    let pid = gate.is_waited_for(&fixture).await;
    gate.client
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .await
        .expect("terminated");
    gate.open().await;
    soon(commit).await.expect("task").expect("repeated");
    assert_eq!(size(fixture.db(), "a").await, 1);
    assert_eq!(count(fixture.db(), "event_log").await, 1);
}
