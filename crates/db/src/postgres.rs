//! PostgreSQL behind the port: one task that writes, a pool for reading, a connection that
//! listens.
//!
//! Several processes work on one database. Each has one writer that groups commits
//! ([`batch`]); they meet in rows, where the server's locks decide. A process learns of the
//! others' commits by LISTEN ([`listener`]) and reads the event log only as far as it is final
//! ([`heads`]).
//!
//! A connection that breaks is made anew when it is next needed. What is certain not to have been
//! stored is repeated for a moment; then the callers are told that the database is unreachable.

mod batch;
mod durability;
mod failure;
mod head;
mod heads;
mod listener;
mod migration;
mod notification;
mod options;
mod reader;
mod server;
mod session;
mod tls;
mod value;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::head::HeadTracker;
pub(crate) use self::heads::SERVER_RUN;
pub use self::options::{PostgresOptions, TlsMode, TlsOptions};
use self::server::Server;
use self::writer::{Pending, Request, Writer};
use crate::backend::{Backend, Dialect};
use crate::error::{CommitError, DbError, MigrationError, OpenError};
use crate::migrate::Schema;
use crate::row::{Row, RowStream};
use crate::signals::Signals;
use crate::statement::Statement;
use crate::write_set::{Committed, Seq, WriteSet};

/// How many streams may hold a connection and a snapshot of their own at a time.
const MAX_STREAMS: usize = 4;

/// How many chunks of a stream wait for a slow consumer.
const STREAM_BUFFER: usize = 2;

/// A process's side of one database.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: Arc<Server>,
    pool: Pool,
    writer: mpsc::Sender<Request>,
    streams: Arc<Semaphore>,
    signals: Arc<Signals>,
    heads: Arc<HeadTracker>,
    shutdown: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Postgres {
    /// Checks the options; the server is reached by [`Postgres::start`].
    pub(crate) fn new(options: PostgresOptions) -> Result<Self, OpenError> {
        let server = Arc::new(Server::new(options)?);
        let pool = server.pool()?;
        let process = Arc::from(Uuid::new_v4().simple().to_string());
        let signals = Arc::new(Signals::new());
        let heads = Arc::new(HeadTracker::new(
            Arc::clone(&server),
            pool.clone(),
            process,
            Arc::clone(&signals),
        ));
        let (writer, queue) = mpsc::channel(server.options.write_queue.max(1));
        let writing = Writer {
            server: Arc::clone(&server),
            queue,
            signals: Arc::clone(&signals),
            heads: Arc::clone(&heads),
            session: None,
            run: None,
            batch: 0,
            last_failure: None,
        };
        let tasks = Mutex::new(vec![tokio::spawn(writing.run())]);
        Ok(Self {
            server,
            pool,
            writer,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            signals,
            heads,
            shutdown: CancellationToken::new(),
            tasks,
        })
    }

    /// Makes the schema; fails where the server cannot be reached.
    pub(crate) async fn make_schema(&self) -> Result<(), DbError> {
        migration::make_schema(&self.server).await
    }
}

#[async_trait]
impl Backend for Postgres {
    /// Follows what this process and others commit, once the tables are there.
    fn start(&self) {
        let (heads, stop) = (Arc::clone(&self.heads), self.shutdown.clone());
        let following = tokio::spawn(async move { heads.follow(&stop).await });
        let (server, heads) = (Arc::clone(&self.server), Arc::clone(&self.heads));
        let (signals, stop) = (Arc::clone(&self.signals), self.shutdown.clone());
        let listening = tokio::spawn(async move {
            listener::listen(&server, &heads, &signals, &stop).await;
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.extend([following, listening]);
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn read(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, DbError> {
        for statement in &statements {
            session::check_parameters(statement)?;
        }
        let answer_within = self.server.options.answer_within();
        reader::read(&self.pool, &statements, answer_within).await
    }

    async fn stream(&self, statement: Statement, chunk_rows: usize) -> Result<RowStream, DbError> {
        let permit = Arc::clone(&self.streams).acquire_owned().await;
        let permit = permit.map_err(|_| DbError::Closed)?;
        let (chunks, receiver) = mpsc::channel(STREAM_BUFFER);
        let (pool, stop) = (self.pool.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let failure = tokio::select! {
                ended = reader::stream(&pool, &statement, chunk_rows, &chunks) => ended.err(),
                () = stop.cancelled() => Some(DbError::Closed),
            };
            if let Some(error) = failure {
                // A consumer that is gone does not want to know.
                let _gone = chunks.send(Err(error)).await.is_err();
            }
            drop(permit);
        });
        Ok(RowStream { chunks: receiver })
    }

    async fn commit(&self, set: WriteSet) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Commit(Box::new(Pending { set, reply }));
        self.writer.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DbError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => DbError::Closed,
        })?;
        answer
            .await
            .unwrap_or(Err(CommitError::Db(DbError::Closed)))
    }

    async fn migrate(&self, schema: Schema) -> Result<(), MigrationError> {
        migration::migrate(&self.server, &schema).await
    }

    fn writes(&self) -> bool {
        !self.writer.is_closed()
    }

    async fn log_head(&self) -> Result<Seq, DbError> {
        self.heads.head().await
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    async fn close(&self) {
        self.streams.close();
        self.shutdown.cancel();
        let (reply, drained) = oneshot::channel();
        // Whoever is closed already does not answer; both are fine.
        if self.writer.send(Request::Close(reply)).await.is_ok() {
            let _drained = drained.await;
        }
        self.pool.close();
        let tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("database task panicked");
            }
        }
    }
}
