//! RFC 6902 as it is written, bounded like the tolerant dialect.

use json_patch::PatchOperation as Strict;
use serde_json::Value;

use super::document::{Growth, depth, empty_parent_of, is_same, size};
use super::form::METADATA;
use super::operation::Refusal;
use super::pointer::Pointer;
use super::{MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_OPERATIONS, PatchError};

/// The document after all operations.
pub(super) fn apply_strictly(
    mut document: Value,
    operations: &[Value],
) -> Result<Value, PatchError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::new(format!(
            "a patch has at most {MAX_OPERATIONS} operations"
        )));
    }
    let mut growth = Growth::default();
    for (index, operation) in operations.iter().enumerate() {
        apply_one(&mut document, operation, &mut growth)
            .map_err(|reason| PatchError::new(format!("patches[{index}]: {reason}")))?;
    }
    if size(&document) > MAX_DOCUMENT_BYTES {
        return Err(PatchError::new(format!(
            "the result is larger than {MAX_DOCUMENT_BYTES} bytes"
        )));
    }
    Ok(document)
}

fn apply_one(document: &mut Value, operation: &Value, growth: &mut Growth) -> Result<(), String> {
    let read: Strict =
        serde_json::from_value(operation.clone()).map_err(|error| error.to_string())?;
    let text = |refusal: Refusal| refusal.to_string();
    match &read {
        Strict::Add(add) => {
            let at = place(add.path.as_str(), &add.value).map_err(text)?;
            make_parents(document, &at);
        }
        Strict::Replace(replace) => {
            place(replace.path.as_str(), &replace.value).map_err(text)?;
        }
        Strict::Copy(copy) => {
            let value = document.pointer(copy.from.as_str());
            let value = value.ok_or(Refusal::NoValue).map_err(text)?;
            place(copy.path.as_str(), value).map_err(text)?;
            growth.spend(size(value)).map_err(text)?;
        }
        Strict::Move(moved) => {
            let value = document.pointer(moved.from.as_str());
            let value = value.ok_or(Refusal::NoValue).map_err(text)?;
            place(moved.path.as_str(), value).map_err(text)?;
        }
        // Numbers are compared by value (RFC 6902 4.6).
        Strict::Test(test) => {
            let found = document.pointer(test.path.as_str());
            let is_met = found.is_some_and(|found| is_same(found, &test.value));
            return is_met
                .then_some(())
                .ok_or_else(|| text(Refusal::TestFailed));
        }
        Strict::Remove(_) => {}
    }
    json_patch::patch_unsafe(document, std::slice::from_ref(&read))
        .map_err(|error| error.kind.to_string())
}

/// The place, if a value may be put there: not too deep.
fn place(path: &str, value: &Value) -> Result<Pointer, Refusal> {
    let at = Pointer::parse("path", Some(path))?;
    if at.tokens().len().saturating_add(depth(value)) > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    Ok(at)
}

/// Creates the parents that are missing below the metadata; where that is not possible, the
/// operation fails by itself.
fn make_parents(document: &mut Value, at: &Pointer) {
    let [first, rest @ ..] = at.tokens() else {
        return;
    };
    let Some(mut parent) = document.get_mut(first).filter(|_| first == METADATA) else {
        return;
    };
    for (token, next) in rest.iter().zip(rest.iter().skip(1)) {
        parent = match parent {
            Value::Object(members) => members
                .entry(token.as_str())
                .or_insert_with(|| empty_parent_of(next)),
            Value::Array(items) => {
                let item = token
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get_mut(index));
                let Some(item) = item else { return };
                item
            }
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::DocumentPatch;

    fn patched(document: Value, operations: Value) -> Result<Value, String> {
        let (Value::Object(document), Value::Array(operations)) = (document, operations) else {
            panic!("an object and an array");
        };
        let after = DocumentPatch::Strict(operations).apply(&document);
        after.map(Value::Object).map_err(|error| error.reason)
    }

    #[test]
    fn all_operations_do_what_the_standard_says() {
        let document = json!({"tags": ["a", "b"], "metadata": {"x": {"y": 1}}, "alias": ""});
        let operations = json!([
            {"op": "test", "path": "/metadata/x/y", "value": 1.0},
            {"op": "add", "path": "/tags/-", "value": "c"},
            {"op": "remove", "path": "/tags/0"},
            {"op": "copy", "from": "/metadata/x", "path": "/metadata/z"},
            {"op": "move", "from": "/metadata/x/y", "path": "/metadata/y"},
            {"op": "replace", "path": "/alias", "value": "pump"},
            {"op": "add", "path": "/metadata/n", "value": null},
            {"op": "add", "path": "/metadata/a~1b/c/0", "value": true},
        ]);
        assert_eq!(
            patched(document, operations),
            Ok(json!({"tags": ["b", "c"], "alias": "pump", "metadata":
                {"x": {}, "y": 1, "z": {"y": 1}, "n": null, "a/b": {"c": [true]}}}))
        );
    }

    #[test]
    fn what_the_tolerant_dialect_forgives_is_refused() {
        for operation in [
            json!({"op": "remove", "path": "/metadata/none"}),
            json!({"op": "replace", "path": "/metadata/none", "value": 1}),
            json!({"op": "add", "path": "/other/deep", "value": 1}),
            json!({"op": "add", "path": "/tags/-1", "value": "x"}),
            json!({"op": "add", "path": "/tags/9", "value": "x"}),
            json!({"op": "add", "path": "/alias"}),
            json!({"op": "add", "path": "alias", "value": "x"}),
            json!({"op": "merge", "path": "/alias", "value": "x"}),
            json!({"op": "test", "path": "/alias", "value": "y"}),
            json!({"op": "move", "from": "/metadata", "path": "/metadata/x"}),
            json!("add"),
        ] {
            let document = json!({"tags": [], "metadata": {}, "alias": "x"});
            let refused = patched(document, json!([operation])).unwrap_err();
            assert!(
                refused.starts_with("patches[0]: "),
                "{operation}: {refused}"
            );
        }
    }

    #[test]
    fn patches_are_bounded() {
        let document = || json!({"metadata": {"a": vec!["x"; 1000]}});
        let copies: Vec<Value> = (0..1000)
            .map(|n| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/{n}")}))
            .collect();
        let refused = patched(document(), json!(copies)).unwrap_err();
        assert!(refused.contains("larger than"), "{refused}");
        let deep = "/metadata".to_owned() + &"/a".repeat(100_000);
        let operation = json!({"op": "add", "path": deep, "value": 1});
        let refused = patched(json!({"metadata": {}}), json!([operation]));
        let expected = "patches[0]: nested more than 100 levels deep";
        assert_eq!(refused, Err(expected.to_owned()));
        let many = vec![json!({"op": "test", "path": "/metadata", "value": {}}); 1_001];
        let refused = patched(json!({"metadata": {}}), json!(many));
        assert_eq!(
            refused,
            Err("a patch has at most 1000 operations".to_owned())
        );
    }
}
