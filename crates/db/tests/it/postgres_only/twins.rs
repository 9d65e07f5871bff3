//! The functions that exist twice, in Rust for SQLite and in SQL, agree.

use futures_util::StreamExt as _;
use lamassu_core::query::{fold, json_sort_key};
use lamassu_db::{Db, params, sql};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::fixture::{Fixture as _, Postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_character_folds_alike() {
    let fixture = Postgres::fresh().await;
    // PostgreSQL stores every character but U+0000.
    let all: Vec<char> = ('\u{1}'..=char::MAX).collect();
    let asked = all.chunks(4_096).map(|some| {
        let text: String = some.iter().collect();
        let db = fixture.db();
        async move {
            let query = sql("SELECT lamassu_fold($1) AS folded", params![&text]);
            let row = db.row_opt(query).await.expect("query").expect("row");
            let folded: String = row.get("folded").expect("text");
            for ((char, ours), theirs) in text.chars().zip(fold(&text).chars()).zip(folded.chars())
            {
                assert_eq!(ours, theirs, "U+{:04X}", u32::from(char));
            }
            assert_eq!(folded, fold(&text));
        }
    });
    let mut asked = futures_util::stream::iter(asked).buffer_unordered(4);
    while let Some(()) = asked.next().await {}
}

/// Compares the sort keys of documents, a few hundred per query.
async fn compare(db: &Db, documents: &[Value]) {
    for some in documents.chunks(500) {
        let query = sql(
            "SELECT lamassu_json_sort_key(document, '') AS key \
             FROM jsonb_array_elements($1) WITH ORDINALITY AS e(document, n) ORDER BY n",
            params![Value::from(some)],
        );
        let rows = db.rows(query).await.expect("query");
        assert_eq!(rows.len(), some.len());
        for (row, document) in rows.iter().zip(some) {
            let theirs: bytes::Bytes = row.get("key").expect("bytes");
            let ours = json_sort_key(Some(document));
            assert_eq!(
                hex::encode(&ours),
                hex::encode(&theirs),
                "{document} ({:?}, {:?})",
                String::from_utf8_lossy(&ours),
                String::from_utf8_lossy(&theirs)
            );
        }
    }
}

#[tokio::test]
async fn json_values_have_the_same_sort_keys() {
    let fixture = Postgres::fresh().await;
    let mut documents = vec![
        json!(null),
        json!(false),
        json!(true),
        json!(0),
        json!(-0.0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(0.1),
        json!(-2.5e-10),
        json!(5e-324),
        json!(1e300),
        json!(f64::MAX),
        json!(f64::MIN),
        json!(f64::MIN_POSITIVE),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(9_007_199_254_740_993_i64),
        json!([]),
        json!({}),
        json!([1, -0.0, 1.0, 1e21, 1e-9, 1e300, "a", null, true, [], {}]),
        json!({"b": 1, "a": {"d": [2.50], "c": "\"\\/\u{7f}\u{1}\n\t"}, "Z": "ü", "é": 1, "\u{10000}": 2, "\u{ffff}": 3}),
        json!([[1], [1, 2], [1.25, 2]]),
    ];
    for text in [
        "",
        " ",
        "a",
        "A",
        "Straße",
        "İ",
        "ǅ",
        "\u{1}",
        "\n",
        "2024",
        "2024-",
        "2024-01-01",
        "0001-01-01",
        "0000-01-01",
        "0000-12-31",
        "9999-12-31",
        "2024-02-29",
        "2023-02-29",
        "1900-02-29",
        "2000-02-29",
        "1969-12-31",
        "1970-01-01",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "2024-04-31",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00",
        "2024-01-01t00:00:00z",
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00.1Z",
        "2024-01-01T00:00:00.123456789Z",
        "2024-01-01T00:00:00.1234567891Z",
        "2024-01-01T00:00:00.",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T23:59:60Z",
        "2024-01-01T23:60:00Z",
        "2024-01-01T00:00:00+02:00",
        "2024-01-01T00:00:00-23:59",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+0200",
        "2024-01-01T00:00:00+02",
        "2024-01-01 00:00:00Z",
        "2024-01-01 00:00:00+01:00",
        "2024-01-01 00:00:00.5",
        "2024-01-01T00:00",
        "2024-01-01T",
        "2024-01-01 ",
        " 2024-01-01",
        "2024-01-01\n",
        "2024-01-01T00:00:00Z ",
        "2024-01-01T00:00:00Z\n",
        "2024-01-01x",
        "2024-1-1",
        "12024-01-01",
        "-2024-01-01",
        "２０２４-01-01",
        "٢٠٢٤-01-01",
        "0000-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59.999999999Z",
    ] {
        documents.push(json!(text));
    }
    compare(fixture.db(), &documents).await;
}

#[tokio::test]
async fn numbers_that_no_double_holds_do_not_fail_a_list() {
    let fixture = Postgres::fresh().await;
    let query = "SELECT lamassu_json_sort_key(n::jsonb, '') FROM \
                 unnest(ARRAY['-1e400', '-1', '1e-400', '1', '1e400', '[1e400]']) AS u(n)";
    let rows = fixture.raw().await.query(query, &[]).await.expect("query");
    let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

/// Texts that look like dates, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{4}-[01][0-9]-[0-3][0-9]",
        "(000|[0-9]{3})[0-9]-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,11})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
        "[0-9:. TZz+-]{0,24}",
        "[^\u{0}]{0,12}",
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(|n| json!(n as f64 / 8.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[^\u{0}]{0,4}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

#[tokio::test]
async fn random_json_values_have_the_same_sort_keys() {
    let fixture = Postgres::fresh().await;
    let mut runner = TestRunner::deterministic();
    let documents: Vec<_> = (0..6_000)
        .map(|_| {
            document()
                .new_tree(&mut runner)
                .expect("document")
                .current()
        })
        .collect();
    compare(fixture.db(), &documents).await;
}
