//! The DMS manager through its routes, over a real database, CA service and device manager.
#![cfg(test)]

mod bind;
mod device;
mod enroll;
mod est_wire;
mod interrupted;
mod management;
mod reenroll;
mod revocation;
mod support;
