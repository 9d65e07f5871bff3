//! All or nothing, which expectation failed, and many committers at once.

use std::sync::{Arc, Mutex};

use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_db::{
    AuditRecord, Check, CommitError, CommitWatcher, DbError, Event, Expectation, Json, RefusalLog,
    Seq, Value, WriteSet, params, retry_races, sql, system_caller,
};
use time::macros::datetime;

use crate::fixture::{
    Fixture, caller, count, for_every_database, head_reaches, insert_thing, put_thing, soon,
};

const FREE: Check = Check::new("thing id is free");
const REVISION: Check = Check::new("thing revision");
const PRESENT: Check = Check::new("thing is present");

for_every_database!(
    a_set_is_applied_with_its_event_and_audit_record,
    a_credential_beside_is_in_event_and_audit_record,
    a_failed_expectation_undoes_the_whole_set_and_is_named,
    a_guard_must_still_find_its_row,
    a_unique_key_without_conflict_clause_is_a_conflict,
    a_bad_set_in_a_batch_leaves_the_others_alone,
    concurrent_committers_all_get_their_own_outcome,
    racing_updates_at_a_revision_lose_nothing,
    a_defective_statement_is_told_from_a_race,
    values_read_back_as_they_were_stored,
    a_value_of_another_type_is_corrupt,
    a_snapshot_answers_every_statement,
    a_stream_delivers_every_row_in_chunks,
    refusals_are_recorded_up_to_a_limit,
    a_watcher_hears_of_what_is_committed_before_its_caller,
);

/// What a watcher heard, type and subject.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl CommitWatcher for Heard {
    fn committed(&self, events: &[Event]) {
        let heard = events.iter().map(|event| {
            let subject = event.subject_text().unwrap_or_default();
            format!("{} {subject}", event.event_type())
        });
        self.0.lock().expect("heard").extend(heard);
    }

    fn doubted(&self) {
        self.0.lock().expect("heard").push("doubt".to_owned());
    }
}

async fn a_watcher_hears_of_what_is_committed_before_its_caller<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let heard = Arc::new(Heard::default());
    db.watch_commits(Arc::clone(&heard) as _);
    let insert = |id: &str| {
        let mut set = WriteSet::new();
        set.expect_one(insert_thing(id, "A", 1), FREE);
        let event = Event::new("thing.create", "service/test", &caller(), db.now());
        set.event(event.subject(format!("thing/{id}")));
        set
    };
    let so_far = || heard.0.lock().expect("heard").clone();
    db.commit(insert("a")).await.expect("commit");
    assert_eq!(so_far(), ["thing.create thing/a"]);
    // What is not committed did not happen, and without an event nothing is told.
    db.commit(insert("a")).await.expect_err("the id is taken");
    put_thing(db, "b", "B", 1).await;
    assert_eq!(so_far(), ["thing.create thing/a"]);
    db.commit(insert("c")).await.expect("commit");
    assert_eq!(so_far().len(), 2);
}

async fn a_set_is_applied_with_its_event_and_audit_record<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let now = db.now();
    let mut set = WriteSet::new();
    let step = set.expect_one(insert_thing("a", "A", 1), FREE);
    set.event(
        Event::new("thing.create", "service/test", &caller(), now)
            .subject("thing/a")
            .data(&serde_json::json!({ "id": "a" })),
    );
    set.audit(AuditRecord::done(&caller(), "thing.create", "thing/a", now));

    let committed = db.commit(set).await.expect("commit");

    assert_eq!(committed.count(step), 1);
    assert_eq!(count(db, "thing").await, 1);
    assert_eq!(count(db, "audit_log").await, 1);
    let query = sql("SELECT body FROM event_log", Vec::new());
    let body: String = db
        .row_opt(query)
        .await
        .expect("query")
        .expect("row")
        .get(0)
        .expect("text");
    let event: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let id = event["id"].clone();
    assert_eq!(
        event,
        serde_json::json!({
            "specversion": "1.0",
            "id": id,
            "source": "source://lamassu.io/ctx/source/service/test",
            "type": "thing.create",
            "subject": "thing/a",
            "datacontenttype": "application/json",
            "time": "2026-03-01T12:00:00.123456Z",
            "data": { "id": "a" },
            "authtype": "system",
            "spanid": "00f067aa0ba902b7",
            "traceid": "4bf92f3577b34da6a3ce929d0e0e4736",
        })
    );
}

