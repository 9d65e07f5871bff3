//! The one thread that writes.
//!
//! It takes all write sets that wait at this moment, applies them in one database transaction,
//! commits once and answers all. It never waits for more sets to arrive: a single caller pays one
//! commit, many share one.
//!
//! A set fails alone. That is rare, and savepoints are dear (SQLite copies every page that a set
//! touches): so sets are applied without first, and only when one fails is the transaction rolled
//! back and the batch applied again, each set inside a savepoint of its own.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::PASSIVE_PAGES;
use super::failure::{at_commit, commit_error, db_error, is_of_the_batch};
use super::reader::prepare;
use super::spawn;
use crate::backend::Dialect;
use crate::data_dir::DataDir;
use crate::error::{CommitError, DbError, MigrationError, OpenError};
use crate::migrate::Schema;
use crate::signals::Signals;
use crate::statement::Statement;
use crate::write_set::{Committed, PlannedStep, Seq, StepKind, WriteSet};

/// Most write sets in one database transaction.
const MAX_SETS: usize = 256;

/// Most rows in one database transaction, so that one commit does not delay the next for long.
const MAX_ROWS: usize = 4_096;

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit. SQLite's hook is a plain
    /// function that runs on the committing thread, so this is how it tells the writer.
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

type Reply = oneshot::Sender<Result<Committed, CommitError>>;

/// A write set and who waits for its outcome.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) set: WriteSet,
    pub(super) reply: Reply,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// To apply a write set.
    Commit(Pending),
    /// To bring tables up to date.
    Migrate {
        schema: Schema,
        reply: oneshot::Sender<Result<(), MigrationError>>,
    },
    /// To finish what was accepted and end.
    Close(oneshot::Sender<()>),
}

pub(super) fn start(
    connection: Connection,
    capacity: usize,
    checkpoints: SyncSender<i32>,
    signals: Arc<Signals>,
    dir: DataDir,
) -> Result<(mpsc::Sender<Request>, JoinHandle<()>), OpenError> {
    let (sender, queue) = mpsc::channel(capacity.max(1));
    let writer = Writer {
        connection,
        queue,
        checkpoints,
        checkpoint_at: PASSIVE_PAGES,
        signals,
        _dir: dir,
    };
    let thread = spawn("db-writer", move || writer.run())?;
    Ok((sender, thread))
}

struct Writer {
    connection: Connection,
    queue: mpsc::Receiver<Request>,
    checkpoints: SyncSender<i32>,
    /// Pages in the log at which the next checkpoint is asked for.
    checkpoint_at: i32,
    signals: Arc<Signals>,
    /// The directory stays locked as long as something may be written.
    _dir: DataDir,
}

