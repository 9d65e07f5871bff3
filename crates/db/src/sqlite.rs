//! SQLite behind the port: one writer thread that groups commits, a few reader threads, and a
//! thread that checkpoints, so that no commit waits for one.
//!
//! All work happens on threads of its own, because SQLite blocks. Queues are bounded: whoever
//! finds the writer's full is told so at once, readers wait their turn.

mod checkpoint;
mod connection;
mod failure;
mod functions;
mod patience;
mod reader;
mod snapshot;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::backend::{Backend, Dialect};
use crate::data_dir::{DataDir, private_file};
use crate::error::{CommitError, DbError, MigrationError, OpenError};
use crate::migrate::Schema;
use crate::row::{Row, RowStream};
use crate::signals::Signals;
use crate::statement::{Statement, sql};
use crate::write_set::{Committed, Seq, WriteSet};
use patience::{Closing, Patience};

pub use snapshot::{check_sqlite, copy_sqlite};

/// The database file within the data directory.
const FILE_NAME: &str = "lamassu.db";

/// How many streams may hold a snapshot of their own at a time.
const MAX_STREAMS: usize = 4;

/// How many chunks of a stream wait for a slow consumer.
const STREAM_BUFFER: usize = 2;

/// How many reads wait for a reader thread before callers wait to enqueue.
const READ_QUEUE: usize = 1024;

/// How a SQLite database is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Number of reader threads, each with its own connection. Default 4.
    pub readers: usize,
    /// How many write sets may wait for the writer; more are refused as overload. Default 4096.
    pub write_queue: usize,
    /// How long to wait for a lock that a foreign program holds, for example a backup. Default 5 s.
    pub busy_timeout: Duration,
    /// How long a read may take before it is given up as [`DbError::TimedOut`]. Streams may take
    /// longer. Default 30 s.
    pub read_timeout: Duration,
    /// Upper limit of the database file in bytes; `None` is the disk's. Default `None`.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            write_queue: 4096,
            busy_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            max_bytes: None,
        }
    }
}

/// The running threads of one database file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    options: SqliteOptions,
    writer: mpsc::Sender<writer::Request>,
    readers: mpsc::Sender<reader::Request>,
    streams: Arc<Semaphore>,
    closing: Closing,
    signals: Arc<Signals>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the file, creating it with mode 0600, and starts the threads.
    pub(crate) fn open(dir: DataDir, options: SqliteOptions) -> Result<Self, OpenError> {
        let path = dir.path().join(FILE_NAME);
        // SQLite would create the file by the umask; its companions take over the file's mode.
        private_file(&path).map_err(|source| OpenError::Directory {
            path: path.clone(),
            source,
        })?;
        let signals = Arc::new(Signals::new());
        let mut threads = Vec::new();

        let write_connection = connection::open_writer(&path, &options).map_err(open_error)?;
        let (checkpoints, thread) = checkpoint::start(&path, &options)?;
        threads.push(thread);
        let (writer, thread) = writer::start(
            write_connection,
            options.write_queue,
            checkpoints,
            Arc::clone(&signals),
            dir,
        )?;
        threads.push(thread);
        let closing = Closing::default();
        let readers = start_readers(&path, &options, &closing, &mut threads)?;
        Ok(Self {
            path,
            options,
            writer,
            readers,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            closing,
            signals,
            threads: Mutex::new(threads),
        })
    }

    /// Opens a database for reading, beside the process that owns its data directory or without
    /// one. There is no writer: every commit and migration says that the database is closed.
    pub(crate) fn open_beside(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE_NAME);
        let options = SqliteOptions {
            readers: 1,
            ..SqliteOptions::default()
        };
        let (writer, _nobody) = mpsc::channel(1);
        let mut threads = Vec::new();
        let closing = Closing::default();
        let readers = start_readers(&path, &options, &closing, &mut threads)?;
        Ok(Self {
            path,
            options,
            writer,
            readers,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            closing,
            signals: Arc::new(Signals::new()),
            threads: Mutex::new(threads),
        })
    }
}

