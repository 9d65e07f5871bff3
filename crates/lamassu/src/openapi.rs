//! `lamassu openapi` and `/openapi.json`: the HTTP API as a document, made from the table in which routes are declared.
//!
//! It tells paths, methods, parameters, the permission of each operation and the shape of errors.
//! Routes for other services of the installation are left out.
//! Bodies are described in the API reference; their schemas are not in the document yet.

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use lamassu_http::{Access, MountedRoute};
use serde_json::{Map, Value, json};

use crate::{assembly, version};

/// Prints the document.
pub(crate) async fn print() -> Result<()> {
    let table = assembly::route_table().await?;
    crate::print(&serde_json::to_string_pretty(&document(&table))?)
}

/// `/openapi.json` at the root of the gateway, for everybody.
///
/// # Errors
/// The document cannot be written as JSON: a defect.
pub(crate) fn site(table: &[MountedRoute]) -> Result<Router> {
    let document = Bytes::from(serde_json::to_vec(&document(table))?);
    let headers = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    Ok(Router::new().route("/openapi.json", get(async move || (headers, document))))
}

fn document(table: &[MountedRoute]) -> Value {
    let mut paths = Map::new();
    for route in table.iter().filter(|route| !is_internal(route)) {
        let path = paths
            .entry(open_api_path(&route.path))
            .or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(
                route.info.method.as_str().to_ascii_lowercase(),
                operation(route),
            );
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "lamassu", "version": version::VERSION, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {"Error": {
                "type": "object",
                "required": ["err"],
                "properties": {
                    "err": {"type": "string", "description": "What went wrong."},
                    "code": {"type": "string", "description": "The same as a stable word."},
                },
            }},
        },
    })
}

/// Whether a route is for services of the installation only.
fn is_internal(route: &MountedRoute) -> bool {
    matches!(route.info.access, Access::Permission(needed) if needed.area == "internal")
}

/// A path as OpenAPI writes it: a wildcard is an ordinary parameter.
fn open_api_path(path: &str) -> String {
    path.replace("{*", "{")
}

fn operation(route: &MountedRoute) -> Value {
    let parameters: Vec<Value> = path_parameters(&route.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let security = match route.info.access {
        Access::Public => json!([]),
        Access::Authenticated | Access::Permission(_) => json!([{"bearer": []}]),
    };
    let mut operation = Map::from_iter([
        ("summary".to_owned(), json!(route.info.summary)),
        ("tags".to_owned(), json!([route.info.service])),
        ("parameters".to_owned(), json!(parameters)),
        ("security".to_owned(), security),
        ("responses".to_owned(), responses()),
    ]);
    if let Access::Permission(permission) = route.info.access {
        operation.insert("x-permission".to_owned(), json!(permission.to_string()));
    }
    Value::Object(operation)
}

/// Successes are described in the API reference; refusals look alike everywhere.
fn responses() -> Value {
    json!({"default": {"description": "Done, or why not.", "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}})
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
}

#[cfg(test)]
mod tests {
    use super::{open_api_path, path_parameters};

    #[test]
    fn wildcards_become_parameters() {
        assert_eq!(
            open_api_path("/api/va/ocsp/{*request}"),
            "/api/va/ocsp/{request}"
        );
        let names: Vec<_> = path_parameters("/v1/cas/{id}/certificates/{sn}").collect();
        assert_eq!(names, ["id", "sn"]);
    }
}
