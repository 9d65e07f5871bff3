//! What the service tells the event log.
//!
//! The subject names the key as the caller named it, alias and URI included: consumers of the
//! catalogue know it so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::caller::Caller;
use lamassu_core::ids::{KeyId, KeyRef};
use lamassu_core::kms::Key;
use lamassu_db::Event;
use serde::Serialize;
use time::OffsetDateTime;

const SOURCE: &str = "service/kms";

/// The resource of audit records about a key.
pub(crate) fn resource(key: &KeyId) -> String {
    format!("kms/{key}")
}

/// `kms.create`
pub(crate) fn created(caller: &Caller, key: &Key, now: OffsetDateTime) -> Event {
    Event::new("kms.create", SOURCE, caller, now)
        .subject(resource(&key.key_id))
        .data(key)
}

/// `kms.import`
pub(crate) fn imported(caller: &Caller, key: &Key, now: OffsetDateTime) -> Event {
    Event::new("kms.import", SOURCE, caller, now)
        .subject(resource(&key.key_id))
        .data(key)
}

/// A key before and after a change.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pair<'a> {
    pub(crate) previous: &'a Key,
    pub(crate) updated: &'a Key,
}

/// `kms.<what>.update`
pub(crate) fn updated(
    event_type: &'static str,
    caller: &Caller,
    named: &KeyRef,
    keys: Pair<'_>,
    now: OffsetDateTime,
) -> Event {
    about(event_type, caller, named, now).data(&keys)
}

/// `kms.delete`
pub(crate) fn deleted(caller: &Caller, named: &KeyRef, now: OffsetDateTime) -> Event {
    #[derive(Serialize)]
    struct Deleted<'a> {
        #[serde(rename = "Identifier")]
        identifier: &'a KeyRef,
    }
    about("kms.delete", caller, named, now).data(&Deleted { identifier: named })
}

/// `kms.sign`
pub(crate) fn signed(
    caller: &Caller,
    named: &KeyRef,
    signature: &[u8],
    now: OffsetDateTime,
) -> Event {
    #[derive(Serialize)]
    struct Signed {
        signature: String,
    }
    let signature = STANDARD.encode(signature);
    about("kms.sign", caller, named, now).data(&Signed { signature })
}

/// Whether a signature was the key's.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Verification {
    pub(crate) valid: bool,
}

/// `kms.verify`
pub(crate) fn verified(
    caller: &Caller,
    named: &KeyRef,
    verification: Verification,
    now: OffsetDateTime,
) -> Event {
    about("kms.verify", caller, named, now).data(&verification)
}

fn about(event_type: &'static str, caller: &Caller, named: &KeyRef, now: OffsetDateTime) -> Event {
    Event::new(event_type, SOURCE, caller, now).subject(format!("kms/{named}"))
}
