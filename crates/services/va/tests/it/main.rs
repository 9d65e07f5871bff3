//! The validation authority from outside: HTTP, the event log, files, openssl as the judge.
#![cfg(test)]

mod buckets;
mod ca_events;
mod conventions;
mod crl;
mod delegates;
mod deltas;
mod errors;
mod files;
mod final_crls;
mod imports;
mod metrics;
mod ocsp;
mod ocsp_http;
mod openssl;
mod presigned;
mod races;
mod reconcile;
mod roles;
mod shards;
mod support;
mod unreadable;
