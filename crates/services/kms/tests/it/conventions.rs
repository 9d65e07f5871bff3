//! The conventions of lists, point by point, over the widest table of fields that a key has.

use http::StatusCode;
use lamassu_core::query::FieldKind;
use lamassu_kms::KEY_FIELDS;
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};

use crate::support::{FILESYSTEM, Fixture, SOFTWARE, fixture};

/// `one` (everything set) and `Two` (as little as possible), a second later.
async fn two() -> Fixture {
    let kms = fixture().await;
    for body in [
        json!({
            "algorithm": "ECDSA", "size": 256, "name": "one", "tags": ["red", "Grün", "a\"b\\c"],
            "metadata": lists::document(),
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

/// The list of keys, which are told apart by their names.
fn keys(kms: &Fixture) -> ListOf<'_> {
    ListOf {
        routes: &kms.routes,
        path: "/v1/keys",
        name: "/name",
        fields: KEY_FIELDS,
        shown: lists::by_name,
    }
}

#[tokio::test]
async fn every_operand_of_every_type_selects_what_it_says() {
    let kms = two().await;
    let both = "one Two";
    keys(&kms)
        .check_filters(&[
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
        ])
        .await;
}

#[tokio::test]
async fn bad_operands_and_values_are_refused_with_the_known_texts() {
    let kms = two().await;
    keys(&kms)
        .check_filters(&[
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
        ])
        .await;
}

#[tokio::test]
async fn filters_of_every_field_select_what_keys_show() {
    let kms = two().await;
    keys(&kms).check_filters_of_every_field().await;
}

#[tokio::test]
async fn every_field_sorts_both_ways() {
    let kms = fixture().await;
    many(&kms, 9).await;
    keys(&kms).check_sorts_of_every_field().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said() {
    let kms = two().await;
    keys(&kms).check_refusals().await;
    keys(&kms).check_what_is_ignored().await;
}

#[tokio::test]
async fn predicates_follow_the_sql_json_path_language() {
    let kms = two().await;
    let fields = KEY_FIELDS
        .iter()
        .filter(|field| field.kind == FieldKind::Json);
    assert_eq!(
        fields.map(|field| field.name).collect::<Vec<_>>(),
        ["metadata"]
    );
    keys(&kms).check_predicates("metadata", "one").await;
    keys(&kms).check_path_sorts("metadata", "one").await;
}

#[tokio::test]
async fn filters_add_up() {
    let kms = two().await;
    keys(&kms)
        .check(&[
            ("filter=name[ct]o&filter=name[nc]T", "one"),
            (
                "filter=size[gt]1&filter=size[lt]300&filter=tags[ct]red",
                "one",
            ),
            ("&&filter=name[eq]one&=&", "one"),
            ("filter=metadata[jsonpath]$.s+==+%22x%22", "one"),
            ("filter=name[eq]{}|^'", ""),
            (
                "sort_by=has_private_key&filter=engine_id[eq]filesystem-1",
                "one",
            ),
        ])
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
        let keys = keys(&kms);
        assert_eq!(
            &keys.walk(&format!("{sort}&page_size=7")).await.concat(),
            expected,
            "{sort}"
        );
        keys.check_runs(&[sort]).await;
    }
    keys(&kms).check_page_sizes().await;
}

#[tokio::test]
async fn a_bookmark_decides_everything_and_bears_no_change() {
    let kms = two().await;
    keys(&kms).check_bookmarks(&[]).await;
}

#[tokio::test]
async fn rows_that_come_and_go_between_pages_move_no_other_row() {
    for sort in [
        "sort_by=name&sort_mode=asc",
        "sort_by=name&sort_mode=desc",
        "sort_by=size",
        "",
    ] {
        let kms = fixture().await;
        many(&kms, 9).await;
        keys(&kms)
            .check_changes_between_pages(
                sort,
                async |name| delete(&kms, &name).await,
                async || {
                    kms.made_id(SOFTWARE).await;
                },
            )
            .await;
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
    let sum = |member: &str, body: &Value| -> i64 {
        let counts = body[member].as_object().unwrap();
        counts.values().filter_map(Value::as_i64).sum()
    };
    keys(&kms)
        .check_statistics(
            "/v1/stats",
            "filter",
            |body| body["total_keys"].as_i64().unwrap(),
            &[],
        )
        .await;
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
        assert_eq!(
            sum("keys_distribution_per_engine", &body),
            expected,
            "{query}"
        );
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