async fn a_credential_beside_is_in_event_and_audit_record<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let caller = Caller {
        also: Some("jwt:jane".into()),
        ..caller()
    };
    let mut set = WriteSet::new();
    set.event(Event::new(
        "thing.create",
        "service/test",
        &caller,
        db.now(),
    ));
    set.audit(AuditRecord::done(&caller, "thing.create", "a", db.now()));
    set.audit(AuditRecord::done(
        &system_caller("test"),
        "thing.see",
        "a",
        db.now(),
    ));
    db.commit(set).await.expect("commit");
    let query = sql("SELECT also FROM audit_log ORDER BY id", Vec::new());
    let rows = db.rows(query).await.expect("query");
    let audited: Vec<Option<String>> = rows.iter().map(|row| row.get(0).expect("text")).collect();
    assert_eq!(audited, [Some("jwt:jane".to_owned()), None]);
    let query = sql("SELECT body FROM event_log", Vec::new());
    let row = db.row_opt(query).await.expect("query").expect("row");
    let event: serde_json::Value =
        serde_json::from_str(&row.get::<String>(0).expect("text")).expect("JSON");
    assert_eq!(event["authalso"], "jwt:jane");
}

async fn a_failed_expectation_undoes_the_whole_set_and_is_named<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put_thing(db, "b", "B", 1).await;
    let mut set = WriteSet::new();
    set.expect_one(insert_thing("a", "A", 1), FREE);
    set.event(Event::new(
        "thing.create",
        "service/test",
        &caller(),
        db.now(),
    ));
    set.expect_one(
        sql(
            "UPDATE thing SET revision = revision + 1 WHERE id = $1 AND revision = $2",
            params!["b", 7],
        ),
        REVISION,
    );

    let error = db.commit(set).await.expect_err("stale revision");

    assert!(error.failed(REVISION) && !error.failed(FREE), "{error}");
    assert_eq!(error.to_string(), "thing revision was not met (0 rows)");
    assert_eq!(count(db, "thing").await, 1);
    assert_eq!(count(db, "event_log").await, 0);
}

async fn a_guard_must_still_find_its_row<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put_thing(db, "a", "A", 1).await;
    let guarded = |revision: i64, id: &'static str| {
        let mut set = WriteSet::new();
        set.guard(
            sql(
                "SELECT 1 FROM thing WHERE id = $1 AND revision = $2",
                params!["a", revision],
            ),
            REVISION,
        );
        set.expect_one(insert_thing(id, "X", 2), FREE);
        set
    };

    let refused = db.commit(guarded(2, "x")).await.expect_err("stale");
    assert!(refused.failed(REVISION));
    db.commit(guarded(1, "y")).await.expect("current");
    assert_eq!(count(db, "thing").await, 2);
}

async fn a_unique_key_without_conflict_clause_is_a_conflict<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let mut set = WriteSet::new();
    for _ in 0..2 {
        set.expect_one(
            sql(
                "INSERT INTO settings (name, value) VALUES ($1, $2)",
                params!["twice", vec![1_u8]],
            ),
            FREE,
        );
    }
    let error = db.commit(set).await.expect_err("duplicate");
    assert!(
        matches!(
            error,
            CommitError::Conflict {
                check: Some(FREE),
                ..
            }
        ),
        "{error:?}"
    );
}

