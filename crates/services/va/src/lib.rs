//! The validation authority: OCSP answers (RFC 6960), CRLs (RFC 5280 §5), and the certificates
//! of CAs for who builds chains.
//!
//! It owns the tables `va_role`, `va_shard` and `va_revoked` and the CRL files. It promises that OCSP says
//! `good` only if the CA service says so at that moment; that the CRLs of a CA are numbered
//! without gaps, each number once; that a role appears together with its first CRL; and that a
//! revocation makes a new CRL at once, many at the same time few.
//!
//! It publishes `va.role.crl.create` and `va.role.crl.init`. It consumes `ca.create`,
//! `ca.import`, `ca.reissue`, `ca.delete`, `ca.status.update` and `certificate.status.update`.
//!
//! Deliberately absent: certificates and CAs (it asks the CA service), keys (it asks the KMS). CAs that share name and key share role and CRL; of several that
//! share a key only, the first has them.
//!
//! Where next: [`VaService`] for assembly; `ocsp.rs` for the path of a question; `crl.rs` for
//! how a list is made and `renew.rs` for when; `ca_events.rs` for what it follows; [`routes`]
//! for HTTP.

mod answer_file;
mod authorities;
mod authority;
mod blobs;
mod ca_events;
mod ca_failure;
mod config;
mod crl;
mod delegates;
mod delta;
mod events;
mod files;
mod final_crl;
mod http;
mod import;
mod jobs;
mod metrics;
mod ocsp;
mod presigned;
mod reconcile;
mod renew;
mod responder;
mod responder_key;
mod role;
mod service;
mod shard;
mod shard_job;
mod signing;
mod store;

pub use blobs::{BlobError, Blobs, S3Auth, S3Config, local_blobs, s3_blobs};
pub use ca_events::CA_SUBSCRIPTION;
pub use config::{CrlConfig, OcspConfig, OcspResponder, VaConfig, VaConfigError, ValidationConfig};
pub use files::CRL_ROOT;
pub use http::routes;
pub use jobs::CRL_JOB;
pub use metrics::describe_metrics;
pub use service::{CaPlace, StartError, VaPorts, VaService};
pub use shard_job::SHARD_JOB;
pub use store::{ROLE_FIELDS, SCHEMA};
