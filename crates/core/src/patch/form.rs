//! The three forms in which v2 patches a resource.

use serde_json::{Map, Value};

use super::strict::apply_strictly;
use super::{PatchError, PatchOperation, apply_to_object};

/// The member of a resource that the form of v1 is about.
pub(super) const METADATA: &str = "metadata";

/// A change of a resource's document.
#[derive(Clone, Debug, PartialEq)]
pub enum DocumentPatch {
    /// RFC 7396: objects are merged, `null` removes, everything else replaces.
    Merge(Map<String, Value>),
    /// RFC 6902 from the root of the document. Beyond it, an `add` below `/metadata` creates the
    /// parents that are missing.
    Strict(Vec<Value>),
    /// The operations of v1, from the root of the metadata.
    Metadata(Vec<PatchOperation>),
}

impl DocumentPatch {
    /// The document after the patch.
    ///
    /// # Errors
    /// [`PatchError`] when it cannot be read or applied; nothing of it was applied then.
    pub fn apply(&self, document: &Map<String, Value>) -> Result<Map<String, Value>, PatchError> {
        match self {
            Self::Merge(patch) => {
                let mut merged = Value::Object(document.clone());
                json_patch::merge(&mut merged, &Value::Object(patch.clone()));
                object(merged)
            }
            Self::Strict(operations) => {
                object(apply_strictly(Value::Object(document.clone()), operations)?)
            }
            Self::Metadata(operations) => {
                let mut after = document.clone();
                let metadata = match document.get(METADATA) {
                    Some(Value::Object(metadata)) => metadata.clone(),
                    _ => Map::new(),
                };
                let patched = apply_to_object(&metadata, operations, &[])?;
                after.insert(METADATA.to_owned(), Value::Object(patched));
                Ok(after)
            }
        }
    }
}

fn object(value: Value) -> Result<Map<String, Value>, PatchError> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(PatchError::new("the result is no object")),
    }
}
