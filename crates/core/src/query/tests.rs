use std::num::NonZeroU32;

use proptest::prelude::*;
use serde_json::json;
use time::macros::datetime;

use super::{
    Case, Condition, Field, FieldKind, Filter, Hex, JsonPath, ListRequest, Membership, Operand,
    QueryError, QueryLimits, Sort, SortMode, SortPath, UnknownFields, decode_form, fold,
    ignored_filters, json_sort_key, parse_instant,
};

static FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("issuer_meta.id", "issuer_id").alias("issuer_metadata.id"),
    Field::string_array("tags", "tags"),
    Field::date("valid_to", "valid_to"),
    Field::number("size", "size"),
    Field::enumeration("status", "status").choices(&["ACTIVE", "REVOKED"]),
    Field::string("serial_number", "serial_number").hex(Hex::Number),
    Field::string("fingerprint", "fingerprint").hex(Hex::Octets),
    Field::boolean("is_ca", "is_ca"),
    Field::json("metadata", "metadata"),
];

const STRICT: QueryLimits = QueryLimits {
    max_page_size: NonZeroU32::MIN.saturating_add(99),
    unknown_fields: UnknownFields::Refuse,
};

fn parse(query: &str) -> Result<ListRequest, QueryError> {
    ListRequest::parse(query, FIELDS, QueryLimits::default())
}

#[test]
fn page_sizes_follow_the_reference() {
    for (query, expected) in [
        ("", 25),
        ("page_size=7", 7),
        ("page_size=%2B7", 7),
        ("page_size=7&page_size=8", 8),
        ("page_size=x", 25),
        ("page_size=", 25),
        ("page_size=0", 15),
        ("page_size=-3", 15),
        ("page_size=99999999999", 10_000),
        ("Page_size=7", 25),
    ] {
        assert_eq!(
            parse(query).map(|request| request.page_size),
            Ok(expected),
            "{query}"
        );
    }
}

#[test]
fn refusals_have_the_texts_that_clients_know() {
    for (query, text) in [
        (
            "filter=metadata[eq]x",
            "invalid filter operand 'eq' for field 'metadata' of type 5",
        ),
        (
            "filter=id[Like]x",
            "invalid filter operand 'Like' for field 'id' of type 0",
        ),
        (
            "filter=is_ca[ct]x",
            "invalid filter operand 'ct' for field 'is_ca' of type 4",
        ),
        (
            "filter=valid_to[bf]soon",
            "invalid value for field 'valid_to': not a date",
        ),
        (
            "filter=size[eq]1.5",
            "invalid value for field 'size': not an integer",
        ),
        (
            "filter=is_ca[eq]perhaps",
            "invalid value for field 'is_ca': not a boolean",
        ),
        (
            "filter=metadata[jsonpath]environment",
            "invalid JSONPath expression: unexpected `environment` at character 1",
        ),
    ] {
        assert_eq!(parse(query).expect_err(query).to_string(), text);
    }
}

#[test]
fn what_is_ignored_has_a_name() {
    let pairs = decode_form("filter=nope[eq]x&filter=id[eq]x&filter=nope[ne]y&filter=é]x&filter=");
    let pairs = pairs.unwrap();
    assert_eq!(ignored_filters(&pairs, FIELDS), ["nope", "é]x", ""]);
    let long = [("filter".to_owned(), "ß".repeat(99))];
    assert_eq!(ignored_filters(&long, FIELDS), ["ß".repeat(64)]);
}

