//! SQL functions of ours that list queries use.

use lamassu_core::query::{JsonPath, SortPath, fold, json_sort_key};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use serde_json::Value;

/// Registers
/// - `lamassu_fold(text)`: the case-folded text that operands without case and text order use;
/// - `lamassu_json_sort_key(document, path)`: bytes in whose order JSON values are sorted;
/// - `lamassu_json_match(document, path)`: whether a SQL/JSON path predicate yields `true`.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("lamassu_fold", 1, flags, |context| {
        // A JSON array may hold numbers; they fold to nothing that a text equals.
        let text = context.get_raw(0).as_str_or_null().ok().flatten();
        Ok(text.map(fold))
    })?;
    connection.create_scalar_function("lamassu_json_sort_key", 2, flags, sort_key)?;
    connection.create_scalar_function("lamassu_json_match", 2, flags, json_match)
}

fn sort_key(context: &Context<'_>) -> Result<Vec<u8>> {
    // The path is a constant of the statement, so it is parsed once, not per row.
    let path = context.get_or_create_aux(1, |path| -> Result<Option<SortPath>, Error> {
        Ok(path.as_str().ok().and_then(SortPath::parse))
    })?;
    let document = document(context);
    Ok(match path.as_ref() {
        Some(path) => json_sort_key(path.find(&document)),
        None => json_sort_key(Some(&document)),
    })
}

/// `NULL` matches nothing, not even a negation.
fn json_match(context: &Context<'_>) -> Result<bool> {
    if context.get_raw(0) == ValueRef::Null {
        return Ok(false);
    }
    let path = context.get_or_create_aux(1, |path| -> Result<Option<JsonPath>, Error> {
        Ok(path
            .as_str()
            .ok()
            .and_then(|text| JsonPath::parse(text).ok()))
    })?;
    let document = document(context);
    Ok(path
        .as_ref()
        .as_ref()
        .is_some_and(|path| path.matches(&document)))
}

/// The first argument as JSON; what is none counts as `null`.
fn document(context: &Context<'_>) -> Value {
    let text = context.get_raw(0).as_str_or_null().ok().flatten();
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
