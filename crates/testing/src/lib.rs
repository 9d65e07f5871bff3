//! What tests of several crates share: a PostgreSQL server of their own, a database per test, tokens,
//! and the suite of all crypto engines.
//!
//! Only for `dev-dependencies`. Nothing here is skipped when a server is missing: the test fails
//! and says what to install.

pub mod conformance;
mod database;
mod postgres;
mod postgres_proxy;
mod softhsm;
mod tls_files;

pub use database::{TestDatabase, newest_event};
pub use postgres::PostgresServer;
pub use postgres_proxy::{Cut, PostgresProxy};
pub use softhsm::{SoftHsm, TokenServer};
pub use tls_files::TlsFiles;