impl Writer {
    fn run(mut self) {
        self.connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages);
            Ok(())
        }));
        let mut closing = None;
        while let Some(request) = self.queue.blocking_recv() {
            match request {
                Request::Commit(first) => {
                    let (batch, next) = self.collect(first);
                    self.apply(batch);
                    if let Some(next) = next {
                        self.handle_other(next, &mut closing);
                    }
                }
                other => self.handle_other(other, &mut closing),
            }
        }
        drop(self);
        if let Some(reply) = closing {
            let _gone: Result<(), ()> = oneshot::Sender::send(reply, ());
        }
    }

    fn handle_other(&mut self, request: Request, closing: &mut Option<oneshot::Sender<()>>) {
        match request {
            Request::Commit(pending) => self.apply(vec![pending]),
            Request::Migrate { schema, reply } => {
                let _gone = reply.send(self.migrate(&schema)).is_err();
            }
            Request::Close(reply) => {
                // What was accepted before is still received.
                self.queue.close();
                *closing = Some(reply);
            }
        }
    }

    /// The first set and all that wait behind it, up to the limits; and a request of another
    /// kind that ended the collection.
    fn collect(&mut self, first: Pending) -> (Vec<Pending>, Option<Request>) {
        let mut rows = first.set.weight();
        let mut batch = vec![first];
        while batch.len() < MAX_SETS && rows < MAX_ROWS {
            match self.queue.try_recv() {
                Ok(Request::Commit(pending)) => {
                    rows += pending.set.weight();
                    batch.push(pending);
                }
                Ok(other) => return (batch, Some(other)),
                Err(_) => break,
            }
        }
        (batch, None)
    }

    fn apply(&mut self, batch: Vec<Pending>) {
        crate::metrics::commit(batch.len());
        match self.apply_together(&batch) {
            Ok(outcomes) => {
                let sets = batch.iter().map(|pending| &pending.set);
                self.signals.ended(sets.zip(&outcomes));
                self.announce(&batch, &outcomes);
                for (pending, outcome) in batch.into_iter().zip(outcomes) {
                    let _gone = pending.reply.send(outcome).is_err();
                }
            }
            Err(error) => {
                self.abandon();
                tracing::error!(%error, sets = batch.len(), "write sets failed together");
                let failed = Err(error);
                let sets = batch.iter().map(|pending| &pending.set);
                self.signals.ended(sets.map(|set| (set, &failed)));
                for pending in batch {
                    let _gone = pending.reply.send(failed.clone()).is_err();
                }
            }
        }
        self.ask_for_checkpoint();
    }

    /// One outcome per set, or one failure for all of them.
    fn apply_together(
        &self,
        batch: &[Pending],
    ) -> Result<Vec<Result<Committed, CommitError>>, CommitError> {
        self.control("BEGIN IMMEDIATE")?;
        let applied: Result<Vec<_>, _> = batch
            .iter()
            .map(|pending| self.apply_set(&pending.set))
            .collect();
        match applied {
            Ok(committed) => {
                self.commit()?;
                Ok(committed.into_iter().map(Ok).collect())
            }
            Err(error) if is_of_the_batch(&error) => Err(error),
            Err(error) => {
                self.control("ROLLBACK")?;
                if batch.len() == 1 {
                    return Ok(vec![Err(error)]);
                }
                self.apply_apart(batch)
            }
        }
    }

    /// As [`Self::apply_together`], so that a set that fails leaves the others alone.
    fn apply_apart(
        &self,
        batch: &[Pending],
    ) -> Result<Vec<Result<Committed, CommitError>>, CommitError> {
        self.control("BEGIN IMMEDIATE")?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for pending in batch {
            self.control("SAVEPOINT write_set")?;
            let outcome = self.apply_set(&pending.set);
            match &outcome {
                Ok(_) => {}
                Err(error) if is_of_the_batch(error) => return Err(error.clone()),
                Err(_) => self.control("ROLLBACK TO write_set")?,
            }
            self.control("RELEASE write_set")?;
            outcomes.push(outcome);
        }
        self.commit()?;
        Ok(outcomes)
    }

    fn commit(&self) -> Result<(), CommitError> {
        self.connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.raw_execute())
            .map(drop)
            .map_err(at_commit)
    }

    fn apply_set(&self, set: &WriteSet) -> Result<Committed, CommitError> {
        let counts = set
            .steps
            .iter()
            .map(|step| self.apply_step(step))
            .collect::<Result<Vec<_>, _>>()?;
        for record in &set.audit {
            self.execute(&record.insert())?;
        }
        let mut last_event = None;
        for event in &set.events {
            self.execute(&crate::log::insert(event)?)?;
            last_event = Some(Seq(self.connection.last_insert_rowid()));
        }
        Ok(Committed { counts, last_event })
    }

    fn apply_step(&self, step: &PlannedStep) -> Result<u64, CommitError> {
        let text = step.statement.text();
        let mut prepared = prepare(&self.connection, &step.statement)?;
        let found = match step.kind {
            StepKind::Write => prepared.raw_execute(),
            StepKind::Guard => {
                let mut rows = prepared.raw_query();
                let mut found = 0;
                loop {
                    match rows.next() {
                        Ok(Some(_)) => found += 1,
                        Ok(None) => break Ok(found),
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        let found = found.map_err(|error| commit_error(error, text, step.check))?;
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        match step.check {
            Some(check) if !step.expectation.is_met_by(found) => {
                Err(CommitError::Unmet { check, found })
            }
            _ => Ok(found),
        }
    }

    fn execute(&self, statement: &Statement) -> Result<(), CommitError> {
        prepare(&self.connection, statement)?
            .raw_execute()
            .map(drop)
            .map_err(|error| commit_error(error, statement.text(), None))
    }

    /// Begins or ends transactions and savepoints.
    fn control(&self, text: &'static str) -> Result<(), CommitError> {
        self.connection
            .prepare_cached(text)
            .and_then(|mut statement| statement.raw_execute())
            .map(drop)
            .map_err(|error| CommitError::Db(db_error(error, text)))
    }

    /// Ends a transaction that failed as a whole; SQLite may have done so itself.
    fn abandon(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.control("ROLLBACK")
        {
            tracing::error!(%error, "rollback failed");
        }
    }

    /// Wakes whoever waits for what was committed, before the committers are answered: a
    /// subscription then works while they write their replies.
    fn announce(&self, batch: &[Pending], outcomes: &[Result<Committed, CommitError>]) {
        let mut newest = None;
        for (pending, outcome) in batch.iter().zip(outcomes) {
            if let Ok(committed) = outcome {
                newest = newest.max(committed.last_event);
                for signal in &pending.set.wakes {
                    self.signals.wake(signal);
                }
            }
        }
        if let Some(seq) = newest {
            self.signals.log_ends_at(seq);
        }
    }

    fn ask_for_checkpoint(&mut self) {
        let pages = WAL_PAGES.get();
        if pages < PASSIVE_PAGES {
            self.checkpoint_at = PASSIVE_PAGES;
        } else if pages >= self.checkpoint_at {
            // A full channel means that one is asked for already.
            let _asked_before = self.checkpoints.try_send(pages).is_err();
            self.checkpoint_at = pages.saturating_add(PASSIVE_PAGES);
        }
    }

    fn migrate(&mut self, schema: &Schema) -> Result<(), MigrationError> {
        let found = self
            .connection
            .query_row(
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?1",
                [schema.history_table()],
                |row| row.get::<_, i64>(0),
            )
            .map_err(|error| db_error(error, "sqlite_master"))?;
        let mut version = 0;
        if found > 0 {
            let last = schema
                .runner(Dialect::Sqlite)?
                .get_last_applied_migration(&mut self.connection)
                .map_err(|error| schema.failed(error))?;
            version = last.map_or(0, |migration| i64::from(migration.version()));
            schema.check_found(version)?;
        }
        for step in schema.steps(Dialect::Sqlite, version)? {
            step.run(&mut self.connection)
                .map_err(|error| schema.failed(error))?;
        }
        Ok(())
    }
}

impl From<serde_json::Error> for CommitError {
    /// An event that cannot be written as JSON.
    fn from(error: serde_json::Error) -> Self {
        Self::Db(DbError::Sql {
            sql: "INSERT INTO event_log".to_owned(),
            source: Arc::new(error),
        })
    }
}
