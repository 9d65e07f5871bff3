//! Authentication, seen through a router whose routes need it.
#![cfg(test)]

mod api_keys;
mod audit;
mod certificates;
mod configuration;
mod documents;
mod issuer;
mod key_kinds;
mod modes;
mod refusals;
mod roles;
mod support;