fn start_readers(
    path: &Path,
    options: &SqliteOptions,
    closing: &Closing,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<mpsc::Sender<reader::Request>, OpenError> {
    let (readers, read_queue) = reader::queue(READ_QUEUE);
    for _ in 0..options.readers.max(1) {
        let connection = connection::open_reader(path, options).map_err(open_error)?;
        let patience = Patience::new(options.read_timeout, closing);
        threads.push(reader::start(connection, &read_queue, patience)?);
    }
    Ok(readers)
}

fn open_error(error: rusqlite::Error) -> OpenError {
    OpenError::Database(Arc::new(error))
}

/// Starts a named thread.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error: io::Error| OpenError::Database(Arc::new(error)))
}

#[async_trait]
impl Backend for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn read(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, DbError> {
        let (reply, answer) = oneshot::channel();
        let request = reader::Request::Read { statements, reply };
        self.readers
            .send(request)
            .await
            .map_err(|_| DbError::Closed)?;
        answer.await.unwrap_or(Err(DbError::Closed))
    }

    async fn stream(&self, statement: Statement, chunk_rows: usize) -> Result<RowStream, DbError> {
        let permit = Arc::clone(&self.streams).acquire_owned().await;
        let permit = permit.map_err(|_| DbError::Closed)?;
        let (chunks, receiver) = mpsc::channel(STREAM_BUFFER);
        let (path, options) = (self.path.clone(), self.options.clone());
        // A stream may go on for as long as somebody takes its rows.
        let patience = Patience::new(Duration::MAX, &self.closing);
        let consumer = chunks.clone();
        spawn("db-stream", move || {
            let failure = connection::open_reader(&path, &options)
                .map_err(|error| failure::db_error(error, statement.text()))
                .and_then(|connection| {
                    patience.while_wanted(
                        &connection,
                        move || consumer.is_closed(),
                        || reader::stream(&connection, &statement, chunk_rows.max(1), &chunks),
                    )
                })
                .err();
            if let Some(error) = failure {
                // A consumer that is gone does not want to know.
                let _gone = chunks.blocking_send(Err(error)).is_err();
            }
            drop(permit);
        })
        .map_err(|error| DbError::Unreachable(Arc::new(error)))?;
        Ok(RowStream { chunks: receiver })
    }

    async fn commit(&self, set: WriteSet) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        let request = writer::Request::Commit(writer::Pending { set, reply });
        self.writer.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DbError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => DbError::Closed,
        })?;
        answer
            .await
            .unwrap_or(Err(CommitError::Db(DbError::Closed)))
    }

    async fn migrate(&self, schema: Schema) -> Result<(), MigrationError> {
        let (reply, answer) = oneshot::channel();
        let request = writer::Request::Migrate { schema, reply };
        self.writer
            .send(request)
            .await
            .map_err(|_| DbError::Closed)?;
        answer
            .await
            .unwrap_or(Err(MigrationError::Db(DbError::Closed)))
    }

    fn writes(&self) -> bool {
        !self.writer.is_closed()
    }

    async fn log_head(&self) -> Result<Seq, DbError> {
        // One writer: what it told of is visible, and all before it.
        if let Some(newest) = self.signals.newest() {
            return Ok(newest);
        }
        // The sequence table survives trimming.
        let query = sql(
            "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'event_log'), 0)",
            Vec::new(),
        );
        let rows = self.read(vec![query]).await?;
        let row = rows.into_iter().flatten().next();
        row.map_or(Ok(Seq(0)), |row| row.get(0).map(Seq))
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    async fn close(&self) {
        self.streams.close();
        self.closing.begin();
        let (reply, drained) = oneshot::channel();
        // Whoever is closed already does not answer; both are fine.
        if self
            .writer
            .send(writer::Request::Close(reply))
            .await
            .is_ok()
        {
            let _drained = drained.await;
        }
        let _closed_before = self.readers.send(reader::Request::Close).await.is_err();
        let threads = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *threads)
        };
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("database thread panicked");
                }
            }
        });
        let _joined = joined.await;
    }
}
