//! Profiles inside request bodies.

use lamassu_core::ca::{Allowance, IssuanceProfile};
use serde_json::Value;

/// The profile with every no written out. Answers leave a no away, but on its way to a service
/// that would mean that nothing was said, and what is stored would stay.
pub(crate) fn explicit(profile: &IssuanceProfile) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(profile)?;
    let enforcement = &profile.crypto_enforcement;
    if let Some(members) = value
        .get_mut("crypto_enforcement")
        .and_then(Value::as_object_mut)
    {
        for (name, allowance) in [
            ("allow_ed25519_keys", enforcement.allow_ed25519_keys),
            ("allow_mldsa_keys", enforcement.allow_mldsa_keys),
        ] {
            if allowance == Allowance::Denied {
                members.insert(name.to_owned(), Value::Bool(false));
            }
        }
    }
    if let Some(members) = value.as_object_mut() {
        for name in profile.cleared() {
            members.insert(name.to_owned(), Value::Null);
        }
    }
    Ok(value)
}
