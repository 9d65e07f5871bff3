use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::from_slice;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Inner {
    bits: i64,
    names: Vec<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Body {
    id: String,
    size: u32,
    enabled: bool,
    inner: Inner,
    parent: Option<String>,
    metadata: Option<BTreeMap<String, Value>>,
}

fn body(text: &str) -> Result<Body, String> {
    from_slice(text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn names_match_in_any_case_and_the_last_duplicate_wins() {
    let read = body(r#"{"ID":"a","Id":"b","INNER":{"Bits":3,"names":["x","\u0041"]},"more":1}"#);
    let expected = Body {
        id: "b".to_owned(),
        inner: Inner {
            bits: 3,
            names: vec!["x".to_owned(), "A".to_owned()],
        },
        ..Body::default()
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn null_is_the_zero_value_everywhere() {
    let text =
        r#"{"id":null,"size":null,"enabled":null,"inner":null,"parent":null,"metadata":null}"#;
    assert_eq!(body(text), Ok(Body::default()));
    assert_eq!(body("null"), Ok(Body::default()));
}

#[test]
fn bytes_after_the_first_value_are_ignored() {
    assert_eq!(body(r#"{"size":7} garbage"#).map(|b| b.size), Ok(7));
}

#[test]
fn free_values_keep_case_and_numbers() {
    let read = body(r#"{"metadata":{"Key":{"A":1.5,"b":null}}}"#).unwrap();
    let metadata = read.metadata.unwrap();
    assert_eq!(metadata["Key"], serde_json::json!({"A":1.5,"b":null}));
}

#[test]
fn maps_may_be_keyed_by_whole_numbers() {
    type Versions = std::collections::BTreeMap<u32, String>;
    let read = |text: &str| from_slice::<Versions>(text.as_bytes());
    let expected = Versions::from([(0, "a".to_owned()), (12, "b".to_owned())]);
    assert_eq!(read(r#"{"0":"a","12":"b"}"#).unwrap(), expected);
    for text in [r#"{"x":"a"}"#, r#"{"-1":"a"}"#, r#"{"1.0":"a"}"#] {
        read(text).unwrap_err();
    }
}

#[test]
fn refusals_say_which_member_and_why() {
    let cases = [
        ("", "EOF"),
        ("  ", "EOF"),
        (r#"{"id":"#, "unexpected EOF"),
        (
            r#"{"size":"1"}"#,
            "json: cannot unmarshal string into field size of type int",
        ),
        (
            r#"{"size":-1}"#,
            "json: cannot unmarshal number into field size of type int",
        ),
        (
            r#"{"size":1.5}"#,
            "json: cannot unmarshal number into field size of type int",
        ),
        (
            r#"{"id":7}"#,
            "json: cannot unmarshal number into field id of type string",
        ),
        (
            r#"{"inner":[]}"#,
            "json: cannot unmarshal array into field inner of type object",
        ),
        (
            "[]",
            "json: cannot unmarshal array into a value of type object",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(body(text), Err(expected.to_owned()), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        drop(from_slice::<Body>(&bytes));
    }

    #[test]
    fn mutated_json_is_read_or_refused(at in 0usize..80, with: u8) {
        let mut text = br#"{"id":"a\u00e9","size":7,"inner":{"bits":1,"names":["x"]},"metadata":{"k":[1,2]}}"#.to_vec();
        let at = at % text.len();
        text[at] = with;
        drop(from_slice::<Body>(&text));
    }
}

#[test]
fn the_character_nul_is_refused_wherever_it_stands() {
    let in_field = |place: &str| {
        format!("json: field {place} holds the character U+0000, which cannot be stored")
    };
    let anywhere = "json: the character U+0000 cannot be stored".to_owned();
    let nested = format!("{}\"\\u0000\"{}", "[".repeat(200), "]".repeat(200));
    let cases = [
        (r#"{"id":"a\u0000"}"#, in_field("id")),
        (r#"{"id":"\\\u0000"}"#, in_field("id")),
        (r#"{"ID":"\u0041\u0000","id":"b"}"#, in_field("ID")),
        (r#"{"unknown":"\u0000"}"#, in_field("unknown")),
        (
            r#"{"metadata":{"a":[{"b":1},"\u0000"]}}"#,
            in_field("metadata.a"),
        ),
        (
            r#"{"metadata":{"a":{"b\u0000":1}}}"#,
            in_field(r"metadata.a.b\u0000"),
        ),
        (r#""\u0000""#, anywhere.clone()),
        (&nested, anywhere),
    ];
    for (text, expected) in cases {
        assert_eq!(body(text), Err(expected), "{text}");
    }
}

#[test]
fn raw_values_hold_no_nul_either() {
    let read = |text: &'static str| from_slice::<&serde_json::value::RawValue>(text.as_bytes());
    let refused = read(r#"{"a":{"b":"\u0000"}}"#).unwrap_err().to_string();
    assert_eq!(
        refused,
        "json: field a.b holds the character U+0000, which cannot be stored"
    );
}

#[test]
fn an_escaped_backslash_before_u0000_is_no_nul() {
    let read = body(r#"{"id":"\\u0000","parent":"\u00000"} "\u0000""#);
    assert_eq!(
        read,
        Err("json: field parent holds the character U+0000, which cannot be stored".to_owned())
    );
    let read = body(r#"{"id":"\\u0000"} "\u0000""#).unwrap();
    assert_eq!(read.id, r"\u0000");
}

#[test]
fn what_could_not_be_read_back_from_a_list_is_refused() {
    let nested = |levels: usize| {
        let (open, close) = ("{\"a\":[".repeat(levels / 2), "]}".repeat(levels / 2));
        format!("{{\"metadata\":{open}{close},\"id\":\"[[\\\"[{{\"}}").replace("[]", "[1]")
    };
    let read = body(&nested(108)).unwrap();
    assert_eq!(read.id, "[[\"[{");
    let refused = Err("json: nested deeper than 110 levels".to_owned());
    assert_eq!(body(&nested(110)), refused);
    assert_eq!(body(&nested(100_000)), refused);
    let strict = super::from_slice_strict::<serde_json::Value>(nested(110).as_bytes());
    assert_eq!(
        strict.unwrap_err().to_string(),
        "json: nested deeper than 110 levels"
    );
    // Brackets within a text are none.
    let text = format!("{{\"id\":\"{}\"}}", "[\\\"{".repeat(500));
    assert_eq!(body(&text).unwrap().id.len(), 1500);
}
