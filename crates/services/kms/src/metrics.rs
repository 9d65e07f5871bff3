//! Metrics of key management. Engines are labels: their ids come from the configuration.

use std::time::Duration;

use ::metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use lamassu_core::ids::EngineId;

/// Keys made, per engine.
pub const CREATED: &str = "lamassu_kms_keys_created_total";
/// Keys destroyed, per engine.
pub const DELETED: &str = "lamassu_kms_keys_deleted_total";
/// How long the making of a key took, per engine.
pub const GENERATION: &str = "lamassu_kms_key_generation_seconds";
/// Signatures made, per engine and purpose (`api`, `platform`).
pub const SIGNATURES: &str = "lamassu_kms_signatures_total";
/// Keys taken from outside, per engine.
pub const IMPORTED: &str = "lamassu_kms_keys_imported_total";
/// Keys moved, per engine that they moved into.
pub const MOVED: &str = "lamassu_kms_keys_moved_total";
/// Whether an engine works (1) or not (0), per engine, as of the last time that somebody asked.
pub const ENGINE_UP: &str = "lamassu_kms_engine_up";
/// Keys that the database knows and the engine does not have, per engine, as of the last look.
pub const MISSING: &str = "lamassu_kms_keys_missing";
/// Attempts to store the usage of keys that failed.
pub const USAGE_NOT_STORED: &str = "lamassu_kms_usage_not_stored_total";
/// Unsettled keys that the reaper removed.
pub const REAPED: &str = "lamassu_kms_keys_reaped_total";

/// Tells the recorder what the metrics mean; call once after installing it.
pub fn describe_metrics() {
    describe_counter!(CREATED, "Keys made");
    describe_counter!(DELETED, "Keys destroyed");
    describe_histogram!(GENERATION, "Time that making a key took");
    describe_counter!(SIGNATURES, "Signatures made");
    describe_counter!(IMPORTED, "Keys taken from outside");
    describe_counter!(MOVED, "Keys moved into an engine");
    describe_gauge!(ENGINE_UP, "Whether a crypto engine works");
    describe_gauge!(
        MISSING,
        "Keys that the database knows and the engine does not have"
    );
    describe_counter!(
        USAGE_NOT_STORED,
        "Attempts to store the usage of keys that failed"
    );
    describe_counter!(
        REAPED,
        "Keys removed that a crash left half made or half destroyed"
    );
}

/// For whom a signature is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A client of the API.
    Api,
    /// The platform's own certificates, CRLs and OCSP answers.
    Platform,
}

pub(crate) fn created(engine: &EngineId, took: Duration) {
    counter!(CREATED, "engine" => engine.to_string()).increment(1);
    histogram!(GENERATION, "engine" => engine.to_string()).record(took.as_secs_f64());
}

pub(crate) fn imported(engine: &EngineId) {
    counter!(IMPORTED, "engine" => engine.to_string()).increment(1);
}

pub(crate) fn moved(engine: &EngineId) {
    counter!(MOVED, "engine" => engine.to_string()).increment(1);
}

pub(crate) fn engine_up(engine: &EngineId, is_up: bool) {
    gauge!(ENGINE_UP, "engine" => engine.to_string()).set(if is_up { 1.0 } else { 0.0 });
}

pub(crate) fn missing(engine: &EngineId, n: u32) {
    gauge!(MISSING, "engine" => engine.to_string()).set(f64::from(n));
}

pub(crate) fn usage_not_stored() {
    counter!(USAGE_NOT_STORED).increment(1);
}

pub(crate) fn deleted(engine: &EngineId) {
    counter!(DELETED, "engine" => engine.to_string()).increment(1);
}

pub(crate) fn signatures(engine: &EngineId, purpose: Purpose) -> Counter {
    let purpose = match purpose {
        Purpose::Api => "api",
        Purpose::Platform => "platform",
    };
    counter!(SIGNATURES, "engine" => engine.to_string(), "purpose" => purpose)
}

pub(crate) fn reaped() {
    counter!(REAPED).increment(1);
}
