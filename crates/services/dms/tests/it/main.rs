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
mod interrupted;
mod management;
mod reenroll;
mod revocation;
mod serverkeygen;
mod support;
