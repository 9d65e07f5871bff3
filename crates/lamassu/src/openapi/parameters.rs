//! Parameters in paths and in query strings.

use lamassu_core::query::{Field, FieldKind, Operand};
use lamassu_http::{MountedRoute, QueryPart};
use serde_json::{Value, json};

use super::schemas::{Direction, Schemas};

/// Parameters in paths: the segment before where that decides, name, meaning, example.
const IN_PATHS: [(&str, &str, &str, &str); 23] = [
    (
        "keys",
        "id",
        "Id or alias of a key, or its `pkcs11:` URI.",
        "sensor-key",
    ),
    ("cas", "id", "Id of a CA.", "factory-root"),
    ("stats", "id", "Id of a CA.", "factory-root"),
    ("requests", "id", "Id of a request for a CA.", "factory-2"),
    (
        "jobs",
        "id",
        "Id of a job.",
        "6f1c2a58-3c0e-4c39-9d3f-0b8e5f3d7a10",
    ),
    (
        "profiles",
        "id",
        "Id of a profile.",
        "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21",
    ),
    ("devices", "id", "Id of a device.", "sensor-0001"),
    (
        "device-groups",
        "id",
        "Id of a group of devices.",
        "3f0c2f6e-6c1b-4a57-9d0e-5f7a3e1b9c42",
    ),
    (
        "actions",
        "action_id",
        "Id of a bulk action.",
        "8c2e6f0a-1b3d-4e5f-8a7b-9c0d1e2f3a4b",
    ),
    ("slots", "slot", "Name of a slot.", "identity"),
    ("versions", "version", "Number of a version.", "0"),
    ("dms", "id", "Id of a DMS.", "assembly-line-1"),
    ("dms", "dms_id", "Id of a DMS.", "assembly-line-1"),
    (
        "approvals",
        "id",
        "Id of an enrollment that needs approval.",
        "2f4b8c1e-7a63-4d5e-9b0f-6c1d8e2a3f40",
    ),
    (
        "passwords",
        "password_id",
        "Id of an enrollment password.",
        "5d0b7e92-4c1f-4a68-b3d7-2e9f6a1c8b05",
    ),
    ("", "cn", "Common name of CAs.", "Factory root"),
    (
        "",
        "sn",
        "Serial number of a certificate, hexadecimal.",
        "5b7f3c0d9a2e41c6",
    ),
    ("", "status", "Status of certificates.", "ACTIVE"),
    (
        "",
        "ski",
        "Subject key identifier of a CA, hexadecimal.",
        "4f1d2c6b8a9e0d3f",
    ),
    (
        "",
        "shard",
        "A shard of the CRL, as the certificate's distribution point names it.",
        "3-of-16",
    ),
    (
        "",
        "label",
        "EST label: the id of a DMS.",
        "assembly-line-1",
    ),
    ("", "operation", "An operation of EST.", "fullcmc"),
    (
        "",
        "request",
        "An OCSP request, DER in base64 (RFC 6960 A.1).",
        "MEIwQDA+MDwwOjAJ",
    ),
];

/// The parameters in the path of a route.
pub(super) fn of_path(route: &MountedRoute) -> Vec<Value> {
    names_in(&route.path)
        .map(|(before, name)| {
            let known = IN_PATHS
                .iter()
                .find(|(at, known, _, _)| (at.is_empty() || *at == before) && *known == name);
            let (_, _, description, example) = known.unwrap_or(&("", "", "", ""));
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": description,
                "schema": {"type": "string", "minLength": 1},
                "example": example,
            })
        })
        .collect()
}

/// The parameters of a path, each behind the segment before it.
fn names_in(path: &str) -> impl Iterator<Item = (&str, &str)> {
    path.split('/')
        .zip(path.split('/').skip(1))
        .filter_map(|(before, segment)| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some((before, name.trim_start_matches('*')))
        })
}

/// Headers that an operation reads.
pub(super) fn of_headers(headers: &[(&str, &str)]) -> Vec<Value> {
    headers
        .iter()
        .map(|(name, description)| {
            json!({
                "name": name,
                "in": "header",
                "description": description,
                "schema": {"type": "string", "pattern": "^\\*$|^(W/)?\"[0-9]+\"$"},
                "example": "\"1\"",
            })
        })
        .collect()
}

