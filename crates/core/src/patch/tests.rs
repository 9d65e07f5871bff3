use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_OPERATIONS, PatchBody, PatchOperation, apply_to_array,
    apply_to_object,
};
use crate::json::from_slice;

fn operations(patches: &Value) -> Vec<PatchOperation> {
    let body = json!({ "patches": patches }).to_string();
    let body: PatchBody = from_slice(body.as_bytes()).unwrap();
    body.patches.unwrap()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The document after the patch, or why not, without the fixed beginning.
fn patched(document: &Value, patches: &Value) -> Result<Value, String> {
    let operations = operations(patches);
    let after = match document {
        Value::Array(items) => apply_to_array(items, &operations).map(Value::Array),
        _ => apply_to_object(&object(document), &operations, &[]).map(Value::Object),
    };
    after.map_err(|error| {
        let text = error.to_string();
        let reason = text.strip_prefix("failed to apply patches to metadata: ");
        reason.unwrap().to_owned()
    })
}

/// Each case: the document, the operations, the document afterwards.
fn check_applied(cases: &[(Value, Value, Value)]) {
    for (document, patches, expected) in cases {
        let after = patched(document, patches);
        assert_eq!(after.as_ref(), Ok(expected), "{document} {patches}");
    }
}

/// Each case: the document, one operation, the reason of the refusal.
fn check_refused(cases: &[(Value, Value, &str)]) {
    for (document, operation, reason) in cases {
        let after = patched(document, &json!([operation]));
        let expected = format!("patches[0]: {reason}");
        assert_eq!(after, Err(expected), "{document} {operation}");
    }
}

#[test]
fn the_six_operations_do_what_rfc_6902_says() {
    check_applied(&[
        (
            json!({"a": 1}),
            json!([
                {"op": "add", "path": "/owner", "value": "team-a"},
                {"op": "replace", "path": "/a", "value": 30},
                {"op": "remove", "path": "/owner"}
            ]),
            json!({"a": 30}),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "/a", "value": [2]}]),
            json!({"a": [2]}),
        ),
        (
            json!({"a": {"b": 1}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (
            json!({"a": [1, null]}),
            json!([{"op": "copy", "from": "/a/1", "path": "/b"}, {"op": "copy", "from": "/a", "path": "/a/-"}]),
            json!({"a": [1, null, [1, null]], "b": null}),
        ),
        (
            json!({"a": 1, "b": {"x": [1, 2], "y": null}}),
            json!([
                {"op": "test", "path": "/a", "value": 1.0},
                {"op": "test", "path": "/b", "value": {"y": null, "x": [1, 2.0]}},
                {"op": "test", "path": "", "value": {"b": {"x": [1, 2], "y": null}, "a": 1}}
            ]),
            json!({"a": 1, "b": {"x": [1, 2], "y": null}}),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "move", "from": "/a", "path": "/a"}]),
            json!({"a": 1}),
        ),
    ]);
}

#[test]
fn the_whole_document_is_replaced_by_the_empty_path() {
    let replaced = json!({"b": {"c": null}});
    check_applied(&[
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "", "value": replaced}]),
            replaced.clone(),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "replace", "path": "", "value": replaced}]),
            replaced,
        ),
        (
            json!({"a": {"b": 1}}),
            json!([{"op": "move", "from": "/a", "path": ""}]),
            json!({"b": 1}),
        ),
        (
            json!(["a"]),
            json!([{"op": "add", "path": "", "value": ["b"]}]),
            json!(["b"]),
        ),
        // Only what it is at the end counts.
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "", "value": 1}, {"op": "add", "path": "", "value": {}}]),
            json!({}),
        ),
    ]);
    let whole = |value: Value| json!([{"op": "add", "path": "", "value": value}]);
    assert_eq!(
        patched(&json!({}), &whole(json!([1]))),
        Err("the result is no object".to_owned())
    );
    assert_eq!(
        patched(&json!([]), &whole(json!({}))),
        Err("the result is no array".to_owned())
    );
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let document = json!({"a": {"b": 1}, "list": [1, 2], "text": "x"});
    for path in [
        "/c",
        "/c/d",
        "/a/c",
        "/a/b/c",
        "/list/2",
        "/list/-3",
        "/list/x/y",
        "/text/x",
        "/",
    ] {
        let patches = json!([{"op": "remove", "path": path}]);
        assert_eq!(patched(&document, &patches), Ok(document.clone()), "{path}");
    }
}

