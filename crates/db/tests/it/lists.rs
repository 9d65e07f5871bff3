//! Lists: filters, order, paging, bookmarks.

use lamassu_core::query::{Field, ListRequest, QueryLimits, SortMode};
use lamassu_db::list::{ListError, ListTable, Restriction, count, count_by, list};
use lamassu_db::{Db, Value, WriteSet, params, sql};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::json;

use crate::fixture::{Fixture, for_every_database, put_thing};

for_every_database!(
    every_operand_selects_what_it_says,
    values_are_literal,
    text_is_ordered_by_folded_text,
    nulls_come_last_upwards_and_first_downwards,
    json_values_have_one_total_order,
    json_path_predicates_filter,
    pages_cover_everything_once,
    pages_are_stable_under_inserts_and_deletes,
    a_bookmark_brings_its_own_page_size_filters_and_sort,
    foreign_and_changed_bookmarks_are_refused,
    restrictions_come_from_the_request,
    counts_follow_filters,
    no_text_makes_a_bookmark,
);

static FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("name", "name").folded("name_folded"),
    Field::enumeration("status", "status").words(&[("RENEWING", "ACTIVE")]),
    Field::number("size", "size"),
    Field::boolean("active", "active"),
    Field::string("note", "note").nullable(),
    Field::string_array("tags", "tags"),
    Field::json("metadata", "metadata"),
    Field::date("created_at", "created_at").alias("creation_ts"),
];

const THINGS: ListTable = ListTable {
    table: "thing",
    columns: &["id", "name", "size"],
    key: "id",
    created: "created_at",
    fields: FIELDS,
};

async fn put(db: &Db, id: &str, columns: &[(&'static str, Value)]) {
    put_thing(db, id, id, 0).await;
    for (column, value) in columns {
        let mut set = WriteSet::new();
        set.execute(sql(
            format!("UPDATE thing SET {column} = $1 WHERE id = $2"),
            params![value.clone(), id],
        ));
        db.commit(set).await.expect("update");
    }
}

fn request(query: &str) -> ListRequest {
    ListRequest::parse(query, FIELDS, QueryLimits::default()).expect("request")
}

async fn page(db: &Db, query: &str) -> (Vec<String>, String) {
    let page = list(db, &THINGS, "things", &request(query), &[])
        .await
        .expect("page");
    let ids = page
        .list
        .iter()
        .map(|row| row.get("id").expect("id"))
        .collect();
    (ids, page.next)
}

async fn ids(db: &Db, query: &str) -> String {
    page(db, query).await.0.join(" ")
}

async fn every_operand_selects_what_it_says<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put(
        db,
        "a",
        &[
            ("name", "Straße".into()),
            ("name_folded", lamassu_core::query::fold("Straße").into()),
            ("size", Value::I64(5)),
            ("note", "n".into()),
            ("tags", json!(["red", "Green"]).into()),
            (
                "created_at",
                time::macros::datetime!(2026-01-01 0:00 UTC).into(),
            ),
        ],
    )
    .await;
    put(
        db,
        "b",
        &[("size", Value::I64(7)), ("status", "REVOKED".into())],
    )
    .await;
    put(db, "C", &[("active", false.into())]).await;
    for (filter, expected) in [
        ("id[eq]a", "a"),
        ("id[eq]=a", "a"),
        ("id[eq]:a", "a"),
        ("id[EQUAL]A", ""),
        ("id[eq_ic]A", "a"),
        ("id[ne]a", "C b"),
        ("id[ne_ic]c", "b a"),
        ("name[ct]tra", "a"),
        ("name[ct]TRA", ""),
        ("name[ct_ic]TRA", "a"),
        ("name[nc]tra", "C b"),
        ("name[nc_ic]TRA", "C b"),
        ("id[in]a,c,,b", "b a"),
        ("id[in]", "C b a"),
        ("id[in_ic]A,c", "C a"),
        ("id[nin]a", "C b"),
        ("id[nin_ic]A,B", "C"),
        ("note[ne]x", "a"),
        ("note[nc]x", "a"),
        ("tags[ct]red", "a"),
        ("tags[ct]re", ""),
        ("tags[contains_ic]GREEN", "a"),
        ("created_at[eq]2026-01-01", "a"),
        ("creation_ts[after]2025-12-31T23:00:00-01:00", ""),
        ("created_at[bf]2026-01-01T00:00:00.000001Z", "C b a"),
        ("size[eq]5", "a"),
        ("size[ne]5", "C b"),
        ("size[lt]5", "C"),
        ("size[le]5", "C a"),
        ("size[gt]5", "b"),
        ("size[greaterorequal]5", "b a"),
        ("status[eq]REVOKED", "b"),
        ("status[eq]RENEWING", "C a"),
        ("status[ne]REVOKED", "C a"),
        ("status[in]REVOKED,NOPE", "b"),
        ("active[eq]f", "C"),
        ("active[ne]off", "b a"),
        ("unknown[eq]x", "C b a"),
        ("no filter", "C b a"),
    ] {
        let query = format!("filter={filter}&sort_by=created_at");
        assert_eq!(ids(db, &query).await, expected, "{filter}");
    }
}

async fn values_are_literal<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for name in ["50%", "50x", "a_b", "acb", "q'\"", "back\\"] {
        put_thing(db, name, name, 0).await;
    }
    for (filter, expected) in [
        ("name[ct]0%25", "50%"),
        ("name[ct_ic]A_B", "a_b"),
        ("name[ct]'%22", "q'\""),
        ("name[ct]back%5C", "back\\"),
        ("tags[ct]%22\\", ""),
        ("id[eq]x' OR '1'='1", ""),
    ] {
        assert_eq!(
            ids(db, &format!("filter={filter}")).await,
            expected,
            "{filter}"
        );
    }
}

