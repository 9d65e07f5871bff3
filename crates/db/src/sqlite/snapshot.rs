//! A copy of the database as it is at one moment, made beside the process that writes it.
//!
//! SQLite's online backup copies all pages in one read transaction. In WAL mode a reader hinders no
//! commit; the log only cannot be emptied meanwhile. In several steps it would start over at every
//! commit of the other process and not end under load. The copy has the pages as they are, so it
//! takes no longer than reading the file; `VACUUM INTO` would build every index again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{FILE_NAME, SqliteOptions, connection, failure, open_error};
use crate::data_dir::private_file;
use crate::error::{DbError, OpenError};

/// How long to wait where the start of the copy meets a lock.
const PATIENCE: Duration = Duration::from_millis(20);

/// Pages per step that take all of them.
const ALL_PAGES: i32 = -1;

/// Copies the SQLite database of a data directory into another directory, where it can be opened
/// with [`Db::open_sqlite_beside`](crate::Db::open_sqlite_beside), and checks that the copy is
/// sound. Blocks, and reads the whole database twice. The copy is not synced to disk.
///
/// # Errors
///
/// [`OpenError`] when there is no database, the copy cannot be written, or what was copied is
/// damaged.
pub fn copy_sqlite(dir: &Path, to: &Path) -> Result<(), OpenError> {
    let options = SqliteOptions::default();
    let source = connection::open_reader(&dir.join(FILE_NAME), &options).map_err(open_error)?;
    let path = to.join(FILE_NAME);
    private_file(&path).map_err(|source| OpenError::Directory {
        path: path.clone(),
        source,
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(&path, flags).map_err(open_error)?;
    copy_pages(&source, &mut copy).map_err(open_error)?;
    // One file that needs no companions to be read.
    copy.pragma_update(None, "journal_mode", "DELETE")
        .map_err(open_error)?;
    check(&copy)
}

/// Whether the SQLite database of a directory is sound. Blocks, and reads all of it.
///
/// # Errors
///
/// [`OpenError`] when it cannot be opened or is damaged.
pub fn check_sqlite(dir: &Path) -> Result<(), OpenError> {
    let options = SqliteOptions::default();
    let connection = connection::open_reader(&dir.join(FILE_NAME), &options).map_err(open_error)?;
    check(&connection)
}

fn copy_pages(source: &Connection, copy: &mut Connection) -> rusqlite::Result<()> {
    copy.pragma_update(None, "synchronous", "OFF")?;
    let backup = Backup::new(source, copy)?;
    loop {
        match backup.step(ALL_PAGES)? {
            StepResult::Done => return Ok(()),
            // Locks are for moments; more pages are never left.
            _ => pause(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a blocking call on a thread of its own, waiting for another process"
)]
fn pause() {
    std::thread::sleep(PATIENCE);
}

fn check(connection: &Connection) -> Result<(), OpenError> {
    const SQL: &str = "PRAGMA integrity_check(1)";
    let answer: String = connection
        .query_row(SQL, [], |row| row.get(0))
        .map_err(|error| failure::db_error(error, SQL))?;
    if answer == "ok" {
        Ok(())
    } else {
        let damage = DbError::corrupt("database file", answer);
        Err(OpenError::Database(Arc::new(damage)))
    }
}
