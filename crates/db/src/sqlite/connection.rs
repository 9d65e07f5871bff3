//! How connections to the file are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

use super::SqliteOptions;
use super::functions;

/// Statements kept prepared per connection; every service's constant texts fit.
const PREPARED_STATEMENTS: usize = 512;

/// How long starting the write-ahead log over may wait for readers. Commits wait behind it, and a reader
/// that outlasts this would outlast any wait that they could bear; it is tried again later.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(50);

/// Bytes per page, SQLite's default.
const PAGE_BYTES: u64 = 4096;

/// Bytes that the write-ahead log's file keeps when it is empty.
const LOG_BYTES: i64 = 64 * 1024 * 1024;

/// Pages that the writer keeps in memory, in KiB. A batch that does not fit is written to the log
/// in part before its commit, and again when the same pages change once more.
const WRITER_CACHE_KIB: i64 = 16 * 1024;

/// The one connection that writes: WAL, every commit synced to disk.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags, options)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // Checkpoints are another thread's work; inside a commit they would be its tail latency.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What a burst left of the log is given back when the log starts over.
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    if let Some(max_bytes) = options.max_bytes {
        let pages = i64::try_from(max_bytes / PAGE_BYTES).unwrap_or(i64::MAX);
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags, options)
}

/// The connection that checkpoints; it writes no rows.
pub(super) fn open_checkpointer(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open(path, flags, options)?;
    connection.busy_timeout(CHECKPOINT_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags, options: &SqliteOptions) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A plan that depends on bound values is made anew each time that they change.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    functions::register(&connection)?;
    Ok(connection)
}
