//! The device manager from outside: HTTP, the service trait, the event log, the clock.
#![cfg(test)]

mod bind;
mod certificates;
mod conventions;
mod devices;
mod errors;
mod identity_slot;
mod lists;
mod metadata;
mod metrics;
mod retire;
mod slots;
mod support;
mod v2;
mod windows;