#[test]
fn missing_parents_are_created_by_add() {
    let add = |path: &str| json!([{"op": "add", "path": path, "value": 7}]);
    check_applied(&[
        (json!({}), add("/a/b/c"), json!({"a": {"b": {"c": 7}}})),
        (json!({}), add("/a/-"), json!({"a": [7]})),
        (json!({}), add("/a/0"), json!({"a": [7]})),
        (json!({}), add("/a/-1"), json!({"a": [7]})),
        (json!({}), add("/a/b/0"), json!({"a": {"b": [7]}})),
        (json!({}), add("/a/-/b"), json!({"a": [{"b": 7}]})),
        // A number within the path fills the array up, as its last token it must fit.
        (
            json!({}),
            add("/a/2/b"),
            json!({"a": [null, null, {"b": 7}]}),
        ),
        (
            json!({"a": [null, 1]}),
            add("/a/0/-"),
            json!({"a": [[7], 1]}),
        ),
        (json!({"a": null}), add("/a/b"), json!({"a": {"b": 7}})),
        // Where an object is, a number is a name like any other.
        (json!({"a": {}}), add("/a/0"), json!({"a": {"0": 7}})),
        (json!({"a": {}}), add("/a/-"), json!({"a": {"-": 7}})),
        // A parent with an escape in its name.
        (json!({}), add("/a~1b/c"), json!({"a/b": {"c": 7}})),
    ]);
    check_refused(&[(
        json!({}),
        json!({"op": "add", "path": "/a/1", "value": 7}),
        "the index is beyond the end of the array",
    )]);
}

#[test]
fn an_array_that_the_patch_created_is_appended_to() {
    check_applied(&[(
        json!({}),
        json!([
            {"op": "add", "path": "/a/-", "value": 1},
            {"op": "add", "path": "/a/-", "value": 2},
            {"op": "add", "path": "/a/0", "value": 0}
        ]),
        json!({"a": [0, 1, 2]}),
    )]);
}

#[test]
fn indexes_insert_and_shift_and_count_from_both_ends() {
    let list = || json!({"l": ["a", "b", "c"]});
    let add = |path: &str| json!([{"op": "add", "path": path, "value": "x"}]);
    check_applied(&[
        (list(), add("/l/1"), json!({"l": ["a", "x", "b", "c"]})),
        (list(), add("/l/3"), json!({"l": ["a", "b", "c", "x"]})),
        (list(), add("/l/-"), json!({"l": ["a", "b", "c", "x"]})),
        (list(), add("/l/-1"), json!({"l": ["a", "b", "c", "x"]})),
        (list(), add("/l/-4"), json!({"l": ["x", "a", "b", "c"]})),
        (
            list(),
            json!([{"op": "remove", "path": "/l/-1"}]),
            json!({"l": ["a", "b"]}),
        ),
        (
            list(),
            json!([{"op": "replace", "path": "/l/-3", "value": 1}]),
            json!({"l": [1, "b", "c"]}),
        ),
    ]);
    let beyond = "the index is beyond the end of the array";
    let no_index = "the parent is an array, and this is no index of one";
    let huge = "/l/99999999999999999999999999";
    check_refused(&[
        (
            list(),
            json!({"op": "add", "path": "/l/4", "value": 1}),
            beyond,
        ),
        (
            list(),
            json!({"op": "add", "path": "/l/-5", "value": 1}),
            beyond,
        ),
        (
            list(),
            json!({"op": "add", "path": "/l/-5/x", "value": 1}),
            beyond,
        ),
        (
            list(),
            json!({"op": "add", "path": huge, "value": 1}),
            beyond,
        ),
        (
            list(),
            json!({"op": "add", "path": "/l/x", "value": 1}),
            no_index,
        ),
        (
            list(),
            json!({"op": "add", "path": "/l/x/y", "value": 1}),
            no_index,
        ),
        (
            list(),
            json!({"op": "add", "path": "/l/+1", "value": 1}),
            no_index,
        ),
        (list(), json!({"op": "remove", "path": "/l/x"}), no_index),
        (list(), json!({"op": "remove", "path": "/l/-"}), no_index),
        (
            list(),
            json!({"op": "replace", "path": "/l/-", "value": 1}),
            "there is no value at this path",
        ),
    ]);
}

#[test]
fn names_are_unescaped_once_and_in_the_right_order() {
    check_applied(&[
        (
            json!({}),
            json!([{"op": "add", "path": "/lamassu.io~1iot~1aws", "value": 1}]),
            json!({"lamassu.io/iot/aws": 1}),
        ),
        (
            json!({"a~1": 1, "b~": 2}),
            json!([{"op": "remove", "path": "/a~01"}, {"op": "test", "path": "/b~", "value": 2}]),
            json!({"b~": 2}),
        ),
        (
            json!({"": 1, "a": {"": 2}}),
            json!([{"op": "remove", "path": "/"}, {"op": "remove", "path": "/a/"}]),
            json!({"a": {}}),
        ),
    ]);
}

