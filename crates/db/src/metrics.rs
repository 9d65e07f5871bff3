//! What this crate measures. Labels are names that the program itself chose.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const COMMIT_SETS: &str = "lamassu_db_commit_sets";
const EVENTS_HANDLED: &str = "lamassu_events_handled_total";
const DEAD_LETTERS: &str = "lamassu_events_dead_lettered_total";
const UNRECORDED: &str = "lamassu_audit_refusals_unrecorded_total";

/// Tells the installed recorder what the metrics of this crate mean; called once at start.
pub fn describe_metrics() {
    describe_histogram!(
        COMMIT_SETS,
        Unit::Count,
        "Write sets that shared one commit to disk."
    );
    describe_counter!(EVENTS_HANDLED, "Events handled, per subscription.");
    describe_counter!(
        DEAD_LETTERS,
        "Events set aside as dead letters, per subscription."
    );
    describe_counter!(UNRECORDED, "Refusals beyond the audit log's limit.");
}

pub(crate) fn commit(sets: usize) {
    histogram!(COMMIT_SETS).record(u32::try_from(sets).unwrap_or(u32::MAX));
}

pub(crate) fn events_handled(subscription: &'static str, events: usize) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    counter!(EVENTS_HANDLED, "subscription" => subscription).increment(events);
}

pub(crate) fn dead_lettered(subscription: &'static str) {
    counter!(DEAD_LETTERS, "subscription" => subscription).increment(1);
}

pub(crate) fn refusal_unrecorded() {
    counter!(UNRECORDED).increment(1);
}
