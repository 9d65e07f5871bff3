//! The CA service from outside: HTTP in, a real database below, and a clock that stands still.
#![cfg(test)]

mod authorities;
mod bound;
mod ca_requests;
mod certificates;
mod downloads;
mod enrollment;
mod jobs;
mod kms;
mod metrics;
mod profiles;
mod races;
mod real_kms;
mod revocations;
mod routes;
mod signing;
mod status;
mod support;