#[test]
fn unknown_fields_are_ignored_unless_refused() {
    for (query, text) in [
        ("filter=nope[eq]x", "unknown filter field 'nope'"),
        ("filter=id]eq[x", "malformed filter 'id]eq[x'"),
        ("sort_by=nope", "invalid sort 'nope'"),
    ] {
        assert_eq!(parse(query), Ok(ListRequest::default()), "{query}");
        let error = ListRequest::parse(query, FIELDS, STRICT).expect_err(query);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn one_separator_is_stripped_and_a_doubled_one_is_literal() {
    for (sent, value) in [
        ("x", "x"),
        ("=x", "x"),
        (":x", "x"),
        ("==x", "=x"),
        ("[x]=", "[x]="),
    ] {
        let request = parse(&format!("filter=id[eq]{sent}")).expect("request");
        assert_eq!(request.filters[0].value, value, "{sent}");
        assert_eq!(parse(&request.to_query()), Ok(request));
    }
}

#[test]
fn pairs_are_decoded_leniently() {
    let pairs = decode_form("a=1+2&b=%zz&c=x;y&d&%65=%C3%A9&e=[$|{}^`'\"<>]&=&&f=%f").unwrap();
    let expected = [
        ("a", "1 2"),
        ("d", ""),
        ("e", "é"),
        ("e", "[$|{}^`'\"<>]"),
        ("", ""),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(pairs, expected);
    for (query, name) in [
        ("a=1&f=%ff", "f"),
        ("%C3=1", "\u{fffd}"),
        ("f=%ED%A0%80", "f"),
    ] {
        let refused = decode_form(query).unwrap_err();
        let expected = format!("invalid query parameter '{name}': not UTF-8");
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn a_json_path_may_be_encoded_twice() {
    let expected = "$.environment == \"production\"";
    for sent in [
        "%24.environment+%3D%3D+%22production%22",
        "%2524.environment%2520%253D%253D%2520%2522production%2522",
    ] {
        let request = parse(&format!("filter=metadata%5Bjsonpath%5D{sent}")).expect("request");
        let path = JsonPath::parse(expected).expect("expression");
        let condition = super::Condition::JsonPath(path);
        assert_eq!(request.filters[0].condition, condition, "{sent}");
    }
}

#[test]
fn the_numbers_and_names_of_operands_are_stable() {
    let kinds = [
        FieldKind::String,
        FieldKind::StringArray,
        FieldKind::Date,
        FieldKind::Number,
        FieldKind::Enum,
        FieldKind::Json,
    ];
    let mut names = Vec::new();
    for code in 1..=27 {
        let found: Vec<_> = kinds
            .iter()
            .filter_map(|kind| Operand::from_code(*kind, code))
            .collect();
        assert_eq!(found.len(), 1, "{code}");
        assert_eq!(found[0].code(), code);
        names.push(found[0].name());
    }
    assert_eq!(
        names.join(" "),
        "eq eq_ic ne ne_ic ct ct_ic nc nc_ic contains contains_ignorecase eq bf af \
         eq ne lt le gt ge eq ne in in in_ic nin nin_ic jsonpath"
    );
    assert_eq!(Operand::from_code(FieldKind::String, 9), None);
    assert_eq!(Operand::from_code(FieldKind::Json, 0), None);
}

#[test]
fn an_alias_names_the_same_field() {
    let request = parse("filter=issuer_metadata.id[eq]x&sort_by=issuer_metadata.id").expect("ok");
    assert_eq!(request.filters[0].field.name, "issuer_meta.id");
    assert_eq!(
        request.sort.map(|sort| sort.field.column),
        Some("issuer_id")
    );
}

#[test]
fn dates_are_read_in_four_forms() {
    for (text, expected) in [
        (
            "2024-03-01T10:00:00.5+02:00",
            datetime!(2024-03-01 8:00:00.5 UTC),
        ),
        ("0001-01-01T00:00:00Z", datetime!(0001-01-01 0:00 UTC)),
        ("2024-03-01T10:00:00", datetime!(2024-03-01 10:00 UTC)),
        (
            "2024-03-01 10:00:00.25",
            datetime!(2024-03-01 10:00:00.25 UTC),
        ),
        ("2024-03-01", datetime!(2024-03-01 0:00 UTC)),
    ] {
        assert_eq!(parse_instant(text), Some(expected), "{text}");
    }
    for text in ["", "2024-13-45", "2024", "now", "2024-03-01T25:00:00Z"] {
        assert_eq!(parse_instant(text), None, "{text}");
    }
}

#[test]
fn text_folds_by_single_characters() {
    assert_eq!(fold("ÀÉ Straße ΣΊΣΥΦΟΣ K"), "àé straße σίσυφοσ k");
}

#[test]
fn simple_paths_sort_and_others_do_not() {
    let document = json!({"a": {"b-c": [1, {"é": 2}]}, "x y": 3});
    for (path, expected) in [
        ("$.a.b-c[0]", Some(json!(1))),
        ("$.a.b-c[last].é", Some(json!(2))),
        ("$.\"x y\"", Some(json!(3))),
        ("$.a[0]", None),
        ("$.description", None),
    ] {
        let parsed = SortPath::parse(path).expect(path);
        assert_eq!(parsed.find(&document).cloned(), expected, "{path}");
        assert_eq!(parsed.to_string(), path);
    }
    for path in [
        "",
        "$",
        "a",
        "$.",
        "$.a--b",
        "$.a[*]",
        "$.a ? (@ > 1)",
        "$.a\"",
        "$[-1]",
        "$..",
    ] {
        assert_eq!(SortPath::parse(path), None, "{path}");
    }
    assert_eq!(
        Sort::parse(FIELDS, "id[jsonpath]$.a", SortMode::Ascending),
        None
    );
}

#[test]
fn sort_keys_order_json_values() {
    let ascending = [
        json!(null),
        json!(false),
        json!(true),
        json!(-1e300),
        json!(-2),
        json!(-1.5),
        json!(0),
        json!(1.5),
        json!(10),
        json!(12_345_678_901_234_567_890_u64),
        json!("1999-12-31T23:59:59Z"),
        json!("2000-01-01"),
        json!("2000-01-01T00:00:00-01:00"),
        json!("10"),
        json!("2000-99-99"),
        json!("A"),
        json!("a"),
        json!("aa"),
        json!("B"),
        json!([]),
        json!({}),
    ];
    let keys: Vec<_> = ascending
        .iter()
        .map(|value| json_sort_key(Some(value)))
        .collect();
    for (position, pair) in keys.windows(2).enumerate() {
        assert!(
            pair[0] < pair[1],
            "{} and its successor",
            ascending[position]
        );
    }
    assert_eq!(json_sort_key(None), json_sort_key(Some(&json!(null))));
}

proptest! {
    #[test]
    fn no_query_string_panics(query in "\\PC{0,120}") {
        // Either outcome is fine; what is accepted is written and read back as it was.
        if let Ok(request) = parse(&query) {
            let again = parse(&request.to_query());
            prop_assert_eq!(again, Ok(request));
        }
    }

    #[test]
    fn every_value_survives_the_query_string(value in "\\PC{0,40}", field in 0..FIELDS.len()) {
        for code in 1..=27 {
            let Some(operand) = Operand::from_code(FIELDS[field].kind, code) else { continue };
            let Ok(filter) = Filter::new(&FIELDS[field], operand, &value) else { continue };
            let request = ListRequest { filters: vec![filter], ..ListRequest::default() };
            prop_assert_eq!(parse(&request.to_query()), Ok(request));
        }
    }

    #[test]
    fn number_keys_order_like_numbers(a in any::<f64>(), b in any::<f64>()) {
        prop_assume!(a.is_finite() && b.is_finite());
        let order = json_sort_key(Some(&json!(a))).cmp(&json_sort_key(Some(&json!(b))));
        prop_assert_eq!(Some(order), a.partial_cmp(&b));
    }

    #[test]
    fn no_sort_panics(text in "\\PC{0,40}") {
        if let Some(sort) = Sort::parse(FIELDS, &text, SortMode::Ascending) {
            prop_assert_eq!(Sort::parse(FIELDS, &sort.to_text(), SortMode::Ascending), Some(sort));
        }
    }
}

#[test]
fn filters_are_bounded() {
    let filters = |n: usize| vec!["filter=id[eq]a"; n].join("&");
    let list = |n: usize| format!("filter=id[nin]{}", vec!["a"; n].join(","));
    let long = |n: usize| format!("filter=id[eq]{}", "a".repeat(n));
    for (fits, too_much, text) in [
        (filters(32), filters(33), "a request has at most 32 filters"),
        (
            list(1_000),
            list(1_001),
            "a list in a filter has at most 1000 elements",
        ),
        (
            long(32_768 - 6),
            long(32_768 - 5),
            "the filters of a request have at most 32768 bytes",
        ),
    ] {
        parse(&fits).expect("within the limit");
        let error = parse(&too_much).expect_err(text);
        assert_eq!(error.to_string(), text);
    }
    // What is ignored costs no less to look at.
    let unknown = vec!["filter=none[eq]a"; 33].join("&");
    parse(&unknown).expect_err("too many");
}

proptest::proptest! {
    #[test]
    fn any_query_is_decoded_without_panic(query in proptest::prelude::any::<String>()) {
        if let Ok(pairs) = decode_form(&query) {
            assert!(pairs.len() <= query.split('&').count());
        }
    }

    #[test]
    fn an_encoded_value_decodes_to_itself(value in proptest::prelude::any::<String>()) {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(decode_form(&format!("k={encoded}")).unwrap(), [("k".to_owned(), value)]);
    }
}

#[test]
fn limits_are_read_from_a_configuration() {
    let read = |text: &str| serde_json::from_str::<QueryLimits>(text);
    assert_eq!(read("{}").unwrap(), QueryLimits::default());
    assert_eq!(
        read(r#"{"max_page_size": 100, "strict_query": true}"#).unwrap(),
        STRICT
    );
    for wrong in [r#"{"max_page_size": 0}"#, r#"{"strict_query": "warn"}"#] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn hexadecimal_is_read_as_tools_print_it() {
    let one_of = |values: &[&str]| Condition::OneOf {
        membership: Membership::In,
        case: Case::Exact,
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    let contains = |value: &str| Condition::Contains {
        membership: Membership::In,
        case: Case::Exact,
        value: value.to_owned(),
    };
    for (filter, condition) in [
        ("serial_number[eq]43:26:FD:A9", one_of(&["4326fda9"])),
        ("serial_number[eq]00:F3:26", one_of(&["f326"])),
        ("serial_number[eq]f32", one_of(&["0f32"])),
        ("serial_number[in]0A,00 0b", one_of(&["0a", "0b"])),
        ("serial_number[ct]0:0A", contains("00a")),
        ("fingerprint[eq]00:AB-cd EF", one_of(&["00abcdef"])),
        // What is no hexadecimal is left alone, and finds nothing.
        ("fingerprint[ct]Ab:xY", contains("Ab:xY")),
        ("id[eq]AB:CD", one_of(&["AB:CD"])),
    ] {
        let request = parse(&format!("filter={}", filter.replace(' ', "%20"))).expect(filter);
        assert_eq!(request.filters[0].condition, condition, "{filter}");
    }
}

#[test]
fn words_that_a_field_does_not_have_are_refused_where_nothing_is_ignored() {
    for query in ["filter=status[in]ACTIVE,revokd", "filter=status[ne]revokd"] {
        assert_eq!(parse(query).map(|request| request.filters.len()), Ok(1));
        let error = ListRequest::parse(query, FIELDS, STRICT).expect_err(query);
        assert_eq!(
            error.to_string(),
            "invalid value for field 'status': there is no \"revokd\", only ACTIVE, REVOKED"
        );
    }
    let known = ListRequest::parse("filter=status[in]ACTIVE,REVOKED", FIELDS, STRICT);
    assert_eq!(known.map(|request| request.filters.len()), Ok(1));
}
