//! DMS manager: the enrollment policy of a fleet, and EST (RFC 7030) under it.
//!
//! **Owns** the table `dms`: one row per device manufacturing system, which is one EST label;
//! `enrollment_password`, for devices without a certificate; `refused_enrollment`, a bounded log;
//! `approval`: enrollments that somebody has to approve.
//! Certificates belong to the CA service and devices to the device manager; both are ports.
//!
//! **Promises.** A device gets its certificate only after the device manager has bound it to the
//! device's slot by compare-and-set; nothing answered is ever unstored, and what a crash leaves
//! between issuing and binding is revoked or completed by a sweep. Everything that can refuse is
//! looked at before a key signs. A request runs in a task of the server, so a client that hangs
//! up stops nothing half way.
//!
//! **Events** told: `dms.create`, `dms.update`, `dms.metadata.update`, `dms.delete`,
//! `dms.approval.create`, `dms.approval.update` (source `service/ra`); `dms.bind-device-id`,
//! `dms.enroll` and `dms.reenroll` are told by the device manager, in the write set of the
//! binding. Heard: changes of CAs and profiles, which drop what [`Directory`](directory) keeps.
//!
//! **Absent on purpose**: issuing, revoking and binding themselves, TLS (the listener proves
//! possession of a client certificate's key).
//!
//! | to | go to |
//! |---|---|
//! | assemble | [`DmsManager`], [`DmsPorts`], [`routes`], [`est_routes`], [`SCHEMA`] |
//! | follow an enrollment | `enroll.rs`, `reenroll.rs`, then `issue.rs` (the two commits) |
//! | see who may enroll | `authenticate.rs`, then `credential.rs`, `webhook.rs`, `password.rs`, `revocation.rs`, path rules in `lamassu_x509::path` |
//! | see keys made for devices | `keygen.rs`, `key_delivery.rs` |
//! | see who approves | `approval.rs` |
//! | see the EST wire | `http/est.rs`, `http/est_body.rs`, `http/est_reply.rs` |

mod approval;
mod authenticate;
mod basic;
mod bind;
mod ca_certs;
mod channel_binding;
mod config;
mod credential;
mod csr_attrs;
mod directory;
mod dry_run;
mod enroll;
mod events;
mod foreign_revocation;
mod http;
mod issue;
mod jobs;
mod key_delivery;
mod keygen;
mod known_paths;
mod limits;
mod manage;
mod metrics;
mod password;
mod profile;
mod reenroll;
mod refused;
mod repeat;
mod request;
mod revocation;
mod seal;
mod secrets;
mod service;
mod settings;
mod store;
mod subject;
mod sweep;
mod system_ca;
mod webhook;
mod webhook_settings;

pub use config::{
    DualAuth, EkuMode, EstConfig, InvalidEstConfig, LineLength, RevocationConfig, StatusCodes,
    WebhookPolicy,
};
pub use http::{est_routes, routes};
pub use metrics::describe_metrics;
pub use service::{DmsManager, DmsPorts, StartError};
pub use store::{APPROVAL_FIELDS, FIELDS as DMS_FIELDS, PASSWORD_FIELDS, REFUSED_FIELDS, SCHEMA};
pub use system_ca::SystemCa;