#[test]
fn null_counts_as_no_value_but_not_inside_of_one() {
    for op in ["add", "replace", "test"] {
        check_refused(&[
            (
                json!({"a": 1}),
                json!({"op": op, "path": "/a", "value": null}),
                "missing value",
            ),
            (
                json!({"a": 1}),
                json!({"op": op, "path": "/a"}),
                "missing value",
            ),
        ]);
    }
    let empty_values = json!([
        {"op": "add", "path": "/a", "value": {"n": null, "l": [null]}},
        {"op": "add", "path": "/b", "value": false},
        {"op": "add", "path": "/c", "value": 0},
        {"op": "add", "path": "/d", "value": ""},
        {"op": "add", "path": "/e", "value": []},
        {"op": "add", "path": "/f", "value": {}}
    ]);
    let expected =
        json!({"a": {"n": null, "l": [null]}, "b": false, "c": 0, "d": "", "e": [], "f": {}});
    check_applied(&[(json!({}), empty_values, expected)]);
}

#[test]
fn refusals_say_which_rule_is_broken() {
    let document = || json!({"a": {"b": 1}, "s": "x"});
    let no_value = "there is no value at this path";
    let no_container = "the parent is neither an object nor an array";
    let cases = [
        (json!({"path": "/a"}), "missing op"),
        (
            json!({"op": "Add", "path": "/a", "value": 1}),
            "unsupported operation 'Add'",
        ),
        (
            json!({"op": "x".repeat(99), "path": "/a"}),
            &format!("unsupported operation '{}'", "x".repeat(32)),
        ),
        (json!({"op": "remove"}), "missing path"),
        (json!({"op": "remove", "path": null}), "missing path"),
        (json!({"op": "move", "path": "/a"}), "missing from"),
        (
            json!({"op": "copy", "path": "/a", "from": null}),
            "missing from",
        ),
        (
            json!({"op": "add", "path": "a", "value": 1}),
            "path does not start with '/'",
        ),
        (
            json!({"op": "remove", "path": "x/a"}),
            "path does not start with '/'",
        ),
        (
            json!({"op": "copy", "from": "a", "path": "/b"}),
            "from does not start with '/'",
        ),
        (
            json!({"op": "remove", "path": ""}),
            "the whole document cannot be removed",
        ),
        (
            json!({"op": "move", "from": "", "path": ""}),
            "the whole document cannot be removed",
        ),
        (
            json!({"op": "move", "from": "", "path": "/a"}),
            "a value cannot be moved into itself",
        ),
        (
            json!({"op": "move", "from": "/a", "path": "/a/b"}),
            "a value cannot be moved into itself",
        ),
        (json!({"op": "replace", "path": "/c", "value": 1}), no_value),
        (
            json!({"op": "replace", "path": "/c/d", "value": 1}),
            no_value,
        ),
        (json!({"op": "test", "path": "/c", "value": 1}), no_value),
        (json!({"op": "move", "from": "/c", "path": "/d"}), no_value),
        (
            json!({"op": "copy", "from": "/s/0", "path": "/d"}),
            no_value,
        ),
        (
            json!({"op": "test", "path": "/s", "value": "y"}),
            "the value at this path is another one",
        ),
        (
            json!({"op": "test", "path": "/a", "value": {"b": 2}}),
            "the value at this path is another one",
        ),
        (
            json!({"op": "add", "path": "/s/x", "value": 1}),
            no_container,
        ),
        (
            json!({"op": "add", "path": "/s/x/y", "value": 1}),
            no_container,
        ),
    ];
    for (operation, reason) in cases {
        check_refused(&[(document(), operation, reason)]);
    }
}

#[test]
fn what_cannot_be_read_is_refused_before_anything_is_applied() {
    let patches = json!([{"op": "replace", "path": "/c", "value": 1}, {"op": "?", "path": ""}]);
    assert_eq!(
        patched(&json!({}), &patches),
        Err("patches[1]: unsupported operation '?'".to_owned())
    );
}

#[test]
fn a_failure_keeps_every_earlier_operation_from_happening() {
    let before = object(&json!({"a": 1}));
    let patches = operations(&json!([
        {"op": "add", "path": "/b", "value": 2},
        {"op": "test", "path": "/a", "value": 2}
    ]));
    let error = apply_to_object(&before, &patches, &[]).unwrap_err();
    assert_eq!(
        error.reason,
        "patches[1]: the value at this path is another one"
    );
    assert_eq!(before, object(&json!({"a": 1})));
}

