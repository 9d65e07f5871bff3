//! The crypto engine that keeps keys in a directory, one file per key.
//!
//! The directory has mode 0700, a file has mode 0600, the key's handle as its name and PKCS#8 in
//! PEM as its content. With a secret configured the content is `ENCRYPTED PRIVATE KEY` (RFC 5958,
//! PBES2 of RFC 8018 with PBKDF2-HMAC-SHA256 and AES-256-CBC), which `openssl pkey` reads; see
//! [`KeySecret`] for what the secret may be. A file appears whole or not at all, and has reached
//! the disk when the engine answers: it is written under another name, synchronised, linked to
//! its own name, and the directory synchronised. What a crash leaves behind is swept at the start.
//!
//! Keys that an earlier installation wrote are read too: any PEM label, PKCS#8, PKCS#1 or SEC 1,
//! and only PKCS#8 is written. The start with a secret encrypts the clear keys that it finds.
//!
//! Each key is read and decrypted once and then kept parsed in memory, the most used 10,000 of
//! them, so a signature costs no file access.
//!
//! Configuration, in the list of engines:
//!
//! ```yaml
//! - id: filesystem-1
//!   type: filesystem
//!   storage_directory: /var/lib/lamassu/keys
//!   passphrase_file: /run/secrets/lamassu-keys
//!   metadata: {site: lab}
//! ```
//!
//! Where next: [`FilesystemEngine`], then `store.rs`, `directory.rs` (files), `envelope.rs`
//! (encryption).

mod config;
mod directory;
mod engine;
mod envelope;
mod error;
mod store;

pub use config::{ConfigError, FilesystemConfig, KeySecret};
pub use engine::FilesystemEngine;
pub use error::{KeyFileError, OpenError};
