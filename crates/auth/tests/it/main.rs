//! Authentication, seen through a router whose routes need it.
#![cfg(test)]

mod audit;
mod configuration;
mod documents;
mod issuer;
mod key_kinds;
mod modes;
mod refusals;
mod roles;
mod support;
