//! TLS: versions, suites, the server's certificate, and proof of possession of client keys.
//!
//! rustls over aws-lc-rs. A client certificate is asked for and *any* certificate is taken, be it
//! self-signed, expired, of version 1 or dated in year 1: whether it means something is decided
//! where the path says by which CAs ([`client_verifier`]). What is never skipped is the signature
//! that proves possession of its key. Only a listener that was told which CAs to believe judges
//! more (`client_trust.rs`). No session is ever resumed ([`server_config`]).

pub mod client_verifier;
pub mod server_certificate;
pub mod server_config;

pub(crate) mod certificate_source;
pub(crate) mod client_key;
pub(crate) mod client_trust;
pub(crate) mod handshake;
pub(crate) mod pem_files;
