//! The conventions of lists, point by point, over the widest table of fields that a key has.

use http::StatusCode;
use lamassu_core::percent;
use serde_json::{Value, json};

use crate::support::{FILESYSTEM, Fixture, SOFTWARE, fixture};

/// `one` (everything set) and `Two` (as little as possible), a second later.
async fn two() -> Fixture {
    let kms = fixture().await;
    for body in [
        json!({
            "algorithm": "ECDSA", "size": 256, "name": "one", "tags": ["red", "Grün", "a\"b\\c"],
            "metadata": {
                "b": true, "s": "x", "arr": [1, 2], "n": null, "obj": [{"k": 1}, {"k": 2}],
                "e": "production", "v": 10, "h": "web-1", "score": 60, "priority": 4.75,
                "tags": [{"key": "p"}], "ports": [80, 8443], "a": {"b": "+34"},
                "field-name": 1, "at": "2026-01-02T03:04:05+02:00", "p": "50%25", "u": "Straße"
            }
        }),
        json!({"algorithm": "ECDSA", "size": 384, "name": "Two", "engine_id": SOFTWARE}),
    ] {
        let (status, key) = kms.post("/v1/keys", body).await;
        assert_eq!(status, StatusCode::CREATED, "{key}");
        kms.clock.advance(time::Duration::seconds(1));
    }
    let (_, page) = kms.get("/v1/keys?filter=name[eq]one").await;
    let id = page["list"][0]["key_id"].as_str().unwrap();
    kms.alias(id, "Nick").await;
    kms
}

