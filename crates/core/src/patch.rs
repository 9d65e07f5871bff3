//! JSON Patch as the management APIs speak it: RFC 6902 with the reference's tolerance.
//!
//! PUT and PATCH of metadata (and of a key's aliases) carry a list of operations instead of a
//! document; both verbs mean the same. Against RFC 6902, an `add` creates the parents that are
//! missing, a `remove` of what is not there changes nothing, negative indexes count from the end
//! of an array, and a `value` of `null` counts as missing, since clients in Go cannot tell the two
//! apart; nulls inside of a value are stored as they are.
//!
//! [`apply_to_object`] and [`apply_to_array`] are pure: they give the new document or a
//! [`PatchError`], and nothing in between. Who stores the result holds the row meanwhile, or
//! compares its revision: between reading and writing nobody else may have changed it.
//!
//! Patches come from clients, so they are bounded: in operations, in depth, in the size of the
//! result, and in what `copy` and the filling of arrays may make out of little.
//!
//! v2 patches whole resources, in one of three forms ([`DocumentPatch`]): RFC 7396, RFC 6902 without
//! tolerance (`patch/strict.rs`), and the form of v1 for their metadata.
//!
//! Where next: `patch/pointer.rs` for paths, `patch/document.rs` for what one change does.

mod document;
mod form;
mod operation;
mod pointer;
mod strict;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) use self::document::depth;
use self::document::{Growth, apply_one, size};
pub use self::form::DocumentPatch;
use self::operation::Change;
use crate::error::{ErrorKind, ServiceError};

/// Most operations of one patch.
pub const MAX_OPERATIONS: usize = 1_000;

/// Most bytes of the resulting document, as JSON. A document that is larger already may shrink.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// How deeply arrays and objects may be nested where a patch puts a value. Whoever reads the
/// document back, alone or within an answer, gives up at 128.
pub const MAX_DEPTH: usize = 100;

/// The body of every request that patches: `{"patches":[…]}`.
///
/// Read by [`json::from_slice`](crate::json::from_slice), which takes the member in any letter
/// case: the reference's SDK writes `Patches` for certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({"patches": [{"op": "add", "path": "/site", "value": "Mondragon"}]}))]
pub struct PatchBody {
    /// The operations in their order. `None`, that is absent or `null`, is
    /// `struct validation error`, and is so before the resource is looked for; an empty list is a
    /// patch that changes nothing.
    pub patches: Option<Vec<PatchOperation>>,
}

/// One operation as it is on the wire; what it means is decided when it is applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PatchOperation {
    /// `add`, `remove`, `replace`, `test`, `move` or `copy`.
    #[schemars(example = &"add")]
    pub op: String,
    /// A JSON Pointer (RFC 6901); the empty text is the whole document. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/site")]
    pub path: Option<String>,
    /// Where `move` and `copy` take the value from, a JSON Pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value of `add`, `replace` and `test`; `null` counts as missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!("Mondragon"))]
    pub value: Option<Value>,
}

/// Why a patch was refused; nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to apply patches to metadata: {reason}")]
pub struct PatchError {
    /// Which operation and which rule; safe to show.
    pub reason: String,
}

impl PatchError {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl ServiceError for PatchError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> Option<&'static str> {
        Some("patch_failed")
    }
}

/// The object after all operations, in their order.
///
/// `reserved` names members of the object that must come out of the patch as they went in, however
/// the patch is written. None of the metadata that the platform keeps for itself is protected on
/// v1, so there it is empty.
///
/// # Errors
/// [`PatchError`] when an operation cannot be read or applied, when the result is no object or
/// too large, or when a reserved member would change.
pub fn apply_to_object(
    object: &Map<String, Value>,
    operations: &[PatchOperation],
    reserved: &[&str],
) -> Result<Map<String, Value>, PatchError> {
    if operations.is_empty() {
        return Ok(object.clone());
    }
    match patched(Value::Object(object.clone()), operations)? {
        Value::Object(after) => {
            refuse_change_of(reserved, object, &after)?;
            Ok(after)
        }
        _ => Err(PatchError::new("the result is no object")),
    }
}

/// The array after all operations, in their order.
///
/// # Errors
/// [`PatchError`] when an operation cannot be read or applied, or when the result is no array or
/// too large.
pub fn apply_to_array(
    array: &[Value],
    operations: &[PatchOperation],
) -> Result<Vec<Value>, PatchError> {
    match patched(Value::Array(array.to_vec()), operations)? {
        Value::Array(after) => Ok(after),
        _ => Err(PatchError::new("the result is no array")),
    }
}

fn patched(mut document: Value, operations: &[PatchOperation]) -> Result<Value, PatchError> {
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::new(format!(
            "a patch has at most {MAX_OPERATIONS} operations"
        )));
    }
    let at = |index| move |refusal| PatchError::new(format!("patches[{index}]: {refusal}"));
    // What cannot be read is refused before the first operation is applied.
    let changes = operations
        .iter()
        .enumerate()
        .map(|(index, operation)| Change::read(operation).map_err(at(index)))
        .collect::<Result<Vec<_>, _>>()?;
    let size_before = size(&document);
    let mut growth = Growth::default();
    for (index, change) in changes.into_iter().enumerate() {
        apply_one(&mut document, change, &mut growth).map_err(at(index))?;
    }
    let size_after = size(&document);
    if size_after > MAX_DOCUMENT_BYTES && size_after > size_before {
        return Err(PatchError::new(format!(
            "the result is larger than {MAX_DOCUMENT_BYTES} bytes"
        )));
    }
    Ok(document)
}

fn refuse_change_of(
    reserved: &[&str],
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Result<(), PatchError> {
    match reserved
        .iter()
        .find(|key| before.get(**key) != after.get(**key))
    {
        Some(key) => Err(PatchError::new(format!("the member '{key}' is reserved"))),
        None => Ok(()),
    }
}