async fn text_is_ordered_by_folded_text<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for name in ["b", "A", "a", "Ä", "ä", "B"] {
        put_thing(db, name, name, 0).await;
    }
    assert_eq!(ids(db, "sort_by=name").await, "A a B b Ä ä");
    assert_eq!(ids(db, "sort_by=id&sort_mode=desc").await, "ä Ä b B a A");
}

async fn nulls_come_last_upwards_and_first_downwards<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put(db, "null1", &[]).await;
    put(db, "null2", &[]).await;
    put(db, "x", &[("note", "x".into())]).await;
    put(db, "y", &[("note", "y".into())]).await;
    for (mode, expected) in [("asc", "x y null1 null2"), ("desc", "null1 null2 y x")] {
        assert_eq!(
            ids(db, &format!("sort_by=note&sort_mode={mode}")).await,
            expected
        );
        let query = format!("sort_by=note&sort_mode={mode}&page_size=1");
        assert_eq!(walk(db, &query).await.join(" "), expected);
    }
}

async fn json_values_have_one_total_order<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let values = [
        ("missing", json!({})),
        ("false", json!({"k": [false]})),
        ("true", json!({"k": [true]})),
        ("minus", json!({"k": [-2.5]})),
        ("half", json!({"k": [1.5]})),
        ("ten", json!({"k": [10]})),
        ("early", json!({"k": ["2024-01-01T00:00:00+02:00"]})),
        ("late", json!({"k": ["2024-01-01"]})),
        ("not a date", json!({"k": ["2024-13-45"]})),
        ("text", json!({"k": ["B"]})),
        ("array", json!({"k": [[1]]})),
        ("object", json!({"k": [{}]})),
    ];
    for (id, metadata) in values.iter().rev() {
        put(db, id, &[("metadata", metadata.into())]).await;
    }
    let expected: Vec<_> = values.iter().map(|(id, _)| (*id).to_owned()).collect();
    let up = "sort_by=metadata[jsonpath]$.k[0]&page_size=5";
    assert_eq!(walk(db, up).await, expected);
    let down = "sort_by=metadata[jsonpath]$.%22k%22[last]&sort_mode=desc&page_size=5";
    let reversed: Vec<_> = expected.into_iter().rev().collect();
    assert_eq!(walk(db, down).await, reversed);
    put(
        db,
        "dashed",
        &[("metadata", json!({"my-key": 1, "my": 5, "key": 6}).into())],
    )
    .await;
    for path in ["$.my-key", "$.%22my-key%22"] {
        let query = format!("sort_by=metadata[jsonpath]{path}&sort_mode=desc");
        let (first, _) = page(db, &query).await;
        assert_eq!(first[0], "dashed", "{path}");
    }
    // What is no simple path leaves the default order.
    for refused in [
        "$.k;DROP TABLE thing",
        "$.k--",
        "$.k[*]",
        "$",
        "k",
        "$.k) OR 1=1",
    ] {
        let query = format!("sort_by=metadata[jsonpath]{refused}");
        assert_eq!(request(&query).sort, None, "{refused}");
    }
}