fn names(page: &Value) -> Vec<&str> {
    let keys = page["list"].as_array().unwrap();
    keys.iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

/// The names that a query lists, or why it was refused.
async fn answer(kms: &Fixture, query: &str) -> String {
    let query = query
        .replace(' ', "%20")
        .replace('"', "%22")
        .replace('>', "%3E");
    let (status, body) = kms.get(&format!("/v1/keys?{query}")).await;
    match status {
        StatusCode::OK => names(&body).join(" "),
        StatusCode::BAD_REQUEST => body["err"].as_str().unwrap().to_owned(),
        _ => format!("{status} {body}"),
    }
}

async fn check(kms: &Fixture, cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (query, expected) in cases {
        let found = answer(kms, query).await;
        if found != *expected {
            wrong.push(format!("{query}: {found:?} instead of {expected:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// As [`check`], with filters that are encoded here.
async fn check_filters(kms: &Fixture, cases: &[(&str, &str)]) {
    let encoded: Vec<_> = cases
        .iter()
        .map(|(filter, expected)| (format!("filter={}", percent::encode(filter)), *expected))
        .collect();
    let cases: Vec<_> = encoded.iter().map(|(q, e)| (q.as_str(), *e)).collect();
    check(kms, &cases).await;
}

#[tokio::test]
async fn every_operand_of_every_type_selects_what_it_says() {
    let kms = two().await;
    let both = "one Two";
    check_filters(
        &kms,
        &[
            ("name[eq]one", "one"),
            ("name[eq]One", ""),
            ("name[EQUAL]one", "one"),
            ("name[eq]=one", "one"),
            ("name[eq]:one", "one"),
            ("name[eq]==one", ""),
            ("name[eq_ic]ONE", "one"),
            ("name[equal_ignorecase]two", "Two"),
            ("name[ne]one", "Two"),
            ("name[notequal]One", both),
            ("name[ne_ic]ONE", "Two"),
            ("name[notequal_ignorecase]TWO", "one"),
            ("name[ct]n", "one"),
            ("name[contains]N", ""),
            ("name[ct_ic]N", "one"),
            ("name[contains_ic]T", "Two"),
            ("name[contains_ignorecase]O", both),
            ("name[nc]n", "Two"),
            ("name[notcontains]N", both),
            ("name[nc_ic]N", "Two"),
            ("name[notcontains_ignorecase]o", ""),
            ("name[in]one,two,", "one"),
            ("name[in] one", ""),
            ("name[in]", both),
            ("name[in],,", both),
            ("name[in_ic]ONE,two", both),
            ("name[nin]one", "Two"),
            ("name[nin]", both),
            ("name[nin_ic]ONE,TWO", ""),
            ("name[ct]%", ""),
            ("name[ct_ic]_", ""),
            ("name[eq_ic]o_e", ""),
            ("name[ct]\\", ""),
            ("name[ct]'", ""),
            ("tags[ct]red", "one"),
            ("tags[contains]RED", ""),
            ("tags[ct]re", ""),
            ("tags[ct_ic]GRÜN", "one"),
            ("tags[contains_ignorecase]gru", ""),
            ("tags[contains_ic]Red", "one"),
            ("tags[ct]a\"b\\c", "one"),
            ("tags[ct_ic]A\"B\\C", "one"),
            ("tags[ct_ic]%", ""),
            ("aliases[ct]Nick", "one"),
            ("aliases[ct_ic]nick", "one"),
            ("creation_ts[eq]2026-03-02T09:15:27.481233Z", "one"),
            ("creation_ts[equal]2026-03-02T10:15:27.481233+01:00", "one"),
            ("creation_ts[eq]2026-03-02", ""),
            ("creation_ts[bf]2026-03-02T09:15:28Z", "one"),
            ("creation_ts[before]2026-03-02 09:15:28", "one"),
            ("creation_ts[bf]2026-03-02T09:15:27.481233Z", ""),
            ("creation_ts[af]2026-03-02T09:15:28", "Two"),
            ("creation_ts[after]2026-03-02", both),
            ("creation_ts[af]9999-12-31T23:59:59Z", ""),
            ("creation_ts[af]0001-01-01T00:00:00Z", both),
            ("size[eq]256", "one"),
            ("size[ne]256", "Two"),
            ("size[lt]384", "one"),
            ("size[lessthan]256", ""),
            ("size[le]256", "one"),
            ("size[lessequal]384", both),
            ("size[lessorequal]384", both),
            ("size[gt]256", "Two"),
            ("size[greaterthan]384", ""),
            ("size[ge]384", "Two"),
            ("size[greaterequal]256", both),
            ("size[greaterorequal]256", both),
            ("size[gt]-9223372036854775808", both),
            ("has_private_key[eq]true", both),
            ("has_private_key[equal]YES", both),
            ("has_private_key[ne]on", ""),
            ("has_private_key[notequal]0", both),
            ("has_private_key[in]f,no,off", ""),
            ("has_private_key[in]", both),
            ("engine_id[eq]software-1", "Two"),
            ("algorithm[ct]EC", both),
            ("public_key[nc]!", both),
        ],
    )
    .await;
}

#[tokio::test]
async fn bad_operands_and_values_are_refused_with_the_known_texts() {
    let kms = two().await;
    check_filters(
        &kms,
        &[
            (
                "name[gt]a",
                "invalid filter operand 'gt' for field 'name' of type 0",
            ),
            (
                "tags[Eq]a",
                "invalid filter operand 'Eq' for field 'tags' of type 1",
            ),
            (
                "creation_ts[ge]a",
                "invalid filter operand 'ge' for field 'creation_ts' of type 2",
            ),
            (
                "size[in]1",
                "invalid filter operand 'in' for field 'size' of type 3",
            ),
            (
                "has_private_key[ct]t",
                "invalid filter operand 'ct' for field 'has_private_key' of type 4",
            ),
            (
                "metadata[eq]x",
                "invalid filter operand 'eq' for field 'metadata' of type 5",
            ),
            (
                "name[]x",
                "invalid filter operand '' for field 'name' of type 0",
            ),
            (
                "name[jsonpath]$",
                "invalid filter operand 'jsonpath' for field 'name' of type 0",
            ),
            (
                "creation_ts[bf]soon",
                "invalid value for field 'creation_ts': not a date",
            ),
            (
                "creation_ts[bf]",
                "invalid value for field 'creation_ts': not a date",
            ),
            (
                "creation_ts[eq]2026-02-30",
                "invalid value for field 'creation_ts': not a date",
            ),
            (
                "size[eq]big",
                "invalid value for field 'size': not an integer",
            ),
            (
                "size[eq]1.5",
                "invalid value for field 'size': not an integer",
            ),
            ("size[eq]", "invalid value for field 'size': not an integer"),
            (
                "size[eq]9223372036854775808",
                "invalid value for field 'size': not an integer",
            ),
            (
                "has_private_key[eq]maybe",
                "invalid value for field 'has_private_key': not a boolean",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn filters_add_up_and_what_the_list_does_not_have_is_ignored() {
    let kms = two().await;
    check(
        &kms,
        &[
            ("filter=name[ct]o&filter=name[nc]T", "one"),
            (
                "filter=size[gt]1&filter=size[lt]300&filter=tags[ct]red",
                "one",
            ),
            (
                "filter=metadata[jsonpath]exists($.s)&filter=metadata[jsonpath]$.v>99",
                "",
            ),
            ("filter=nope[eq]x", "one Two"),
            ("filter=Name[eq]x", "one Two"),
            ("filter= name[eq]x", "one Two"),
            ("filter=name", "one Two"),
            ("filter=name]eq[x", "one Two"),
            ("filter=", "one Two"),
            ("Filter=name[eq]x", "one Two"),
            // The column of this name is gone; clients still send it.
            ("page=7&unknown[]=1", "one Two"),
            // Raw brackets, a plus for a space, pairs that cannot be decoded.
            ("filter=name[eq]on%zz", "one Two"),
            ("filter=name[eq]on;e", "one Two"),
            ("filter=name[eq]%ff", "one Two"),
            ("filter=name[eq]on%", "one Two"),
            ("&&filter=name[eq]one&=&", "one"),
            ("filter=metadata[jsonpath]$.s+==+%22x%22", "one"),
            ("filter=name[eq]{}|^'", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn predicates_follow_the_sql_json_path_language() {
    let kms = two().await;
    let both = "one Two";
    let cases: Vec<(String, &str)> = [
        (r#"$.s == "x""#, "one"),
        (r#"$.s != "y""#, "one"),
        (r#"!($.s == "y")"#, both),
        ("exists($.s)", "one"),
        ("$.s", ""),
        ("$.b", "one"),
        ("$.arr[*] ? (@ == 1)", ""),
        ("exists($.arr[*] ? (@ == 1))", "one"),
        ("$.arr == 2", "one"),
        ("$.arr[0] == 1", "one"),
        ("$.arr[last] == 2", "one"),
        ("$.arr[last-1] == 1", "one"),
        ("$.arr[0 to 1] == 2", "one"),
        ("$.arr[0,1] == 2", "one"),
        ("$.n == null", "one"),
        ("$.s > 1", ""),
        ("($.s > 1) is unknown", "one"),
        ("strict $.zz == 1", ""),
        ("lax $.arr == 2", "one"),
        (r#"$.s starts with "x""#, "one"),
        (r#"$.s like_regex "^X" flag "i""#, "one"),
        (r#"$.s like_regex "^X""#, ""),
        (r#"$.h like_regex "^web-[0-9]+$""#, "one"),
        ("$.arr.size() == 2", "one"),
        (r#"$.b.type() == "boolean""#, "one"),
        ("$.obj[*].k == 2", "one"),
        ("$.obj.k == 2", "one"),
        ("exists($.a.b)", "one"),
        ("exists($.tags[0].key)", "one"),
        (r#"exists($.tags[*] ? (@.key == "p"))"#, "one"),
        (r#"$.e == "production" && $.b == true"#, "one"),
        (r#"$.e == "test" || $.v > 2"#, "one"),
        (r#"($.e == "a" || $.e == "production") && $.v <= 10"#, "one"),
        ("exists($.ports[*] ? (@ > 8000)) && exists($.ports)", "one"),
        ("$.score >= 40 && $.score <= 80", "one"),
        ("$.priority > 4.5", "one"),
        ("$.v + 1 > 10", "one"),
        ("-$.v < 0", "one"),
        ("$.v % 3 == 1", "one"),
        ("$.priority.floor() == 4", "one"),
        ("$.priority.ceiling() == 5", "one"),
        ("(-$.v).abs() == 10", "one"),
        (r#"$."field-name" == 1"#, "one"),
        (r#"$.a.b == "+34""#, "one"),
        (r#"$.** == "+34""#, "one"),
        (r#"$.**{2} == "+34""#, "one"),
        (r#"$.*.b == "+34""#, "one"),
        (r#"$.u == "Stra\u00dfe""#, "one"),
        (r#"exists($.keyvalue() ? (@.key == "s"))"#, "one"),
        (
            r#"$.at.datetime() < "2026-01-02T03:04:05+00:00".datetime()"#,
            "one",
        ),
        // Percent-encoded once more by the client.
        ("%24.s%20%3D%3D%20%22x%22", "one"),
        // Nothing is decoded twice that is an expression already.
        (r#"$.p == "50%25""#, "one"),
    ]
    .into_iter()
    .map(|(path, expected)| (format!("metadata[jsonpath]{path}"), expected))
    .collect();
    let cases: Vec<_> = cases.iter().map(|(f, e)| (f.as_str(), *e)).collect();
    check_filters(&kms, &cases).await;
}

#[tokio::test]
async fn what_is_no_predicate_of_both_databases_is_refused() {
    let kms = two().await;
    let deep = format!("{}$.a == 1{}", "(".repeat(99), ")".repeat(99));
    let long = format!("$.a == \"{}\"", "x".repeat(4_096));
    for path in [
        "",
        "$.s == 'x'",
        "$.s === 1",
        r#"$.tags[?(@.key == "x")]"#,
        "s == 1",
        "$.field-name == ",
        "$.s > 1 is unknown",
        "$x == 1",
        "$.a.bigint() == 1",
        "$.a.string() == \"x\"",
        r#"$.s like_regex "(""#,
        r#"$.s like_regex "(?=x)""#,
        r#"$.s like_regex "a" flag "z""#,
        "$.[",
        "$.a == \"\u{0}\"",
        &deep,
        &long,
    ] {
        let filter = percent::encode(&format!("metadata[jsonpath]{path}"));
        let refused = answer(&kms, &format!("filter={filter}")).await;
        let known = refused.starts_with("invalid JSONPath expression: ")
            || refused.ends_with("holds the character U+0000, which cannot be stored");
        assert!(known, "{path}: {refused}");
    }
}

#[tokio::test]
async fn sorts_follow_the_fields_and_refused_ones_leave_the_order_of_creation() {
    let kms = two().await;
    let down = "Two one";
    let up = "one Two";
    check(
        &kms,
        &[
            ("", up),
            ("sort_mode=desc", up),
            ("sort_by=name", up),
            ("sort_by=%20name%20&sort_mode=desc", down),
            ("sort_by=name&sort_mode=DESC", up),
            ("sort_by=name&sort_mode=desc&sort_mode=asc", up),
            ("sort_by=size&sort_by=nope&sort_mode=desc", up),
            ("sort_by=size&sort_mode=desc", down),
            ("sort_by=creation_ts&sort_mode=desc", down),
            ("sort_by=tags", up),
            ("sort_by=metadata", up),
            (
                "sort_by=has_private_key&filter=engine_id[eq]filesystem-1",
                "one",
            ),
            // Missing comes first upwards, last downwards.
            ("sort_by=metadata[jsonpath]$.v", down),
            ("sort_by=metadata[jsonpath]$.v&sort_mode=desc", up),
            ("sort_by=metadata[JSONPATH]$.arr[0]", down),
            ("sort_by=metadata[jsonpath]$.arr[last]", down),
            ("sort_by=metadata[jsonpath]$.%22field-name%22", down),
            ("sort_by=metadata[jsonpath]$.field-name", down),
            ("sort_by=name[jsonpath]$.v&sort_mode=desc", up),
            ("sort_by=metadata[eq]$.v", up),
            ("sort_by=metadata[jsonpath]$.v'; DROP TABLE kms_key", up),
            ("sort_by=metadata[jsonpath]$.v UNION SELECT 1", up),
            ("sort_by=metadata[jsonpath]$.v-- comment", up),
            ("sort_by=metadata[jsonpath]$.v) OR 1=1--", up),
            ("sort_by=metadata[jsonpath]$.v WHERE 1=1", up),
            ("sort_by=metadata[jsonpath]$.tags[*]", up),
            ("sort_by=metadata[jsonpath]$", up),
            ("sort_by=metadata[jsonpath]$.v[99999999999999999999999]", up),
            ("sort_by=metadata[jsonpath]$.%22a%5Cb%22", up),
            (
                "sort_by=metadata[jsonpath]$.v&filter=metadata[jsonpath]$.v%3E1",
                "one",
            ),
        ]
        .map(|(query, expected)| (query, expected)),
    )
    .await;
}

/// Many keys, written as rows: what counts here is the list.
async fn many(kms: &Fixture, n: i64) {
    let model = kms.made_id(FILESYSTEM).await;
    for index in 0..n {
        kms.execute(lamassu_db::sql(
            "INSERT INTO kms_key (handle, revision, state, state_changed_at, key_id, name, \
             name_folded, aliases, engine_id, has_private_key, algorithm, size, public_key, \
             created_at, tags, metadata) \
             SELECT $1, revision, state, state_changed_at, $2, $3, $3, aliases, engine_id, \
             has_private_key, algorithm, $4, public_key, $5, tags, $6 \
             FROM kms_key WHERE key_id = $7",
            lamassu_db::params![
                format!("h{index:03}"),
                format!("{index:064x}"),
                format!("k{index:03}"),
                index / 4,
                index,
                json!({"rank": -index}),
                model.as_str(),
            ],
        ))
        .await;
    }
    delete(kms, "a key").await;
}

/// All names, as the reference's SDK iterates: only the bookmark, and always `sort_mode=desc`.
async fn walk(kms: &Fixture, first: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut query = first.to_owned();
    loop {
        let (status, page) = kms.get(&format!("/v1/keys?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        pages.push(names(&page).into_iter().map(str::to_owned).collect());
        match page["next"].as_str().unwrap() {
            "" => return pages,
            next => query = format!("bookmark={next}&sort_mode=desc"),
        }
    }
}

#[tokio::test]
async fn exhaustive_runs_see_everything_once_in_order_whatever_the_ties() {
    let kms = fixture().await;
    many(&kms, 30).await;
    let up: Vec<_> = (0..30).map(|index| format!("k{index:03}")).collect();
    let down: Vec<_> = up.iter().rev().cloned().collect();
    // Ties are broken by the key upwards, whatever the direction of the sort.
    let mut by_size_down = Vec::new();
    for size in (0..8).rev() {
        by_size_down.extend(
            (0..30)
                .filter(|n| n / 4 == size)
                .map(|n| format!("k{n:03}")),
        );
    }
    for (sort, expected) in [
        ("", &up),
        ("sort_by=name&sort_mode=asc", &up),
        ("sort_by=name&sort_mode=desc", &down),
        ("sort_by=size&sort_mode=asc", &up),
        ("sort_by=size&sort_mode=desc", &by_size_down),
        ("sort_by=engine_id&sort_mode=desc", &up),
        ("sort_by=metadata[jsonpath]$.rank", &down),
        ("sort_by=metadata[jsonpath]$.none&sort_mode=desc", &up),
        ("sort_by=tags&sort_mode=desc", &up),
    ] {
        for size in [1, 7, 10, 29, 30, 31] {
            let pages = walk(&kms, &format!("{sort}&page_size={size}")).await;
            let n_pages = 30_usize.div_ceil(size);
            assert_eq!(pages.len(), n_pages, "{sort} {size}: an empty last page");
            assert_eq!(&pages.concat(), expected, "{sort} {size}");
        }
    }
}

#[tokio::test]
async fn page_sizes_are_those_of_the_reference() {
    let kms = fixture().await;
    many(&kms, 30).await;
    for (query, expected) in [
        ("", 25),
        ("page_size=7", 7),
        ("page_size=%2B7", 7),
        ("page_size=x", 25),
        ("page_size=7.0", 25),
        ("page_size=", 25),
        ("page_size=0", 15),
        ("page_size=-1", 15),
        ("page_size=99999999999999", 30),
        ("page_size=99999999999999999999", 25),
        ("page_size=3&page_size=4", 4),
        ("PAGE_SIZE=3", 25),
    ] {
        let (_, page) = kms.get(&format!("/v1/keys?{query}")).await;
        assert_eq!(names(&page).len(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_bookmark_decides_everything_and_bears_no_change() {
    let kms = fixture().await;
    many(&kms, 9).await;
    let first = "filter=size[lt]2&sort_by=name&sort_mode=desc&page_size=3";
    let (_, page) = kms.get(&format!("/v1/keys?{first}")).await;
    assert_eq!(names(&page), ["k007", "k006", "k005"]);
    let next = page["next"].as_str().unwrap();
    assert!(
        next.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
        "{next}"
    );
    for also in [
        "",
        "&sort_mode=asc",
        "&page_size=1&sort_by=size&filter=size[gt]99",
        "&filter=name[in]k000&sort_by=metadata[jsonpath]$.rank",
    ] {
        assert_eq!(
            answer(&kms, &format!("bookmark={next}{also}")).await,
            "k004 k003 k002",
            "{also}"
        );
    }
    let tampered = format!("{}A", next.get(..next.len() - 1).unwrap());
    for text in [
        tampered.as_str(),
        "x",
        "b2ZmOjI1O2xpbToyNTs",
        "%20",
        &next.to_uppercase(),
        &format!("{next}{next}"),
        &format!("{next}%3D"),
    ] {
        assert_eq!(
            answer(&kms, &format!("bookmark={text}")).await,
            "not a valid bookmark",
            "{text}"
        );
    }
    // The last one counts, and an empty one is none.
    assert_eq!(
        answer(&kms, &format!("bookmark=x&bookmark={next}")).await,
        "k004 k003 k002"
    );
    assert_eq!(answer(&kms, "bookmark=&page_size=1").await, "k000");
}

#[tokio::test]
async fn rows_that_come_and_go_between_pages_move_no_other_row() {
    for (mode, expected) in [
        ("asc", ["k000 k002", "k003 k005", "k006 k008"]),
        ("desc", ["k008 k006", "k005 k003", "k002 k000"]),
    ] {
        let kms = fixture().await;
        many(&kms, 9).await;
        for gone in ["k001", "k004", "k007"] {
            delete(&kms, gone).await;
        }
        let mut query = format!("sort_by=name&sort_mode={mode}&page_size=2");
        for (n, page) in expected.iter().enumerate() {
            let (_, body) = kms.get(&format!("/v1/keys?{query}")).await;
            assert_eq!(names(&body).join(" "), *page, "{mode}");
            // What was shown goes, the row that the bookmark names too.
            for shown in page.split(' ') {
                delete(&kms, shown).await;
            }
            let next = body["next"].as_str().unwrap();
            assert_eq!(next.is_empty(), n == 2);
            query = format!("bookmark={next}");
        }
    }
}

async fn delete(kms: &Fixture, name: &str) {
    kms.execute(lamassu_db::sql(
        "DELETE FROM kms_key WHERE name = $1",
        lamassu_db::params![name],
    ))
    .await;
}

#[tokio::test]
async fn statistics_take_the_same_filters() {
    let kms = two().await;
    for (query, expected) in [
        ("", 2),
        ("filter=name[eq]one", 1),
        ("filter=name[eq]nobody", 0),
        ("filter=nope[eq]x", 2),
        ("filter=status[eq]ACTIVE", 2),
        ("filter=status[eq]x", 0),
        ("filter=size[gt]1&filter=name[eq_ic]TWO", 1),
        ("sort_by=nope&page_size=1&page_size=x", 2),
        ("filter=metadata[jsonpath]$.v%20==%2010", 1),
    ] {
        let (status, body) = kms.get(&format!("/v1/stats?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {body}");
        assert_eq!(body["total_keys"], expected, "{query}");
        let engines = body["keys_distribution_per_engine"].as_object().unwrap();
        let sum: i64 = engines.values().filter_map(Value::as_i64).sum();
        assert_eq!(sum, expected, "{query}");
    }
    for (filter, text) in [
        (
            "size[eq]x",
            "invalid value for field 'size': not an integer",
        ),
        (
            "name[bf]x",
            "invalid filter operand 'bf' for field 'name' of type 0",
        ),
    ] {
        let (status, body) = kms.get(&format!("/v1/stats?filter={filter}")).await;
        assert_eq!((status.as_u16(), &body["err"]), (400, &json!(text)));
    }
}
