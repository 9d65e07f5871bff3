//! Certificate authorities: who may sign what, and every certificate that was signed.
//!
//! Owns the tables `certificate_authority`, `certificate`, `issuance_profile`,
//! `enrollment_intent`, `ca_request`, `ca_job`, `ca_operation` and `ca_cascade`. Private keys are the
//! key management service's; this
//! service names them by the SHA-256 of their public half and gets a signer for them.
//!
//! Promises: what an answer shows is committed, together with its events (`ca.*`, `certificate.*`,
//! `profile.issuance.*`) and its audit record. Nothing is
//! issued under a CA or a profile that changed after it was read: the write set of every issuance
//! checks both revisions. A CA that is refused or lost in a crash leaves no key behind.
//!
//! Deliberately absent: CRLs and OCSP (the validation authority), devices and their slots, and
//! whatever authenticates callers.
//!
//! Where next: `service/calls.rs` for the whole of what it does, `issue.rs` for how a certificate is
//! made, `create_ca.rs` for what a new CA takes, `import.rs` for those made elsewhere,
//! `ca_request.rs` for CAs that others certify, `lifecycle.rs` for statuses, `cascade.rs` for what
//! goes down from a CA, `retire.rs` for deleted ones and `retired_key.rs` for their keys, `revocations.rs` for many at once, `enrollment.rs` for
//! certificates on their way to a device, `bound_events.rs` for those that arrived
//! (`dms.bind-device-id`), `moved_keys.rs` for keys in another engine, `store/` for SQL, `http/` for the wire.

mod bound_events;
mod ca_request;
mod ca_rules;
mod ca_status;
mod cache;
mod cascade;
mod chain;
mod config;
mod create_ca;
mod create_certificate;
mod delete;
mod describe;
mod enrollment;
mod events;
mod fields;
mod held_key;
mod http;
mod import;
mod indexing;
mod issue;
mod issue_failure;
mod issuer;
mod jobs;
mod lifecycle;
mod limits;
mod metadata;
mod metrics;
mod moved_keys;
mod own_key;
mod own_windows;
mod profile;
mod query;
mod raw_signature;
mod record;
mod reissue;
mod responder;
mod retire;
mod retired_key;
mod revocations;
mod rules;
mod service;
mod stats;
mod status;
mod store;
mod windows;

pub use bound_events::BOUND_SUBSCRIPTION;
pub use config::{CaConfig, CaConfigError, LintSeverity};
pub use fields::{
    AUTHORITY_FIELDS, CERTIFICATE_FIELDS, JOB_FIELDS, PROFILE_FIELDS, REQUEST_FIELDS,
};
pub use http::routes;
pub use jobs::OthersRunning;
pub use metrics::describe_metrics;
pub use moved_keys::MOVED_SUBSCRIPTION;
pub use service::{CaPorts, CaService, StartError};
pub use store::SCHEMA;
