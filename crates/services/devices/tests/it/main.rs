//! The device manager from outside: HTTP, the service trait, the event log, the clock.
#![cfg(test)]

mod attachments;
mod bind;
mod certificates;
mod conventions;
mod devices;
mod errors;
mod group_actions;
mod group_conventions;
mod group_errors;
mod group_policies;
mod group_renewal;
mod groups;
mod groups_v2;
mod histories;
mod holds;
mod identity_slot;
mod lists;
mod metadata;
mod metrics;
mod refused_changes;
mod replicas;
mod retire;
mod slots;
mod statistics;
mod support;
mod unreadable;
mod upgrades;
mod v2;
mod values;
mod windows;