async fn a_bad_set_in_a_batch_leaves_the_others_alone<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put_thing(db, "taken", "T", 1).await;
    let commits = (0..60).map(|n| {
        let mut set = WriteSet::new();
        let id = if n % 3 == 0 {
            "taken".to_owned()
        } else {
            format!("t{n}")
        };
        set.event(Event::new(
            "thing.create",
            "service/test",
            &caller(),
            db.now(),
        ));
        set.expect_one(insert_thing(&id, "T", n), FREE);
        db.commit(set)
    });
    let outcomes = futures_util::future::join_all(commits).await;

    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(n % 3, 0),
            Err(error) => assert!(n % 3 == 0 && error.failed(FREE), "{n}: {error}"),
        }
    }
    assert_eq!(count(db, "thing").await, 41);
    assert_eq!(count(db, "event_log").await, 40);
}

async fn concurrent_committers_all_get_their_own_outcome<F: Fixture>() {
    let fixture = F::fresh().await;
    let tasks: Vec<_> = (0..64)
        .map(|worker| {
            let db = fixture.db().clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    let mut set = WriteSet::new();
                    set.expect_one(insert_thing(&format!("{worker}-{n}"), "T", n), FREE);
                    set.event(Event::new(
                        "thing.create",
                        "service/test",
                        &caller(),
                        db.now(),
                    ));
                    db.commit(set).await.expect("commit");
                }
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.expect("worker");
    }
    assert_eq!(count(fixture.db(), "thing").await, 64 * 20);
    head_reaches(fixture.db(), Seq(64 * 20)).await;
    assert_eq!(fixture.db().log_head().await.expect("head").0, 64 * 20);
}

async fn racing_updates_at_a_revision_lose_nothing<F: Fixture>() {
    let fixture = F::fresh().await;
    put_thing(fixture.db(), "hot", "H", 0).await;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let db = fixture.db().clone();
            tokio::spawn(async move {
                retry_races::<_, StorageFailure, _>(|| async {
                    let query = sql(
                        "SELECT size, revision FROM thing WHERE id = $1",
                        params!["hot"],
                    );
                    let row = db.row_opt(query).await?.expect("the thing");
                    let mut set = WriteSet::new();
                    set.expect_one(
                        sql(
                            "UPDATE thing SET size = $1, revision = revision + 1 \
                             WHERE id = $2 AND revision = $3",
                            params![
                                row.get::<i64>("size")? + 1,
                                "hot",
                                row.get::<i64>("revision")?
                            ],
                        ),
                        REVISION,
                    );
                    Ok(db.commit(set).await?)
                })
                .await
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task").expect("commit");
    }
    let query = sql("SELECT size FROM thing", Vec::new());
    let row = fixture
        .db()
        .row_opt(query)
        .await
        .expect("query")
        .expect("row");
    assert_eq!(row.get::<i64>("size").expect("size"), 6);
}

async fn a_defective_statement_is_told_from_a_race<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let mut set = WriteSet::new();
    set.expect(
        sql("UPDATE nowhere SET x = 1", Vec::new()),
        Expectation::Any,
        PRESENT,
    );
    let error = db.commit(set).await.expect_err("no such table");
    assert!(
        matches!(error, CommitError::Db(DbError::Sql { .. })),
        "{error:?}"
    );

    let query = sql("SELECT id FROM thing WHERE id = $2", params!["a"]);
    let error = db.rows(query).await.expect_err("no such parameter");
    assert_eq!(
        error.to_string(),
        "`SELECT id FROM thing WHERE id = $2` has no value for parameter $2"
    );
}