/// The parameters of a part of a query string.
pub(super) fn of_query(part: QueryPart, schemas: &mut Schemas) -> Vec<Value> {
    match part {
        QueryPart::Filter(name, fields) => vec![filter(name, fields)],
        QueryPart::List(fields) => {
            let mut parameters = vec![filter("filter", fields)];
            parameters.extend(of_list(fields));
            parameters
        }
        QueryPart::FilterInV2(fields) => vec![filter_in_v2(fields)],
        QueryPart::ListInV2(fields) => {
            let mut parameters = vec![filter_in_v2(fields)];
            parameters.extend(of_list(fields));
            parameters
        }
        QueryPart::Members(schema) => members(&schemas.of(schema, Direction::In)),
    }
}

fn in_query(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn filter(name: &str, fields: &[Field]) -> Value {
    filter_with(name, fields, |field| Operand::names(field.kind).collect())
}

fn filter_in_v2(fields: &[Field]) -> Value {
    filter_with("filter", fields, |field| {
        Operand::names_in_v2(field).collect()
    })
}

fn filter_with(
    name: &str,
    fields: &[Field],
    operands_of: fn(&Field) -> Vec<&'static str>,
) -> Value {
    let mut description = "`field[operand]value`; several must all hold. Fields:\n\n".to_owned();
    for field in fields {
        let operands = operands_of(field);
        description.push_str(&format!("- `{}`: {}\n", field.name, operands.join(", ")));
    }
    let strings = json!({"type": "array", "items": {"type": "string"}});
    let mut parameter = in_query(name, &description, &strings);
    let text = fields.iter().find(|field| field.kind == FieldKind::String);
    if let (Some(field), Some(parameter)) = (text, parameter.as_object_mut()) {
        let example = format!("{}[ct]a", field.name);
        parameter.insert("example".to_owned(), json!([example]));
    }
    parameter
}

fn of_list(fields: &[Field]) -> Vec<Value> {
    // What has its elements in a table of their own has several values or none, in no order.
    let sortable = fields.iter().filter(|field| field.elements.is_none());
    let sortable = sortable.map(|field| match field.kind {
        FieldKind::Json => format!("a path in `{}`", field.name),
        FieldKind::String
        | FieldKind::StringArray
        | FieldKind::Date
        | FieldKind::Number
        | FieldKind::Enum
        | FieldKind::Boolean => format!("`{}`", field.name),
    });
    let sortable: Vec<String> = sortable.collect();
    let sort_by = format!(
        "What the list is ordered by; by creation without. One of {}.",
        sortable.join(", ")
    );
    let page_size = json!({"type": "integer", "minimum": 1, "default": 25});
    vec![
        in_query("sort_by", &sort_by, &json!({"type": "string"})),
        in_query(
            "sort_mode",
            "Ascending or descending.",
            &json!({"type": "string", "enum": ["asc", "desc"], "default": "asc"}),
        ),
        in_query("page_size", "Items per page.", &page_size),
        in_query(
            "bookmark",
            "`next` of the page before. Filters, order and page size are then those of that page.",
            &json!({"type": "string"}),
        ),
    ]
}

/// The members of an object schema, each as a parameter.
fn members(schema: &Value) -> Vec<Value> {
    let required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|one| one == name))
    };
    let Some(properties) = schema["properties"].as_object() else {
        return Vec::new();
    };
    properties
        .iter()
        .map(|(name, schema)| {
            let mut schema = without_null(schema);
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .unwrap_or_default();
            json!({
                "name": name,
                "in": "query",
                "required": required(name),
                "description": description,
                "schema": schema,
            })
        })
        .collect()
}

/// The schema without `null`, which no query string holds.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Some(members) = schema.as_object_mut() else {
        return schema;
    };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    for keyword in ["anyOf", "enum"] {
        if let Some(Value::Array(choices)) = members.get_mut(keyword) {
            choices.retain(|one| !one.is_null() && one["type"] != "null");
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::names_in;

    #[test]
    fn wildcards_are_parameters_too() {
        let names: Vec<_> = names_in("/v1/cas/{id}/certificates/{*sn}").collect();
        assert_eq!(names, [("cas", "id"), ("certificates", "sn")]);
    }
}
