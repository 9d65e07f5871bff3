//! JSON Schema (2020-12) for metadata: which schemas are taken, and what breaks one. Pure.
//!
//! Schemas come from clients, so they are bounded. One refers to nothing outside of itself and never to
//! itself again, so nothing is fetched and following it ends; patterns run in time that is linear in the
//! text.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, ValidationOptions, Validator};
use lamassu_core::error::ErrorDetail;
use serde_json::{Map, Value};

/// Longest schema, as JSON.
const MAX_BYTES: usize = 64 * 1024;

/// Most values that a schema consists of once its references are followed.
const MAX_VALUES: usize = 2_000;

/// Most places that a refusal names.
const MAX_NAMED: usize = 16;

/// How much of a reason is shown.
const MAX_REASON_CHARS: usize = 256;

/// Keywords that make references mean something else than a place in the schema.
const OTHER_REFERENCES: &[&str] = &[
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
];

/// Checks a schema.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_schema(schema: &Value) -> Result<(), String> {
    if schema.to_string().len() > MAX_BYTES {
        return Err("the schema is longer than 64 KiB".to_owned());
    }
    let mut left = MAX_VALUES;
    follow(schema, schema, &mut left)?;
    validator(schema).map(drop)
}

/// Counts the values of a part, and of what it refers to.
fn follow(schema: &Value, part: &Value, left: &mut usize) -> Result<(), String> {
    *left = left.checked_sub(1).ok_or_else(|| {
        format!("the schema refers to itself, or has more than {MAX_VALUES} values")
    })?;
    match part {
        Value::Array(items) => items.iter().try_for_each(|item| follow(schema, item, left)),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            if OTHER_REFERENCES.contains(&name.as_str()) {
                return Err(format!("the schema has {name}"));
            }
            match (name.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let target = reference
                        .strip_prefix('#')
                        .and_then(|pointer| schema.pointer(pointer));
                    let target = target.ok_or_else(|| {
                        format!("the schema refers to {reference}, which is no part of it")
                    })?;
                    follow(schema, target, left)
                }
                _ => follow(schema, value, left),
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn validator(schema: &Value) -> Result<Validator, String> {
    let options: ValidationOptions<'_> = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(256 * 1024));
    options
        .build(schema)
        .map_err(|error| shortened(&error.to_string()))
}

/// Where metadata break a schema that was checked; nothing where they do not.
pub(crate) fn violations(schema: &Value, metadata: &Map<String, Value>) -> Vec<ErrorDetail> {
    let metadata = Value::Object(metadata.clone());
    match validator(schema) {
        Ok(validator) => {
            let errors = validator.iter_errors(&metadata);
            errors.take(MAX_NAMED).map(|error| detail(&error)).collect()
        }
        // A program with other rules took the schema.
        Err(reason) => vec![ErrorDetail::new("/metadata", reason)],
    }
}

fn detail(error: &ValidationError<'_>) -> ErrorDetail {
    let place = format!("/metadata{}", error.instance_path());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            let property = property.replace('~', "~0").replace('/', "~1");
            ErrorDetail::new(format!("{place}/{property}"), "required")
        }
        _ => ErrorDetail::new(place, shortened(&error.to_string())),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check_schema, violations};

    fn broken(schema: &Value, metadata: Value) -> Vec<(String, String)> {
        let Value::Object(metadata) = metadata else {
            panic!("metadata are an object");
        };
        let details = violations(schema, &metadata).into_iter();
        details
            .map(|detail| (detail.field, detail.reason))
            .collect()
    }

    #[test]
    fn what_breaks_a_schema_is_named_by_its_place() {
        let schema = json!({
            "required": ["location"],
            "properties": {"location": {"$ref": "#/$defs/place"}, "n": {"maximum": 5}},
            "$defs": {"place": {"type": "object", "required": ["site/hall"]}},
        });
        assert_eq!(check_schema(&schema), Ok(()));
        assert_eq!(broken(&schema, json!({"location": {"site/hall": 1}})), []);
        let required = |place: &str| (place.to_owned(), "required".to_owned());
        assert_eq!(broken(&schema, json!({})), [required("/metadata/location")]);
        assert_eq!(
            broken(&schema, json!({"location": {}, "n": 6})),
            [
                required("/metadata/location/site~1hall"),
                (
                    "/metadata/n".to_owned(),
                    "6 is greater than the maximum of 5".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn schemas_that_reach_out_or_never_end_are_refused() {
        let doubled = |n: usize| {
            let part = |n: usize| {
                json!({"allOf": [{"$ref": format!("#/$defs/p{n}")},
                                                   {"$ref": format!("#/$defs/p{n}")}]})
            };
            let mut parts: serde_json::Map<String, Value> =
                (0..n).map(|m| (format!("p{m}"), part(m + 1))).collect();
            parts.insert(format!("p{n}"), json!({}));
            json!({"$ref": "#/$defs/p0", "$defs": parts})
        };
        let deep = (0..200).fold(json!({}), |inner, _| json!({"not": inner}));
        for (schema, part) in [
            (
                json!({"$ref": "https://example.com/schema"}),
                "no part of it",
            ),
            (json!({"$ref": "file:///etc/passwd"}), "no part of it"),
            (json!({"$ref": "#"}), "refers to itself"),
            (json!({"items": {"$ref": "#/items"}}), "refers to itself"),
            (json!({"$id": "urn:x"}), "has $id"),
            (json!({"$dynamicRef": "#x"}), "has $dynamicRef"),
            (doubled(20), "refers to itself, or has more"),
            (json!({"type": "nothing"}), "not valid"),
            (json!({"pattern": "("}), "regex"),
            (json!({"pattern": "(a)\\1"}), "regex"),
            (json!({"pattern": "(?:a{1000}){1000}"}), "regex"),
            (json!("x"), ""),
        ] {
            let refusal = check_schema(&schema).unwrap_err();
            assert!(refusal.contains(part), "{schema}: {refusal}");
        }
        assert_eq!(check_schema(&deep), Ok(()));
    }
}
