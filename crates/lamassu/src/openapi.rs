//! `lamassu openapi`, `/openapi.json` and `/docs`: the HTTP API as a document (OpenAPI 3.1), made
//! from the table in which routes are declared and from the types that their handlers read and
//! write.
//!
//! Nothing about a single route is said here. What every route has in common is: the error body,
//! what a status means, how lists are asked for, what the parameters in paths are. Routes for other
//! services of the installation are left out.
//!
//! Where next: `operation` for one route, `schemas` for the types, `example` for the examples,
//! `docs` for the page that shows it all.

mod docs;
mod example;
mod operation;
mod parameters;
mod refusals;
mod schemas;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use lamassu_http::{Access, MountedRoute};
use serde_json::{Map, Value, json};

use self::schemas::Schemas;
use crate::{assembly, version};

/// Prints the document.
pub(crate) async fn print() -> Result<()> {
    let table = assembly::route_table().await?;
    crate::print(&serde_json::to_string_pretty(&document(&table))?)
}

/// `/openapi.json` and `/docs` beside the routes of a process, for everybody.
///
/// # Errors
/// The document cannot be written as JSON: a defect.
pub(crate) fn site(table: &[MountedRoute]) -> Result<Router> {
    let document = Bytes::from(serde_json::to_vec(&document(table))?);
    let headers = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    let json = get(async move || (headers, document));
    Ok(docs::routes().route("/openapi.json", json))
}

fn document(table: &[MountedRoute]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in table.iter().filter(|route| !is_internal(route)) {
        let path = paths
            .entry(open_api_path(&route.path))
            .or_insert_with(|| json!({}));
        let method = route.info.method.as_str().to_ascii_lowercase();
        if let Some(path) = path.as_object_mut() {
            path.insert(method, operation::operation(route, &mut schemas));
        }
    }
    let error = schemas.error();
    let mut paths = Value::Object(paths);
    let schemas = schemas.finish(&mut paths);
    example::complete(&mut paths, &schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lamassu",
            "version": version::VERSION,
            "description": "PKI for devices: keys, CAs, certificates, enrollment, validation.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags(table),
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token as `lamassu token` prints it, or of a configured provider.",
            }},
            "responses": refusals::responses(&error),
            "schemas": schemas,
        },
    })
}

/// The services that have routes, with what they are for.
fn tags(table: &[MountedRoute]) -> Vec<Value> {
    const TAGS: [(&str, &str); 8] = [
        ("kms", "Keys, and the crypto engines that hold them."),
        ("ca", "CAs, certificates, issuance profiles."),
        ("devmanager", "Devices."),
        (
            "dms",
            "Device manufacturing systems: who may enroll, and how.",
        ),
        ("est", "Enrollment over Secure Transport (RFC 7030)."),
        (
            "va",
            "Validation: OCSP (RFC 6960), CRLs (RFC 5280), CA certificates.",
        ),
        ("auth", "How to sign in, and who one is."),
        ("health", "Whether the services work."),
    ];
    let has_routes = |name: &str| table.iter().any(|route| route.info.service == name);
    TAGS.into_iter()
        .filter(|(name, _)| has_routes(name))
        .map(|(name, description)| json!({"name": name, "description": description}))
        .collect()
}

/// Whether a route is for services of the installation only.
fn is_internal(route: &MountedRoute) -> bool {
    matches!(route.info.access, Access::Permission(needed) if needed.area == "internal")
}

/// A path as OpenAPI writes it: a wildcard is an ordinary parameter.
fn open_api_path(path: &str) -> String {
    path.replace("{*", "{")
}

#[cfg(test)]
mod tests;