#[test]
fn whole_numbers_stay_exact() {
    let add = json!([{"op": "add", "path": "/n", "value": [9_007_199_254_740_993_u64, u64::MAX, i64::MIN]}]);
    check_applied(&[(
        json!({}),
        add,
        json!({"n": [9_007_199_254_740_993_u64, u64::MAX, i64::MIN]}),
    )]);
}

#[test]
fn reserved_members_come_out_as_they_went_in() {
    let before = object(&json!({"kept": [1], "free": 1}));
    let refused = |patches: &Value, reserved: &[&str]| {
        let after = apply_to_object(&before, &operations(patches), reserved);
        after.map_err(|error| error.reason)
    };
    let reserved = ["kept", "absent"];
    for (patches, key) in [
        (json!([{"op": "remove", "path": "/kept"}]), "kept"),
        (
            json!([{"op": "add", "path": "/kept/-", "value": 1}]),
            "kept",
        ),
        (
            json!([{"op": "move", "from": "/kept", "path": "/moved"}]),
            "kept",
        ),
        (json!([{"op": "add", "path": "", "value": {}}]), "kept"),
        (
            json!([{"op": "add", "path": "/absent", "value": 1}]),
            "absent",
        ),
    ] {
        let expected = format!("the member '{key}' is reserved");
        assert_eq!(refused(&patches, &reserved), Err(expected), "{patches}");
        assert!(refused(&patches, &[]).is_ok(), "{patches}");
    }
    let whole = json!([{"op": "add", "path": "", "value": {"kept": [1]}}]);
    assert_eq!(
        refused(&whole, &reserved),
        Ok(object(&json!({"kept": [1]})))
    );
}

#[test]
fn the_number_of_operations_is_limited() {
    let operation = json!({"op": "test", "path": "/a", "value": 1});
    let document = json!({"a": 1});
    let most = Value::Array(vec![operation.clone(); MAX_OPERATIONS]);
    assert_eq!(patched(&document, &most), Ok(document.clone()));
    let more = Value::Array(vec![operation; MAX_OPERATIONS + 1]);
    assert_eq!(
        patched(&document, &more),
        Err("a patch has at most 1000 operations".to_owned())
    );
}

#[test]
fn the_depth_of_what_a_patch_writes_is_limited() {
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let path = |depth| "/a".repeat(depth);
    let add = |path: String, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    for (path, value) in [
        (path(MAX_DEPTH), nested(0)),
        (path(1), nested(MAX_DEPTH - 1)),
        (path(MAX_DEPTH / 2), nested(MAX_DEPTH / 2)),
    ] {
        patched(&json!({}), &add(path, value)).unwrap();
    }
    let too_deep = Err("patches[0]: nested more than 100 levels deep".to_owned());
    for (path, value) in [
        (path(MAX_DEPTH + 1), nested(0)),
        (path(1), nested(MAX_DEPTH)),
        (path(MAX_DEPTH / 2), nested(MAX_DEPTH / 2 + 1)),
    ] {
        assert_eq!(patched(&json!({}), &add(path, value)), too_deep);
    }
    // By copies of itself a value would get deeper with each operation.
    let copies: Vec<_> = (0..MAX_DEPTH)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/b"}))
        .collect();
    let refused = patched(&json!({"a": {}}), &Value::Array(copies)).unwrap_err();
    assert!(
        refused.ends_with("nested more than 100 levels deep"),
        "{refused}"
    );
}

#[test]
fn little_is_not_made_into_much() {
    let doubling: Vec<_> = (0..MAX_OPERATIONS)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
        .collect();
    let too_much = |refused: Result<Value, String>| {
        let reason = refused.unwrap_err();
        assert!(
            reason.ends_with("what it adds is larger than 1048576 bytes"),
            "{reason}"
        );
    };
    let wide = json!({"a": ["x".repeat(200_000)]});
    too_much(patched(&wide, &Value::Array(doubling)));
    for path in ["/a/999999999999/b", "/a/99999999999999999999999/b"] {
        too_much(patched(
            &json!({}),
            &json!([{"op": "add", "path": path, "value": 1}]),
        ));
    }
    let large = json!([{"op": "add", "path": "/a", "value": "x".repeat(MAX_DOCUMENT_BYTES)}]);
    assert_eq!(
        patched(&json!({}), &large),
        Err("the result is larger than 1048576 bytes".to_owned())
    );
}

