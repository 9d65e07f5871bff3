//! What tests of several crates share: a PostgreSQL server of their own, a database per test.
//!
//! Only for `dev-dependencies`. Nothing here is skipped when a server is missing: the test fails
//! and says what to install.

mod database;
mod postgres;
mod postgres_proxy;
mod tls_files;

pub use database::{TestDatabase, newest_event};
pub use postgres::PostgresServer;
pub use postgres_proxy::{Cut, PostgresProxy};
pub use tls_files::TlsFiles;
