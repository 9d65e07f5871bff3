//! Moves committed pages from the write-ahead log into the database file, outside the writer.
//!
//! Copying pages hinders nobody. Starting the log over holds up commits while the last pages are
//! copied and the readers of old ones are done; so little is left for that, and it waits for a moment
//! only and otherwise comes again later.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::{SqliteOptions, connection, open_error, spawn};
use crate::error::OpenError;

/// Pages in the log from which on checkpoints are worth while (16 MB). Busy pages are many times in
/// the log, and a checkpoint copies each once: the rarer, the cheaper.
pub(super) const PASSIVE_PAGES: i32 = 4_000;

/// Pages from which on the log starts over even if commits must wait for it (64 MB). A passive
/// checkpoint never catches up with a writer that does not pause, so the log would grow on.
const RESTART_PAGES: i32 = 16_000;

/// Pages by which the log grows before a failed attempt to start it over is repeated (16 MB).
const RETRY_PAGES: i32 = 4_000;

/// How often what was written meanwhile is copied before commits are held up for the rest. Each
/// time less is left, since copying is faster than what writes it.
const ROUNDS_BEFORE_RESTART: usize = 4;

/// Starts the thread; it takes the number of pages in the log and ends with its sender.
pub(super) fn start(
    path: &Path,
    options: &SqliteOptions,
) -> Result<(SyncSender<i32>, JoinHandle<()>), OpenError> {
    let connection = connection::open_checkpointer(path, options).map_err(open_error)?;
    // One waiting wish is enough: a checkpoint takes all there is.
    let (sender, receiver) = sync_channel(1);
    let thread = spawn("db-checkpoint", move || run(&connection, &receiver))?;
    Ok((sender, thread))
}

fn run(connection: &Connection, wishes: &Receiver<i32>) {
    let mut restart_at = RESTART_PAGES;
    while let Ok(pages) = wishes.recv() {
        if pages < RESTART_PAGES {
            // The log started over meanwhile.
            restart_at = RESTART_PAGES;
        }
        let extent = if pages >= restart_at {
            Extent::CopyAndRestart
        } else {
            Extent::Copy
        };
        match checkpoint(connection, extent) {
            Ok(Outcome::Copied) => {}
            Ok(Outcome::Restarted) => restart_at = RESTART_PAGES,
            // A reader still needs the log. Commits waited for the attempt, so it is not repeated
            // at every wish.
            Ok(Outcome::Obstructed) => restart_at = pages.saturating_add(RETRY_PAGES),
            Err(error) => tracing::warn!(%error, pages, "checkpoint failed"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Copy,
    CopyAndRestart,
}

enum Outcome {
    Copied,
    Restarted,
    /// A reader or the writer was in the way of starting the log over.
    Obstructed,
}

/// What can be copied without waiting is copied first, so that little is left to wait for. The file
/// keeps its size: growing it again would cost the next commits more than writing does.
fn checkpoint(connection: &Connection, extent: Extent) -> rusqlite::Result<Outcome> {
    let rounds = match extent {
        Extent::Copy => 1,
        Extent::CopyAndRestart => ROUNDS_BEFORE_RESTART,
    };
    for _ in 0..rounds {
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    if extent == Extent::Copy {
        return Ok(Outcome::Copied);
    }
    let obstructed: bool =
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))?;
    Ok(if obstructed {
        Outcome::Obstructed
    } else {
        Outcome::Restarted
    })
}