async fn values_read_back_as_they_were_stored<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let created = datetime!(0001-01-01 00:00 UTC);
    let mut set = WriteSet::new();
    set.execute(sql(
        // The parameters' numbers are not in the order of use.
        "INSERT INTO thing (revision, id, name, name_folded, status, size, active, note, tags, \
         metadata, created_at) VALUES ($8, $1, $2, $2, $2, $3, $4, $5, $6, $6, $7)",
        params![
            "ü",
            "x'\"\u{1}y",
            i64::MIN,
            false,
            None::<String>,
            serde_json::json!({"n": [1, "é"]}),
            created,
            9_u32,
        ],
    ));
    db.commit(set).await.expect("commit");
    let query = sql("SELECT * FROM thing", Vec::new());
    let row = db.row_opt(query).await.expect("query").expect("row");
    assert_eq!(row.get::<String>("id").as_deref().expect("id"), "ü");
    assert_eq!(row.get::<String>("name").expect("name"), "x'\"\u{1}y");
    assert_eq!(row.get::<i64>("size").expect("size"), i64::MIN);
    assert!(!row.get::<bool>("active").expect("active"));
    assert_eq!(row.get::<Option<String>>("note").expect("note"), None);
    let Json(metadata) = row
        .get::<Json<serde_json::Value>>("metadata")
        .expect("JSON");
    assert_eq!(metadata, serde_json::json!({"n": [1, "é"]}));
    assert_eq!(
        row.get::<time::OffsetDateTime>("created_at").expect("time"),
        created
    );
    assert_eq!(row.get::<u32>("revision").expect("revision"), 9);
    assert_eq!(format!("{:?}", Value::from("secret")), "Text(6 bytes)");
}

async fn a_value_of_another_type_is_corrupt<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put_thing(db, "a", "not a UUID", -1).await;
    let query = sql("SELECT name, size, created_at FROM thing", Vec::new());
    let row = db.row_opt(query).await.expect("query").expect("row");
    let texts = [
        row.get::<uuid::Uuid>("name")
            .expect_err("no UUID")
            .to_string(),
        row.get::<u32>("size").expect_err("negative").to_string(),
        row.get::<bool>("size").expect_err("no boolean").to_string(),
        row.get::<i64>("missing")
            .expect_err("not selected")
            .to_string(),
    ];
    assert_eq!(
        texts,
        [
            "stored value of `name` cannot be read: not a UUID",
            "stored value of `size` cannot be read: -1 is out of range",
            "stored value of `size` cannot be read: expected a boolean, found an integer",
            "the statement selects no column `missing`",
        ]
    );
}

async fn a_snapshot_answers_every_statement<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put_thing(db, "a", "A", 1).await;
    let results = db
        .snapshot(vec![
            sql("SELECT id FROM thing", Vec::new()),
            sql("SELECT id FROM thing WHERE id = $1", params!["b"]),
            sql("SELECT COUNT(*) AS n FROM thing", Vec::new()),
        ])
        .await
        .expect("snapshot");
    assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
}

async fn a_stream_delivers_every_row_in_chunks<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let mut set = WriteSet::new();
    for n in 0..25 {
        set.execute(insert_thing(&format!("{n:02}"), "T", n));
    }
    db.commit(set).await.expect("commit");
    let query = sql("SELECT id FROM thing ORDER BY id", Vec::new());
    let mut stream = db.stream(query, 10).await.expect("stream");
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    while let Some(chunk) = soon(stream.next()).await.expect("chunk") {
        sizes.push(chunk.len());
        ids.extend(chunk.iter().map(|row| row.get::<String>("id").expect("id")));
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(ids, (0..25).map(|n| format!("{n:02}")).collect::<Vec<_>>());
}

async fn refusals_are_recorded_up_to_a_limit<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let log = RefusalLog::new(db, 3);
    let refusal =
        || AuditRecord::done(&caller(), "device.delete", "device/d", db.now()).refused("forbidden");
    for _ in 0..5 {
        log.record(refusal()).await.expect("record");
    }
    assert_eq!(count(db, "audit_log").await, 3);
    fixture.clock().advance(time::Duration::minutes(1));
    log.record(refusal()).await.expect("record");
    let query = sql(
        "SELECT result, reason, credential, request_id FROM audit_log ORDER BY id DESC LIMIT 1",
        Vec::new(),
    );
    let row = db.row_opt(query).await.expect("query").expect("row");
    let texts: Vec<String> = (0..4)
        .map(|column| row.get(column).expect("text"))
        .collect();
    assert_eq!(texts, ["refused", "forbidden", "system", "test"]);
    assert_eq!(count(db, "audit_log").await, 4);
}
