//! The DMS manager through its routes, over a real database, CA service and device manager.
#![cfg(test)]

mod approvals;
mod bind;
mod conventions;
mod device;
mod enroll;
mod errors;
mod est_wire;
mod field_requests;
mod foreign_revocation;
mod interrupted;
mod limits;
mod management;
mod operating;
mod overlap;
mod owners;
mod password;
mod reenroll;
mod repeat;
mod revocation;
mod serverkeygen;
mod settings;
mod support;
mod tokens;
mod webhook;
