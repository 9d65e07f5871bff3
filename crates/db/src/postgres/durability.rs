//! What a commit is worth: an answer promises that the change survives a power cut.
//!
//! The settings of a server, a database or a role may say otherwise. Whether a commit waits for the
//! disk is ours to say, and every transaction that writes says it (`confirm_when_durable`):
//! defaults change by a reload, under a session that has looked at them. Whether the disk gets to
//! know at all is the server's alone: we can only warn.

/// An expression for a transaction that writes. A server that confirms before the change is on disk
/// is told not to; one that confirms later than that, for its replicas, is left alone.
macro_rules! confirm_when_durable {
    () => {
        "CASE current_setting('synchronous_commit') \
         WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
    };
}
pub(super) use confirm_when_durable;

/// Settings of the server without which it may lose what it confirmed, or all that it has.
pub(super) const RISKS: &str = "SELECT name FROM pg_settings \
     WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name";

/// Says that the server keeps no promise.
pub(super) fn warn_of(setting: &str) {
    tracing::warn!(
        setting,
        "the database server runs with {setting}=off: a power cut may take confirmed changes, or damage the database"
    );
}
