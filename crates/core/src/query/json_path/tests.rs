use proptest::prelude::*;
use serde_json::json;

use super::{JsonPath, json_scalar_text};

/// Expression, whether the full row matches, whether `{}` matches; what PostgreSQL 15 answers.
const TABLE: &[(&str, bool, bool)] = &[
    (r#"$.s == "x""#, true, false),
    (r#"$.s != "y""#, true, false),
    (r#"!($.s == "y")"#, true, true),
    ("exists($.s)", true, false),
    ("$.s", false, false),
    ("$.b", true, false),
    ("$.arr[*] ? (@ == 1)", false, false),
    ("$.arr == 2", true, false),
    ("$.arr[0] == 1", true, false),
    ("$.arr[last] == 2", true, false),
    ("$.arr[last - 1] == 1", true, false),
    ("$.arr[0 to last] == 2", true, false),
    ("$.arr[5] == 2", false, false),
    ("strict $.arr[5] == 2", false, false),
    ("($.n == null)", true, false),
    ("$.s > 1", false, false),
    ("($.s > 1) is unknown", true, false),
    ("strict $.zz == 1", false, false),
    (r#"$.s starts with "x""#, true, false),
    (r#"$.tags == "api""#, true, false),
    (r#"$.tags starts with "a""#, true, false),
    (r#"strict $.tags == "api""#, false, false),
    (r#"$.s like_regex "^X" flag "i""#, true, false),
    (r#"$.s like_regex "^X""#, false, false),
    (r#"$.s like_regex "." flag "q""#, false, false),
    ("$.arr.size() == 2", true, false),
    ("$.s.size() == 1", true, false),
    (r#"$.b.type() == "boolean""#, true, false),
    (r#"$.arr.type() == "array""#, true, false),
    ("$.obj[*].k == 2", true, false),
    ("$.obj.k == 2", true, false),
    ("strict $.obj.k == 2", false, false),
    ("strict $.obj[*].k == 2", true, false),
    ("exists($.arr[*] ? (@ > 1))", true, false),
    (
        r#"exists($.obj[*] ? (@.k == 2 && exists(@.name)))"#,
        true,
        false,
    ),
    ("exists($.s) && exists($.b)", true, false),
    ("exists($.zz) || exists($.b)", true, false),
    (r#"($.s == "x" || $.s == "y") && $.b == true"#, true, false),
    ("$.score >= 40 && $.score <= 80", true, false),
    (
        "$.half > 0.25 && $.half == 5e-1 && $.half < .75",
        true,
        false,
    ),
    (
        "$.score + 1 == 51 && $.score / 4 == 12.5 && $.score % 7 == 1",
        true,
        false,
    ),
    ("-$.score == -50 && +$.score * 2 - 1 == 99", true, false),
    ("$.score / 0 == 1", false, false),
    ("($.score / 0 == 1) is unknown", true, true),
    (
        r#"$."odd-key" == 1 && $.obj[1]."name" == "é\n\u00e9\"""#,
        true,
        false,
    ),
    ("$.**.k == 2", true, false),
    ("$.**{2}.k == 2", true, false),
    ("exists($.**{1 to last} ? (@ == 2))", true, false),
    ("$.*.k == 2", true, false),
    (
        "$.neg.abs() == 2.5 && $.neg.floor() == -3 && $.neg.ceiling() == -2",
        true,
        false,
    ),
    (r#"$.text_number.double() == 12"#, true, false),
    (
        r#"$.when.datetime() < "2024-06-01".datetime()"#,
        true,
        false,
    ),
    (r#"$.when.datetime().type() == "date""#, true, false),
    (
        r#"exists($.obj[1].keyvalue() ? (@.key == "k" && @.value == 2))"#,
        true,
        false,
    ),
    ("LAX $.arr[*] > 1 /* some */", true, false),
    ("true", true, true),
    ("null", false, false),
    ("1 == 1", true, true),
    (r#""b" > "a""#, true, true),
    ("$.big == 9007199254740993", true, false),
    ("$.big == 9007199254740992", false, false),
];

#[test]
fn expressions_match_like_in_postgresql() {
    let row = json!({
        "b": true, "s": "x", "arr": [1, 2], "n": null, "tags": ["api", "web"],
        "obj": [{"k": 1}, {"k": 2, "name": "é\né\""}], "score": 50, "half": 0.5, "neg": -2.5,
        "odd-key": 1, "text_number": "12", "when": "2024-01-31", "big": 9_007_199_254_740_993_u64,
    });
    for (text, full, empty) in TABLE {
        let path = JsonPath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(path.matches(&row), *full, "{text}");
        assert_eq!(path.matches(&json!({})), *empty, "{text} on {{}}");
    }
}

#[test]
fn what_is_no_expression_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "unexpected end"),
        ("$.s == 'x'", "unexpected `'` at character 8"),
        ("$.s === \"x\"", "unexpected `=` at character 7"),
        ("$.tags[?(@.key == \"x\")]", "unexpected `?` at character 8"),
        ("s == 1", "unexpected `s` at character 1"),
        ("$.field-name == 1", "unexpected `name` at character 9"),
        ("$.s > 1 is unknown", "unexpected `is` at character 9"),
        ("$name == 1", "variables are not supported"),
        ("(strict $.s == 1)", "unexpected `strict` at character 2"),
        ("@.s == 1", "unexpected `@` at character 1"),
        ("$.a[last] == last", "unexpected `last` at character 14"),
        (
            "!$.a == 1",
            "`!` needs a predicate in parentheses or `exists`",
        ),
        ("$.a && $.b == 1", "a value stands where a predicate must"),
        ("($.a == 1) == 1", "a predicate stands where a value must"),
        (
            "$.s like_regex \"(\"",
            "invalid or unsupported regular expression",
        ),
        (
            "$.s like_regex \"(a)\\\\1\"",
            "invalid or unsupported regular expression",
        ),
        (
            "$.s like_regex \"a\" flag \"x\"",
            "unsupported regular expression flag `x`",
        ),
        ("$.s.bigint() == 1", "unexpected `bigint` at character 5"),
        (
            "$.s.datetime(\"YYYY\") == 1",
            "unexpected `\"YYYY\"` at character 14",
        ),
        ("$.s == \"x", "unterminated string"),
        ("$.s == 1x", "invalid number at character 8"),
        ("$.s == 1e999", "invalid number at character 8"),
    ] {
        let error = JsonPath::parse(text).expect_err(text);
        assert_eq!(error.to_string(), reason, "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("(", ")"), ("-", ""), ("$.a[", "]"), ("$ ? (exists(", "))")] {
        let text = format!("{}1{} == 1", open.repeat(20_000), close.repeat(20_000));
        assert!(JsonPath::parse(&text).is_err(), "{open}");
    }
    let fine = format!("{}$.a{} == 1", "(".repeat(25), ")".repeat(25));
    assert!(
        JsonPath::parse(&fine)
            .expect("fine")
            .matches(&json!({"a": 1}))
    );
}

/// The longest expression that filters accept, made of `unit`.
fn longest(open: &str, unit: &str, close: &str) -> String {
    let room = 4_096 - open.len() - close.len();
    format!("{open}{}{close}", unit.repeat(room / unit.len()))
}

#[test]
fn long_and_deep_expressions_fit_a_small_stack() {
    let nested = |open: &str, inner: &str, close: &str| {
        let expression = |n: usize| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
        let deepest = (1..200).rfind(|n| JsonPath::parse(&expression(*n)).is_ok());
        expression(deepest.expect("some depth is accepted"))
    };
    let accepted = [
        longest("1", "+1", " > 0"),
        longest("1", "*1", " == 1"),
        longest("1 == 1", "&&1==1", ""),
        longest("1 == 1", "||1==1", ""),
        nested("(", "$ == $", ")"),
        nested("(1+", "$.a[0].a", ") == 1"),
        format!("{}$.a == 1", "-".repeat(30)),
        nested("((", "$ == 1", ") is unknown)"),
        nested("$.a[", "0", "]"),
        nested("$.a ? (exists(@.a ? (", "@ == 1", ")))"),
        nested("$.a", "", ".a"),
        format!("$ like_regex \"{}a{}\"", "(a?".repeat(10), ")*".repeat(10)),
    ];
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let thread = small.spawn(move || {
        for text in accepted {
            let path = JsonPath::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            path.matches(&json!({"a": [{"a": [1]}]}));
        }
        for unit in [".a", "[0]", "-", "(", "$[", "+-", "!(", "$ ? ("] {
            let text = format!("${} == 1", unit.repeat(100_000));
            assert!(JsonPath::parse(&text).is_err(), "{unit}");
        }
        JsonPath::parse(&format!("1{} > 0", "+1".repeat(100_000))).expect("long, but not deep");
    });
    thread.expect("a thread").join().expect("no overflow");
}

#[test]
fn what_multiplies_is_cut_short_and_does_not_match() {
    let wide = serde_json::Value::from((0..1_000).collect::<Vec<_>>());
    let mut deep = json!({"k": 1});
    for _ in 0..100 {
        deep = json!({"a": deep, "b": [1, 2, 3]});
    }
    let row = json!({"wide": wide, "deep": deep, "long": "x".repeat(100_000)});
    for text in [
        "!exists($.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.**.zz)",
        "($.**.**.**.**.**.**.zz == 1) is unknown",
        "!exists($.wide[*] ? (exists($.wide[*] ? (exists($.wide[*] ? (@ == -1))))))",
        "!($.wide == $.wide[*] ? (@ == -1) || $.wide > $.wide)",
        "!exists($.wide[*] ? (exists($.keyvalue() ? (@.key == \"none\"))))",
        "!exists($.wide[*] ? ($.long like_regex \"y\"))",
        "!exists($.wide[*] ? ($.long.double() == 1))",
    ] {
        let path = JsonPath::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(!path.matches(&row), "{text}");
    }
    let fine = JsonPath::parse("$.wide[*] == 999 && !exists($.**.zz)").expect("fine");
    assert!(fine.matches(&row));
}

#[test]
fn lax_exists_stops_at_the_first_item() {
    let row = json!({"wide": (0..1_000).collect::<Vec<_>>()});
    // All pairs would be a million items.
    let text = "exists($.wide[*] ? (exists($.wide[*] ? (@ >= 0))))";
    assert!(JsonPath::parse(text).expect("an expression").matches(&row));
    let text = "exists(($.wide[*] ? (@ >= 0)) ? (exists($.wide[*] ? (@ == 0))))";
    assert!(JsonPath::parse(text).expect("an expression").matches(&row));
}

#[test]
fn regular_expressions_are_counted() {
    let text = |n: usize| vec!["$.a like_regex \"a\""; n].join(" || ");
    JsonPath::parse(&text(8)).expect("so many are accepted");
    let error = JsonPath::parse(&text(9)).expect_err("too many");
    assert_eq!(error.to_string(), "more than 8 regular expressions");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        if let Ok(path) = JsonPath::parse(&text) {
            path.matches(&json!({"a": [1, {"b": "c"}]}));
        }
    }

    #[test]
    fn no_tokens_panic(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "$", "@", ".", "a", "*", "**", "[", "]", "(", ")", "{", "}", "?", ",", "==", "<", "!",
            "&&", "||", "+", "-", "/", "%", "1", "0.5", "\"a\"", "last", "to", "exists", "is",
            "unknown", "strict", "lax", "size()", "abs()", "keyvalue()", "like_regex", "starts",
            "with", "flag", "\"i\"", "true", "null",
        ]), 0..14)
    ) {
        if let Ok(path) = JsonPath::parse(&tokens.join(" ")) {
            path.matches(&json!({"a": [1, {"a": "a"}, [], -0.5]}));
        }
    }
}

#[test]
fn what_a_document_must_have_is_told_beforehand() {
    let demands = |text: &str| JsonPath::parse(text).unwrap().demands();
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        demands(r#"$.site == "Graz" && 7 == $.a.b && $.c > 1"#),
        [
            (keys(&["site"]), json!("Graz")),
            (keys(&["a", "b"]), json!(7))
        ]
    );
    for text in [
        r#"$.a == "x" || $.b == "y""#,
        r#"!($.a == "x")"#,
        r#"strict $.a == "x""#,
        "$.a == null",
        "$.a[0] == 1",
        r#"$.a != "x""#,
    ] {
        assert_eq!(demands(text), [], "{text}");
    }
}

#[test]
fn equal_scalars_have_one_text() {
    for (one, other, same) in [
        (json!(1), json!(1.0), true),
        (json!(0), json!(-0.0), true),
        (json!("1"), json!(1), false),
        (json!(true), json!("true"), false),
    ] {
        let texts = [json_scalar_text(&one), json_scalar_text(&other)];
        assert_eq!(texts[0] == texts[1], same, "{one} {other}");
    }
    assert_eq!(json_scalar_text(&json!([1])), None);
}
