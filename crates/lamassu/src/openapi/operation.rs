//! One route as an operation.

use lamassu_core::error::ErrorKind;
use lamassu_core::patch::PatchBody;
use lamassu_http::{
    Access, Answer, Content, MountedRoute, Operation, RouteInfo, Urgency, schema_of,
};
use serde_json::{Map, Value, json};

use super::schemas::{Direction, Schemas};
use super::{parameters, refusals};

pub(super) fn operation(route: &MountedRoute, schemas: &mut Schemas) -> Value {
    let info = &route.info;
    let mut operation = Map::from_iter([
        ("operationId".to_owned(), json!(operation_id(route))),
        ("summary".to_owned(), json!(info.summary)),
        ("tags".to_owned(), json!([info.service])),
        ("security".to_owned(), security(info.access)),
        ("responses".to_owned(), responses(info, schemas)),
    ]);
    let mut parameters = parameters::of_path(route);
    for part in &info.operation.query {
        parameters.extend(parameters::of_query(*part, schemas));
    }
    parameters.extend(parameters::of_headers(&info.operation.headers));
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), json!(parameters));
    }
    if let Some(body) = info.operation.body {
        let content = content(body, Direction::In, schemas);
        let body = json!({"required": true, "content": content});
        operation.insert("requestBody".to_owned(), body);
    }
    if let Access::Permission(permission) = info.access {
        let text = format!("Needs the permission `{permission}`.");
        operation.insert("description".to_owned(), json!(text));
        operation.insert("x-permission".to_owned(), json!(permission.to_string()));
    }
    Value::Object(operation)
}

/// Method and path in one word, for generated clients.
fn operation_id(route: &MountedRoute) -> String {
    let mut id = route.info.method.as_str().to_ascii_lowercase();
    for part in route.path.split(|c: char| !c.is_ascii_alphanumeric()) {
        if !part.is_empty() {
            id.push('_');
            id.push_str(part);
        }
    }
    id
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::Authenticated | Access::Permission(_) => json!([{"bearer": []}]),
    }
}

fn responses(info: &RouteInfo, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for answer in &info.operation.answers {
        let status = answer.status.as_str().to_owned();
        responses.insert(status, response(*answer, info, schemas));
    }
    for kind in refusals_of(info) {
        let (status, reference) = refusals::reference(kind);
        responses.insert(status, reference);
    }
    Value::Object(responses)
}

fn response(answer: Answer, info: &RouteInfo, schemas: &mut Schemas) -> Value {
    let description = answer.status.canonical_reason().unwrap_or("Done");
    let mut response = Map::from_iter([("description".to_owned(), json!(description))]);
    if let Some(body) = answer.content.filter(|_| info.method != http::Method::HEAD) {
        let content = content(body, Direction::Out, schemas);
        response.insert("content".to_owned(), content);
    }
    Value::Object(response)
}

/// What the route itself refuses, and what is refused in front of every route of its kind.
fn refusals_of(info: &RouteInfo) -> Vec<ErrorKind> {
    let mut operation = Operation::default();
    operation.refuses(&info.operation.refusals);
    match info.access {
        Access::Public => {}
        Access::Authenticated => operation.refuses(&[ErrorKind::Unauthenticated]),
        Access::Permission(_) => {
            operation.refuses(&[ErrorKind::Unauthenticated, ErrorKind::Forbidden]);
        }
    }
    if !info.method.is_safe() {
        // Every body is read before the handler runs.
        operation.refuses(&[
            ErrorKind::Invalid,
            ErrorKind::RequestTimeout,
            ErrorKind::TooLarge,
        ]);
    }
    operation.refuses(&[ErrorKind::Internal]);
    match info.urgency {
        Urgency::Normal => operation.refuses(&[ErrorKind::Unavailable]),
        Urgency::Always => {}
    }
    operation.refusals
}

fn content(body: Content, direction: Direction, schemas: &mut Schemas) -> Value {
    let of_types = |types: &[&str], schema: Value| {
        let entries = types
            .iter()
            .map(|media_type| ((*media_type).to_owned(), json!({"schema": schema})));
        Value::Object(entries.collect())
    };
    match body {
        Content::Json(schema) => {
            json!({"application/json": {"schema": schemas.of(schema, direction)}})
        }
        Content::Patch(schema) => {
            let members = schemas.of(schema, Direction::In);
            let operations = schemas.of(schema_of::<PatchBody>, Direction::In);
            json!({
                "application/json": {"schema": {"anyOf": [members, operations]},
                    "example": {"metadata": {"location": "B3", "old": null}}},
                "application/merge-patch+json": {"schema": members},
                "application/json-patch+json": {"schema": {
                    "type": "array", "items": {"type": "object", "required": ["op", "path"]}}},
            })
        }
        // Without a type: OpenAPI 3.1 leaves out what JSON Schema cannot describe.
        Content::Octets(types) => of_types(types, json!({})),
        Content::Text(types) => of_types(types, json!({"type": "string"})),
    }
}
