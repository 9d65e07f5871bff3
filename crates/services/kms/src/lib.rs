//! Key management: key pairs in crypto engines, and who may be told what about them.
//!
//! It owns the tables `kms_key`, `kms_key_alias`, `kms_key_leftover`, `kms_key_usage`, `kms_key_text`
//! (what keys are found by) and `kms_key_count`, and everything that the crypto engines hold: nobody
//! else talks to an engine. It promises that no key is lost between an engine and the database: a row is written before an engine makes a key and removed after an engine forgot it,
//! and the reaper finishes what a crash left. A key being made is in no list, no statistic and no
//! event; a key being destroyed is gone for everybody at once. Keys of engines that end with the
//! process are forgotten at the next start, unless certificates use them: those show as lost.
//!
//! It publishes `kms.create`, `kms.import`, `kms.delete`, `kms.<what>.update` (`metadata`, `aliases`,
//! `name`, `tags`, `status`, `engine`), `kms.sign` and `kms.verify` and consumes nothing. Signatures made through [`KmsService::signer`], the platform's own, are
//! metrics and no events.
//!
//! Deliberately absent: private keys (they stay in the engines), and which engines exist (the
//! binary builds them from [`CryptoEnginesConfig`]).
//!
//! Where next: [`Kms`] for assembly; `create.rs`, `import.rs`, `relocate.rs` and `delete.rs` for a
//! key's life; `update.rs` for what is changed of it; `sign.rs` and `platform.rs` for signatures; `algorithm.rs` for the names of the wire; `jobs.rs` for the reaper; `missing.rs` for keys whose files are gone; [`routes`] for
//! HTTP.
//!
//! [`KmsService::signer`]: lamassu_core::kms::KmsService::signer

mod algorithm;
mod bind;
mod cache;
mod config;
mod create;
mod delete;
mod engines;
mod events;
mod finder;
mod health;
mod http;
mod import;
mod jobs;
mod key_address;
pub mod metrics;
mod missing;
mod patches;
mod platform;
mod query;
mod relocate;
mod service;
mod sign;
mod startup;
mod store;
mod update;
mod usage;

pub use config::{ConfigError, CryptoEnginesConfig, EngineConfig, EngineKind, UnknownEngineType};
pub use http::routes;
pub use jobs::REAPER_JOB;
pub use metrics::describe_metrics;
pub use service::{Kms, KmsPorts, StartError, UnavailableEngine};
pub use store::{KEY_FIELDS, SCHEMA, handles_of_engine};
