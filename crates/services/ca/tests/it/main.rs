//! The CA service from outside: HTTP in, a real database below, and a clock that stands still.
#![cfg(test)]

mod authorities;
mod bound;
mod ca_requests;
mod certificates;
mod conventions;
mod crl_shards;
mod deletion;
mod downloads;
mod enrollment;
mod errors;
mod imports;
mod jobs;
mod kms;
mod long_names;
mod made_certificates;
mod metadata;
mod metrics;
mod moved_keys;
mod profiles;
mod races;
mod raw_signatures;
mod real_kms;
mod refusals;
mod reissues;
mod reused_ids;
mod revocations;
mod routes;
mod shared_keys;
mod signing;
mod statistics;
mod status;
mod status_of_cas;
mod support;
mod upgrades;