async fn json_path_predicates_filter<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    put(
        db,
        "1",
        &[(
            "metadata",
            json!({"env": "prod", "v": 2, "tags": ["a", "b"]}).into(),
        )],
    )
    .await;
    put(
        db,
        "2",
        &[("metadata", json!({"env": "test", "v": 10.5}).into())],
    )
    .await;
    put(db, "3", &[]).await;
    for (filters, expected) in [
        ("filter=metadata[jsonpath]$.env == \"prod\"", "1"),
        ("filter=metadata[jsonpath]$.env != \"prod\"", "2"),
        ("filter=metadata[jsonpath]!($.env == \"prod\")", "2 3"),
        (
            "filter=metadata[jsonpath]exists($.v)&filter=metadata[jsonpath]$.v > 2",
            "2",
        ),
        ("filter=metadata[jsonpath]$.tags == \"b\"", "1"),
        ("filter=metadata[jsonpath]$.v %2B 1 > 11", "2"),
        (
            "filter=metadata[jsonpath]$.v >= 2&sort_by=metadata[jsonpath]$.v&sort_mode=desc",
            "2 1",
        ),
    ] {
        assert_eq!(ids(db, filters).await, expected, "{filters}");
        let paged = format!("{filters}&page_size=1");
        assert_eq!(walk(db, &paged).await.join(" "), expected, "{paged}");
    }
}

/// All ids of a list, page by page, as the reference's SDK asks for them.
async fn walk(db: &Db, first: &str) -> Vec<String> {
    let (mut all, mut next) = page(db, first).await;
    while !next.is_empty() {
        let (ids, after) = page(db, &format!("bookmark={next}&sort_mode=desc")).await;
        assert!(!ids.is_empty(), "an empty page");
        all.extend(ids);
        next = after;
    }
    all
}

async fn pages_cover_everything_once<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    let expected: Vec<_> = (0..20).map(|n| format!("{n:02}")).collect();
    for id in expected.iter().rev() {
        // All ties but for the key.
        put_thing(db, id, "same", 1).await;
    }
    for size in [1, 3, 5, 19, 20, 21] {
        for sort in [
            "",
            "&sort_by=name",
            "&sort_by=size&sort_mode=desc",
            "&sort_by=note",
        ] {
            let query = format!("page_size={size}{sort}");
            assert_eq!(walk(db, &query).await, expected, "{query}");
        }
    }
}

async fn pages_are_stable_under_inserts_and_deletes<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for n in [10, 20, 30, 40, 50] {
        put_thing(db, &n.to_string(), "T", n).await;
    }
    let (first, next) = page(db, "sort_by=size&page_size=2").await;
    assert_eq!(first, ["10", "20"]);
    let mut set = WriteSet::new();
    set.execute(sql(
        "DELETE FROM thing WHERE id IN ('10', '20', '40')",
        Vec::new(),
    ));
    db.commit(set).await.expect("delete");
    put_thing(db, "15", "T", 15).await;
    put_thing(db, "45", "T", 45).await;
    let (second, next) = page(db, &format!("bookmark={next}")).await;
    assert_eq!(second, ["30", "45"]);
    let (third, next) = page(db, &format!("bookmark={next}")).await;
    assert_eq!((third, next), (vec!["50".to_owned()], String::new()));
}

async fn a_bookmark_brings_its_own_page_size_filters_and_sort<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for n in 1..=6 {
        put_thing(db, &n.to_string(), "T", n).await;
    }
    let first = "filter=size[gt]1&sort_by=size&sort_mode=desc&page_size=2";
    let (ids, next) = page(db, first).await;
    assert_eq!(ids, ["6", "5"]);
    let second = format!("bookmark={next}&page_size=5&sort_by=id&filter=size[lt]0");
    assert_eq!(page(db, &second).await.0, ["4", "3"]);
    assert_eq!(
        request(first).sort.map(|sort| sort.mode),
        Some(SortMode::Descending)
    );
}

