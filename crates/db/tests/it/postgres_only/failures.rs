//! What the server says it cannot do just now, and for how long it is believed.

use lamassu_core::error::{ErrorKind, StorageFailure};

use super::creation;
use crate::fixture::{Fixture as _, Postgres, count, soon};

/// For ever, as far as a commit is concerned.
const ALWAYS: u32 = 10_000;

/// Makes the next inserts of things fail with an SQLSTATE, so many times.
async fn fail(fixture: &Postgres, state: &str, times: u32) {
    let text = format!(
        "DROP TRIGGER IF EXISTS failing ON thing; DROP SEQUENCE IF EXISTS attempt; \
         CREATE SEQUENCE attempt; \
         CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('attempt') <= {times} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; \
         END IF; RETURN NEW; END $$; \
         CREATE TRIGGER failing BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION fail()"
    );
    let client = fixture.raw().await;
    client.batch_execute(&text).await.expect("trigger");
    // Whoever writes is not the superuser.
    let grant = "GRANT USAGE ON SEQUENCE attempt TO PUBLIC";
    client.batch_execute(grant).await.expect("grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_pass_is_repeated_and_what_does_not_is_told() {
    let fixture = Postgres::fresh().await;
    let unavailable = Err(ErrorKind::Unavailable);
    let cases = [
        ("40001", 3, Ok(())),
        ("40001", ALWAYS, unavailable),
        ("40P01", 3, Ok(())),
        ("40P01", ALWAYS, unavailable),
        // The disk is full.
        ("53100", ALWAYS, unavailable),
        ("53200", ALWAYS, unavailable),
        ("57P01", 1, Ok(())),
        ("57P01", ALWAYS, unavailable),
        ("58030", ALWAYS, unavailable),
        ("XX001", ALWAYS, Err(ErrorKind::Internal)),
        ("22012", ALWAYS, Err(ErrorKind::Internal)),
    ];
    let mut stored = 0;
    for (n, (state, times, expected)) in cases.into_iter().enumerate() {
        fail(&fixture, state, times).await;
        let set = creation(fixture.db(), &n.to_string());
        let outcome = soon(fixture.db().commit(set)).await;
        let outcome = outcome.map_err(|error| StorageFailure::from(error).kind());
        assert_eq!(outcome.map(drop), expected, "{state} {times} times");
        stored += i64::from(expected.is_ok());
    }
    for table in ["thing", "event_log"] {
        assert_eq!(count(fixture.db(), table).await, stored, "{table}");
    }
}
