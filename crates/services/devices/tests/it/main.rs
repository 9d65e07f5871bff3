//! The device manager from outside: HTTP, the service trait, the event log, the clock.
#![cfg(test)]

mod bind;
mod certificates;
mod conventions;
mod devices;
mod errors;
mod group_conventions;
mod group_errors;
mod groups;
mod lists;
mod metrics;
mod support;
mod windows;
