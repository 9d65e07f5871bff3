//! Examples of JSON bodies.
//!
//! What clients send has an example beside its type, since only some members make sense together.
//! What they get is composed of the examples of its parts.

use serde_json::{Map, Value, json};

/// Deeper than any type is nested.
const MAX_DEPTH: usize = 32;

/// Puts an example beside the schema of every JSON body of the operations.
pub(super) fn complete(paths: &mut Value, schemas: &Map<String, Value>) {
    match paths {
        Value::Object(members) => {
            if let Some(Value::Object(json)) = members.get_mut("application/json")
                && let Some(schema) = json.get("schema")
                && let Some(example) = of(schema, schemas, 0)
            {
                json.insert("example".to_owned(), example);
                return;
            }
            for member in members.values_mut() {
                complete(member, schemas);
            }
        }
        Value::Array(items) => {
            for item in items {
                complete(item, schemas);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value of this schema, preferably one that it names itself.
fn of(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let first = |keyword: &str| schema.get(keyword)?.as_array()?.first().cloned();
    let named = first("examples")
        .or_else(|| schema.get("const").cloned())
        .or_else(|| first("enum"));
    if named.is_some() {
        return named;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or_default();
        return of(schemas.get(name)?, schemas, depth + 1);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.get(keyword) {
            return choices
                .iter()
                .find_map(|choice| of(choice, schemas, depth + 1));
        }
    }
    match type_of(schema)? {
        "object" => Some(object(schema, schemas, depth)),
        "array" => {
            let item = schema
                .get("items")
                .and_then(|item| of(item, schemas, depth + 1));
            Some(Value::Array(item.into_iter().collect()))
        }
        "string" => Some(json!("")),
        "integer" | "number" => Some(json!(1)),
        "boolean" => Some(json!(true)),
        _ => None,
    }
}

/// Its type, or of several the first that is a value.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(one) => Some(one),
        Value::Array(several) => several
            .iter()
            .filter_map(Value::as_str)
            .find(|one| *one != "null"),
        _ => None,
    }
}

fn object(schema: &Value, schemas: &Map<String, Value>, depth: usize) -> Value {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return json!({});
    };
    let members = properties
        .iter()
        .filter_map(|(name, schema)| Some((name.clone(), of(schema, schemas, depth + 1)?)));
    Value::Object(members.collect())
}
