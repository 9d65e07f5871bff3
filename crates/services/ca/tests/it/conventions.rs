//! The conventions of lists, over every list of the CA service.

mod authorities;
mod certificates;
mod others;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::World;

/// Puts a document in the place of the metadata.
async fn set_metadata(world: &World, path: &str, document: &Value) {
    let patches = json!({ "patches": [{ "op": "add", "path": "", "value": document }] });
    world
        .put(&format!("{path}/metadata"), patches)
        .await
        .with(StatusCode::OK);
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap()
}