#[test]
fn a_document_that_is_too_large_already_may_shrink() {
    let large = json!({"a": "x".repeat(MAX_DOCUMENT_BYTES), "b": 1});
    let shrunk = patched(&large, &json!([{"op": "remove", "path": "/b"}]));
    assert_eq!(shrunk.unwrap().as_object().unwrap().len(), 1);
}

#[test]
fn the_body_is_read_as_clients_write_it() {
    let read = |text: &str| from_slice::<PatchBody>(text.as_bytes()).map_err(|e| e.to_string());
    let one = PatchOperation {
        op: "add".to_owned(),
        path: Some("/a".to_owned()),
        from: None,
        value: Some(json!({"B": 1})),
    };
    for text in [
        r#"{"patches":[{"op":"add","path":"/a","value":{"B":1}}]}"#,
        r#"{"Patches":[{"OP":"add","Path":"/a","Value":{"B":1},"more":1}]} trailing"#,
    ] {
        let patches = read(text).unwrap().patches;
        assert_eq!(patches, Some(vec![one.clone()]), "{text}");
    }
    for text in ["{}", r#"{"patches":null}"#, r#"{"owner":"x"}"#, "null"] {
        assert_eq!(read(text).unwrap().patches, None, "{text}");
    }
    assert_eq!(read(r#"{"patches":[]}"#).unwrap().patches, Some(Vec::new()));
    for (text, refusal) in [
        (
            r#"{"patches":{}}"#,
            "json: cannot unmarshal object into field patches of type array",
        ),
        (
            r#"{"patches":[{"op":1}]}"#,
            "json: cannot unmarshal number into field op of type string",
        ),
        ("", "EOF"),
    ] {
        assert_eq!(read(text), Err(refusal.to_owned()), "{text}");
    }
}

#[test]
fn what_a_client_of_ours_writes_reads_back_the_same() {
    let body = PatchBody {
        patches: Some(operations(&json!([
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "add", "path": "", "value": {"a": [null]}}
        ]))),
    };
    let text = serde_json::to_string(&body).unwrap();
    assert_eq!(from_slice::<PatchBody>(text.as_bytes()), Ok(body));
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("-".to_owned()),
        (-3i32..4).prop_map(|index| index.to_string()),
        "[~/0-9a-]{0,3}",
    ]
}

fn path() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        9 => prop::collection::vec(token(), 0..4)
            .prop_map(|tokens| Some(tokens.iter().map(|token| format!("/{token}")).collect())),
        1 => any::<Option<String>>(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab01-]{1,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn operation() -> impl Strategy<Value = PatchOperation> {
    let op = prop_oneof![
        9 => prop::sample::select(&["add", "remove", "replace", "test", "move", "copy"][..])
            .prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let value = prop::option::weighted(0.9, value());
    (op, path(), path(), value).prop_map(|(op, path, from, value)| PatchOperation {
        op,
        path,
        from,
        value,
    })
}

fn members() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[ab01-]{1,2}", value(), 0..5)
        .prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn any_patch_is_applied_or_refused_and_an_empty_one_changes_nothing(
        before in members(),
        patches in prop::collection::vec(operation(), 0..6),
    ) {
        let _refused_or_not = apply_to_object(&before, &patches, &[]).is_ok();
        prop_assert_eq!(&apply_to_object(&before, &[], &["a"]).unwrap(), &before);
        let items: Vec<_> = before.values().cloned().collect();
        let _refused_or_not = apply_to_array(&items, &patches).is_ok();
        prop_assert_eq!(&apply_to_array(&items, &[]).unwrap(), &items);
    }

    #[test]
    fn what_was_added_is_found_there_and_removing_it_leaves_the_rest(
        before in members(),
        name in "[c-z~/]{1,4}",
        added in value().prop_filter("null counts as missing", |value| !value.is_null()),
    ) {
        let path = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let patch = |op: &str| PatchOperation {
            op: op.to_owned(),
            path: Some(path.clone()),
            from: None,
            value: Some(added.clone()),
        };
        let with = apply_to_object(&before, &[patch("add"), patch("test")], &[]).unwrap();
        prop_assert_eq!(with.get(&name), Some(&added));
        let without = apply_to_object(&with, &[patch("remove")], &[]).unwrap();
        prop_assert_eq!(without, before);
    }

    #[test]
    fn any_bytes_are_a_body_or_not(bytes: Vec<u8>) {
        let _refused_or_not = from_slice::<PatchBody>(&bytes).is_ok();
    }
}
