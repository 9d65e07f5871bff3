//! Bodies of the routes under `/internal/v1`: what services need of each other and the public API
//! does not offer. Both sides, the routes and the client, read and write these types.
//!
//! Binary members are base64, times are RFC 3339. Types of the domain that can be written as they
//! are have no twin here.

pub mod ca;
pub mod device;
pub mod dms;
pub mod kms;

mod binary;
#[cfg(test)]
mod tests;

pub use binary::Base64;
pub(crate) use binary::{instant, octets32};
