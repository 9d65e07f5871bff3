//! The handle that every service holds.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lamassu_core::clock::SharedClock;
use time::OffsetDateTime;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use crate::backend::{Backend, Dialect};
use crate::data_dir::DataDir;
use crate::error::{CommitError, DbError, MigrationError, OpenError};
use crate::instant::truncated;
use crate::list::BookmarkKey;
use crate::migrate::{STORAGE, Schema};
use crate::outage::Outage;
use crate::postgres::{Postgres, PostgresOptions};
use crate::row::{Row, RowStream};
use crate::signals::{CommitWatcher, Signals};
use crate::sqlite::{Sqlite, SqliteOptions};
use crate::statement::Statement;
use crate::write_set::{Committed, Seq, WriteSet};

/// A database; cheap to clone, shared by all services of a process.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Box<dyn Backend>,
    clock: SharedClock,
    bookmark_key: OnceCell<BookmarkKey>,
    reading: Outage,
    writing: Outage,
}

impl Inner {
    fn new(backend: impl Backend + 'static, clock: SharedClock) -> Self {
        Self {
            backend: Box::new(backend),
            clock,
            bookmark_key: OnceCell::new(),
            reading: Outage::new("reading"),
            writing: Outage::new("writing"),
        }
    }

    async fn read(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, DbError> {
        let begun = Instant::now();
        let read = self.backend.read(statements).await;
        self.reading.note(begun, &read);
        read
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Opens (and on first use creates) the SQLite database of a data directory, brings the
    /// tables of this crate up to date and takes over all leases: the directory's lock proves
    /// that nobody else runs.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the file cannot be opened or a newer program wrote it.
    pub async fn open_sqlite(
        dir: DataDir,
        options: SqliteOptions,
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        let backend = Sqlite::open(dir, options)?;
        let db = Self {
            inner: Arc::new(Inner::new(backend, clock)),
        };
        db.migrate(STORAGE).await?;
        crate::lease::take_over_all(&db).await?;
        let head = db.log_head().await?;
        db.signals().log_ends_at(head);
        Ok(db)
    }

    /// Opens a PostgreSQL database that any number of processes share, makes its schema on first
    /// use and brings the tables of this crate up to date.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the server cannot be reached or a newer program wrote the database.
    pub async fn open_postgres(
        options: PostgresOptions,
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        let backend = Postgres::new(options)?;
        backend.make_schema().await?;
        let db = Self {
            inner: Arc::new(Inner::new(backend, clock)),
        };
        db.migrate(STORAGE).await?;
        db.inner.backend.start();
        Ok(db)
    }

    /// Opens the SQLite database of a data directory for reading, also while another process owns
    /// the directory. Every commit fails with [`DbError::Closed`]; nothing is created or changed.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when there is no database.
    pub fn open_sqlite_beside(dir: &Path, clock: SharedClock) -> Result<Self, OpenError> {
        let backend = Sqlite::open_beside(dir)?;
        Ok(Self {
            inner: Arc::new(Inner::new(backend, clock)),
        })
    }

    /// Brings the tables of a crate up to date; called once per service at start.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NewerSchema`] when a newer program wrote the database.
    pub async fn migrate(&self, schema: Schema) -> Result<(), MigrationError> {
        self.inner.backend.migrate(schema).await
    }

    /// Whether the database answers, and this process can ask it for changes: a database that takes
    /// reads only for a while answers; a process whose writer ended never writes again.
    ///
    /// # Errors
    ///
    /// [`DbError`].
    pub async fn ping(&self) -> Result<(), DbError> {
        if !self.inner.backend.writes() {
            return Err(DbError::Closed);
        }
        self.rows(crate::statement::sql("SELECT 1", Vec::new()))
            .await
            .map(drop)
    }

    /// All rows of a statement.
    ///
    /// # Errors
    ///
    /// [`DbError`].
    pub async fn rows(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let mut results = self.inner.read(vec![statement]).await?;
        Ok(results.pop().unwrap_or_default())
    }

    /// The first row of a statement, if it has any.
    ///
    /// # Errors
    ///
    /// [`DbError`].
    pub async fn row_opt(&self, statement: Statement) -> Result<Option<Row>, DbError> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// The results of several statements, all of the same snapshot; one per statement.
    ///
    /// # Errors
    ///
    /// [`DbError`].
    pub async fn snapshot(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, DbError> {
        self.inner.read(statements).await
    }

    /// The rows of a statement in chunks of at most `chunk_rows`, one snapshot, never all in
    /// memory. Few streams run at a time; more wait.
    ///
    /// # Errors
    ///
    /// [`DbError`].
    pub async fn stream(
        &self,
        statement: Statement,
        chunk_rows: usize,
    ) -> Result<RowStream, DbError> {
        self.inner.backend.stream(statement, chunk_rows).await
    }

    /// Applies a write set, all or nothing. When it returns `Ok`, the change survives a power
    /// cut. Dropping the future does not undo an accepted set.
    ///
    /// Sets that wait at the same moment share one commit to disk, so callers run concurrently
    /// rather than one after the other.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; except after `OutcomeUnknown` nothing was changed.
    pub async fn commit(&self, set: WriteSet) -> Result<Committed, CommitError> {
        let begun = Instant::now();
        let committed = self.inner.backend.commit(set).await;
        self.inner.writing.note(begun, &committed);
        committed
    }

    /// The newest event that a subscription can see now.
    ///
    /// # Errors
    ///
    /// [`DbError`].
    pub async fn log_head(&self) -> Result<Seq, DbError> {
        self.inner.backend.log_head().await
    }

    /// Waits until a subscription of this process has handled everything up to `seq`.
    ///
    /// For tests and for drains: wrap it in `tokio::time::timeout`.
    pub async fn caught_up(&self, subscription: &str, seq: Seq) {
        let mut position = self.signals().position(subscription);
        // The sender lives as long as the database, so waiting cannot fail.
        let _reached = position.wait_for(|reached| *reached >= seq).await;
    }

    /// Lets a watcher hear of everything that this process commits from now on.
    pub fn watch_commits(&self, watcher: Arc<dyn CommitWatcher>) {
        self.signals().watch(watcher);
    }

    /// A receiver that changes whenever a committed write set wakes `name`
    /// ([`WriteSet::wake`]) or [`Db::wake`] is called.
    pub fn signal(&self, name: &str) -> watch::Receiver<u64> {
        self.signals().named(name)
    }

    /// Wakes whoever waits for `name`, without a change.
    pub fn wake(&self, name: &str) {
        self.signals().wake(name);
    }

    /// The time now, cut to what a database stores (microseconds).
    pub fn now(&self) -> OffsetDateTime {
        truncated(self.inner.clock.now())
    }

    /// Which SQL the database speaks.
    pub fn dialect(&self) -> Dialect {
        self.inner.backend.dialect()
    }

    /// Lets accepted commits finish and closes the database; later calls fail with
    /// [`DbError::Closed`].
    pub async fn close(&self) {
        self.inner.backend.close().await;
    }

    pub(crate) fn signals(&self) -> &Signals {
        self.inner.backend.signals()
    }

    pub(crate) fn bookmark_key(&self) -> &OnceCell<BookmarkKey> {
        // `Inner` is behind an `Arc`; the cell is filled on first use.
        &self.inner.bookmark_key
    }
}
