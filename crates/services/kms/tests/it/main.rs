//! Key management from outside: HTTP, the service trait, the event log, restarts, the clock.
#![cfg(test)]

mod binding;
mod configuration;
mod conventions;
mod creation;
mod deletion;
mod errors;
mod faulty;
mod health;
mod import;
mod lifecycle;
mod lists;
mod log;
mod lookup;
mod metrics;
mod missing;
mod other_processes;
mod permissions;
mod races;
mod refusals;
mod relocation;
mod secrecy;
mod signatures;
mod status;
mod support;
mod unopened;
mod updates;
mod usage;