async fn foreign_and_changed_bookmarks_are_refused<F: Fixture>() {
    let mut fixture = F::fresh().await;
    for n in 0..3 {
        put_thing(fixture.db(), &n.to_string(), "T", n).await;
    }
    let (_, next) = page(fixture.db(), "page_size=1").await;
    // The key is the installation's, so bookmarks outlive a restart.
    fixture.restart().await;
    let db = fixture.db();
    assert_eq!(page(db, &format!("bookmark={next}")).await.0, ["1"]);

    let other_scope = list(
        db,
        &THINGS,
        "others",
        &request(&format!("bookmark={next}")),
        &[],
    )
    .await;
    assert_eq!(refusal(other_scope), "not a valid bookmark");
    let mut forged = Vec::new();
    for position in 0..next.len() {
        let mut bytes = next.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(bytes).expect("ASCII"));
    }
    forged.extend([
        "x".to_owned(),
        "b2ZmOjI1O2xpbToyNTs".to_owned(),
        format!("{next}A"),
    ]);
    for text in forged {
        let outcome = list(
            db,
            &THINGS,
            "things",
            &request(&format!("bookmark={text}")),
            &[],
        )
        .await;
        assert_eq!(refusal(outcome), "not a valid bookmark", "{text}");
    }
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, ListError>) -> String {
    outcome.expect_err("a refusal").to_string()
}

async fn restrictions_come_from_the_request<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for n in 1..=4 {
        put_thing(db, &n.to_string(), "T", n).await;
    }
    let all = request("page_size=1");
    let small = [
        Restriction::Below("size", Value::I64(4)),
        Restriction::OneOf("status", vec!["ACTIVE".into()]),
    ];
    let page = list(db, &THINGS, "things", &all, &small)
        .await
        .expect("page");
    let next = request(&format!("bookmark={}", page.next));
    let none = [
        Restriction::Above("size", Value::I64(1)),
        Restriction::NoneOf("status", vec!["ACTIVE".into()]),
    ];
    assert_eq!(
        list(db, &THINGS, "things", &next, &none)
            .await
            .expect("page")
            .list
            .len(),
        0
    );
    assert_eq!(
        list(db, &THINGS, "things", &next, &small)
            .await
            .expect("page")
            .list
            .len(),
        1
    );
    let nothing = [Restriction::OneOf("status", Vec::new())];
    assert_eq!(
        list(db, &THINGS, "things", &all, &nothing)
            .await
            .expect("page")
            .list
            .len(),
        0
    );
}

async fn counts_follow_filters<F: Fixture>() {
    let fixture = F::fresh().await;
    let db = fixture.db();
    for n in 1..=4 {
        put_thing(db, &n.to_string(), "T", n).await;
    }
    put(db, "5", &[("status", "REVOKED".into())]).await;
    let filters = request("filter=size[ne]4").filters;
    assert_eq!(count(db, &THINGS, &filters, &[]).await.expect("count"), 4);
    let mut by_status = count_by(db, &THINGS, "status", &filters, &[])
        .await
        .expect("counts");
    by_status.sort_by_key(|(_, n)| *n);
    assert_eq!(by_status, [("REVOKED".into(), 1), ("ACTIVE".into(), 3)]);
}

async fn no_text_makes_a_bookmark<F: Fixture>() {
    let fixture = F::fresh().await;
    let mut runner = proptest::test_runner::TestRunner::default();
    let mut texts = Vec::new();
    for _ in 0..200 {
        let tree = "[A-Za-z0-9_-]{0,200}".new_tree(&mut runner).expect("text");
        texts.push(tree.current());
    }
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        let request = ListRequest {
            bookmark: Some(text),
            ..ListRequest::default()
        };
        let outcome = list(fixture.db(), &THINGS, "things", &request, &[]).await;
        assert_eq!(refusal(outcome), "not a valid bookmark");
    }
}

proptest! {
    #[test]
    fn any_query_string_is_read_without_panic(query in "\\PC{0,80}", field in 0..9_usize, value in "\\PC{0,40}") {
        let _either = ListRequest::parse(&query, FIELDS, QueryLimits::default());
        for operand in ["eq", "ct_ic", "in", "bf", "le", "jsonpath"] {
            let filter = format!("filter={}[{operand}]{value}", FIELDS[field].name);
            if let Ok(request) = ListRequest::parse(&filter, FIELDS, QueryLimits::default()) {
                // What is written is read back.
                let again = ListRequest::parse(&request.to_query(), FIELDS, QueryLimits::default());
                prop_assert_eq!(again, Ok(request));
            }
        }
    }
}
