//! The port that a database implements.
//!
//! No call holds a transaction open between two calls: a read is one round of statements in one
//! snapshot, a change is a whole write set. So a back end is free to pipeline, to group commits
//! and to repeat them.

use std::fmt;

use async_trait::async_trait;

use crate::error::{CommitError, DbError, MigrationError};
use crate::migrate::Schema;
use crate::row::{Row, RowStream};
use crate::signals::Signals;
use crate::statement::Statement;
use crate::write_set::{Committed, Seq, WriteSet};

/// Which SQL a back end speaks, for the few texts that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL 12 or later.
    Postgres,
}

/// A database.
#[async_trait]
pub(crate) trait Backend: Send + Sync + fmt::Debug {
    /// Begins what runs beside calls, once the tables of this crate are there.
    fn start(&self) {}

    /// What SQL it speaks.
    fn dialect(&self) -> Dialect;

    /// Runs the statements one after the other in one snapshot; one result per statement.
    async fn read(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, DbError>;

    /// Runs one statement and hands its rows over in chunks of at most `chunk_rows`.
    async fn stream(&self, statement: Statement, chunk_rows: usize) -> Result<RowStream, DbError>;

    /// Applies a write set, all or nothing; when it returns, the change is durable.
    async fn commit(&self, set: WriteSet) -> Result<Committed, CommitError>;

    /// Brings the tables of one crate up to date.
    async fn migrate(&self, schema: Schema) -> Result<(), MigrationError>;

    /// Whether the part that writes still runs, whatever the database says to it.
    fn writes(&self) -> bool;

    /// The last event before which no event can still appear.
    async fn log_head(&self) -> Result<Seq, DbError>;

    /// What wakes this process after commits, its own and those of others.
    fn signals(&self) -> &Signals;

    /// Lets accepted commits finish, then refuses all calls.
    async fn close(&self);
}
