//! The domain and wire model of the platform: types, errors, service traits, ports. No I/O.
//!
//! Everything that more than one crate must agree on lives here: what a certificate, a device or
//! a DMS looks like on the wire, what each service promises (a trait and an error enum per
//! service), what a crypto engine must do, who is asking, and how lists are asked for. Nothing
//! here opens a socket, a file or a database, reads the clock or draws random numbers.
//!
//! Where next: [`kms`], [`ca`], [`device`], [`dms`], [`va`] for the services; [`caller`],
//! [`permission`] and [`error`] for what all of them share; [`query`] for lists, [`patch`] for
//! metadata; [`crypto_engine`] for the port that key holders implement.

pub mod ca;
pub mod caller;
#[cfg(test)]
mod changed_body;
pub mod clock;
pub mod crypto_engine;
pub mod dead_letter;
pub mod device;
pub mod device_group;
pub mod dms;
pub mod duration;
pub mod error;
pub mod host;
pub mod ids;
pub mod internal;
pub mod json;
pub mod kms;
pub mod monitoring_job;
pub mod network;
pub mod page;
pub mod patch;
pub mod pattern;
pub mod pem;
pub mod percent;
pub mod permission;
pub mod query;
pub mod revision;
mod schema;
pub mod subject;
pub mod timestamp;
pub mod usage;
pub mod va;
