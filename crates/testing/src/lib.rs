//! What tests of several crates share: a PostgreSQL server of their own, a database per test, tokens,
//! the suite of all crypto engines, and the conventions that all services keep.
//!
//! Only for `dev-dependencies`. Nothing here is skipped when a server is missing: the test fails
//! and says what to install.

mod bodies;
pub mod conformance;
mod database;
pub mod lists;
pub mod patches;
mod postgres;
mod postgres_proxy;
pub mod refusals;
mod router;
mod softhsm;
mod tls_files;

pub use bodies::check_bodies;
pub use database::{TestDatabase, newest_event};
pub use postgres::PostgresServer;
pub use postgres_proxy::{Cut, PostgresProxy};
pub use softhsm::{SoftHsm, TokenServer, Wrapped};
pub use tls_files::TlsFiles;
