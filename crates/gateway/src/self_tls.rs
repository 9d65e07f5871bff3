//! The installation's own server certificate, from a CA of its own.
//!
//! A fresh installation must speak TLS before anybody configured anything. So it keeps a CA in
//! `DIR/tls` that issues exactly one kind of certificate, the server's. Clients trust `ca.pem`;
//! the certificate below it is renewed in time and when names or addresses of the host change
//! (for an interface's address once an hour at most), without a restart. This CA is no CA of the platform: it is in no list and issues nothing else.
//!
//! ```text
//! DIR/tls/ca.pem       trust anchor, mode 0644, ten years
//! DIR/tls/ca.key       its key, PKCS#8 PEM, mode 0600
//! DIR/tls/server.pem   server certificate and trust anchor, 397 days
//! DIR/tls/server.key   its key, mode 0600
//! ```
//!
//! Where next: [`OwnTls`], [`ServerNames`]; `authority.rs` builds the certificates, `files.rs`
//! writes them so that a crash leaves the old or the new file.

mod authority;
mod files;
mod names;
mod own;

pub use names::ServerNames;
pub(crate) use names::is_dns_name;
pub use own::OwnTls;
