//! Patches of a key's metadata and aliases.

use lamassu_core::caller::Caller;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{Key, KmsError, MAX_NAME_OCTETS};
use lamassu_core::patch::{PatchOperation, apply_to_array, apply_to_object};
use serde_json::Value;

use crate::service::Kms;
use crate::update::Update;

impl Kms {
    /// None of the metadata is protected: clients edit the platform's members at their own risk.
    pub(crate) async fn change_metadata(
        &self,
        caller: &Caller,
        named: &KeyRef,
        operations: &[PatchOperation],
    ) -> Result<Key, KmsError> {
        self.update(caller, named, Update::METADATA, |key| {
            let metadata = apply_to_object(&key.metadata, operations, &[])?;
            Ok(Some(Key {
                metadata,
                ..key.clone()
            }))
        })
        .await
    }

    /// That no other key has an alias is decided by the database, in the same write set.
    pub(crate) async fn change_aliases(
        &self,
        caller: &Caller,
        named: &KeyRef,
        operations: &[PatchOperation],
    ) -> Result<Key, KmsError> {
        self.update(caller, named, Update::ALIASES, |key| {
            let aliases = patched_aliases(&key.aliases, operations)?;
            Ok(Some(Key {
                aliases,
                ..key.clone()
            }))
        })
        .await
    }
}

/// The aliases after the patch. What it sets must be new to the key, too.
fn patched_aliases(
    aliases: &[String],
    operations: &[PatchOperation],
) -> Result<Vec<String>, KmsError> {
    let set = operations
        .iter()
        .filter(|operation| matches!(operation.op.as_str(), "add" | "replace"));
    for value in set.filter_map(|operation| operation.value.as_ref()) {
        match value {
            Value::String(alias) if aliases.contains(alias) => return Err(KmsError::AliasExists),
            Value::String(alias) if alias.len() > MAX_NAME_OCTETS => {
                let reason = format!("an alias is longer than {MAX_NAME_OCTETS} octets");
                return Err(KmsError::AliasPatch(reason));
            }
            // A null is a missing value, which the patch itself refuses.
            Value::String(_) | Value::Null => {}
            _ => return Err(KmsError::AliasType),
        }
    }
    let before: Vec<_> = aliases.iter().cloned().map(Value::String).collect();
    let after =
        apply_to_array(&before, operations).map_err(|error| KmsError::AliasPatch(error.reason))?;
    let mut patched: Vec<String> = Vec::with_capacity(after.len());
    for value in after {
        let Value::String(alias) = value else {
            return Err(KmsError::AliasType);
        };
        if patched.contains(&alias) {
            return Err(KmsError::AliasExists);
        }
        patched.push(alias);
    }
    Ok(patched)
}
