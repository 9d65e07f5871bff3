//! The device manager: which devices exist, which certificate identifies each, and how that stands.
//!
//! It owns the tables `device`, `device_slot`, `slot_version`, `device_event`,
//! `device_follow_up`, `device_value`, `device_value_path` and `device_count`. It promises that a binding
//! (slot version, history, status, events) is one commit that happens once or not at all; that a
//! device follows the certificate of its active version, and no other, through revocation, hold
//! and release; and that a slot enters its renewal windows and expires within a second of the due
//! time, once. The due times are columns of the device, so nothing scans and nothing polls.
//!
//! It publishes `device.create`, `device.status.update` and `device.identity.update`, and with a
//! binding `dms.bind-device-id`, `dms.enroll` and `dms.reenroll`. It consumes
//! `certificate.status.update` and `certificate.metadata.update`.
//!
//! What certificates have to follow (a revocation, an attachment) is a task that commits with its cause; a
//! job asks the CA service until it is done (`follow_up.rs`). No change of a device waits for that.
//!
//! Where next: [`DevicesService`] for assembly; `bind.rs` for the compare-and-set; `lifecycle.rs`
//! for which status follows which; `change.rs` for what one change writes and tells; [`routes`]
//! for HTTP.

mod bind;
mod certificate_events;
mod change;
mod config;
mod context;
mod create;
mod enrolling;
mod events;
mod follow_up;
mod group;
mod group_action;
mod group_action_job;
mod group_check;
mod group_criteria;
mod group_events;
mod group_member;
mod group_policy;
mod group_query;
mod group_read;
mod group_renewal;
mod group_schema;
mod group_service;
mod group_tree;
mod group_watch;
mod http;
mod identity;
mod jobs;
mod lifecycle;
mod members;
pub mod metrics;
mod owners;
mod query;
mod registry;
mod renewal_windows;
mod retire;
mod service;
mod slots;
mod statistics;
mod store;
mod values;

pub use certificate_events::CERTIFICATE_SUBSCRIPTION;
pub use config::{ConfigError, DevicesConfig, GroupsConfig, HistoryConfig};
pub use follow_up::CERTIFICATES_JOB;
pub use group_action_job::ACTIONS_JOB;
pub use group_renewal::RENEWAL_JOB;
pub use http::routes;
pub use jobs::WINDOWS_JOB;
pub use metrics::describe_metrics;
pub use owners::Owners;
pub use service::{DevicesPorts, DevicesService, StartError};
pub use store::{
    ACTION_FIELDS, DEVICE_FIELDS, DEVICE_FIELDS_IN_V2, GROUP_FIELDS, GROUP_FIELDS_IN_V2, SCHEMA,
};
pub use values::VALUES_JOB;
