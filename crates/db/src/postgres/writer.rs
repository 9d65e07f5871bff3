//! The one task of this process that writes.
//!
//! It takes all write sets that wait at this moment, applies them as one transaction
//! ([`batch`](super::batch)), and answers all. While a batch is on its way, the next one gathers.
//! What the server is unavailable for is repeated here as far as it is certain that nothing was
//! stored, and for a short time only: the callers wait.

use std::sync::Arc;
use std::time::Duration;

use postgres_types::ToSql;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::batch::{self, Broken, Mark, Outcome};
use super::failure::{db_error, is_gone};
use super::head::HeadTracker;
use super::heads::ServerRun;
use super::notification::Notification;
use super::server::Server;
use super::session::Session;
use crate::error::{CommitError, DbError};
use crate::outage::Reached;
use crate::signals::Signals;
use crate::write_set::{Committed, WriteSet};

/// Most write sets in one database transaction.
const MAX_SETS: usize = 256;

/// Most rows in one database transaction, so that one commit does not delay the next for long.
const MAX_ROWS: usize = 4_096;

/// How often a batch is repeated that lost against another process.
const ATTEMPTS: u32 = 6;

/// How long a broken connection is made anew for before those who wait are told.
const RECONNECT_FOR: Duration = Duration::from_secs(2);

/// How long the fate of a transaction is asked for after the connection broke at its end.
const RESOLVE_FOR: Duration = Duration::from_secs(8);

/// Pause between two attempts to reach the server.
const PAUSE: Duration = Duration::from_millis(100);

/// After a failure to connect, others are told at once for this long.
const COOL_DOWN: Duration = Duration::from_millis(500);

/// A write set and who waits for its outcome.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) set: WriteSet,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// To apply a write set.
    Commit(Box<Pending>),
    /// To finish what was accepted and end.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    pub(super) server: Arc<Server>,
    pub(super) queue: mpsc::Receiver<Request>,
    pub(super) signals: Arc<Signals>,
    pub(super) heads: Arc<HeadTracker>,
    pub(super) session: Option<Session>,
    /// The run of the server that the last connection was to.
    pub(super) run: Option<ServerRun>,
    /// The batch that was tried last.
    pub(super) batch: i64,
    pub(super) last_failure: Option<(Instant, DbError)>,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut closing = None;
        while let Some(request) = self.queue.recv().await {
            match request {
                Request::Commit(first) => {
                    if let Some(reply) = self.gather_and_apply(*first).await {
                        closing = Some(reply);
                        self.queue.close();
                    }
                }
                Request::Close(reply) => {
                    // What was accepted before is still received.
                    closing = Some(reply);
                    self.queue.close();
                }
            }
        }
        // What was sent without waiting, a notification, is out once this is answered.
        if let Some(session) = &self.session {
            let _unheard = self.server.in_time(session.client.batch_execute("")).await;
        }
        drop(self);
        if let Some(reply) = closing {
            let _gone: Result<(), ()> = oneshot::Sender::send(reply, ());
        }
    }

    /// The first set and all that wait behind it, up to the limits; gives the request to close
    /// that ended the collection, if one did.
    async fn gather_and_apply(&mut self, first: Pending) -> Option<oneshot::Sender<()>> {
        let mut rows = first.set.weight();
        let mut pending = vec![first];
        let mut closing = None;
        while pending.len() < MAX_SETS && rows < MAX_ROWS {
            match self.queue.try_recv() {
                Ok(Request::Commit(next)) => {
                    rows += next.set.weight();
                    pending.push(*next);
                }
                Ok(Request::Close(reply)) => {
                    closing = Some(reply);
                    break;
                }
                Err(_) => break,
            }
        }
        self.apply(pending).await;
        closing
    }

    async fn apply(&mut self, pending: Vec<Pending>) {
        crate::metrics::commit(pending.len());
        let sets: Vec<&WriteSet> = pending.iter().map(|pending| &pending.set).collect();
        match self.outcomes(&sets).await {
            Ok(outcomes) => {
                self.signals.ended(sets.into_iter().zip(&outcomes));
                self.announce(&pending, &outcomes);
                for (pending, outcome) in pending.into_iter().zip(outcomes) {
                    let _gone = pending.reply.send(outcome).is_err();
                }
            }
            Err(error) => {
                // That the database is away is told once, not per batch.
                if Reached::from(&error) != Reached::No {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        sets = pending.len(),
                        "write sets failed together"
                    );
                }
                let failed = Err(error);
                self.signals
                    .ended(sets.into_iter().map(|set| (set, &failed)));
                for pending in pending {
                    let _gone = pending.reply.send(failed.clone()).is_err();
                }
            }
        }
    }

    /// One outcome per set, or one failure for all of them.
    async fn outcomes(&mut self, sets: &[&WriteSet]) -> Result<Vec<Outcome>, CommitError> {
        let give_up = Instant::now() + RECONNECT_FOR;
        let (mut overtaken, mut lost) = (0, 0);
        loop {
            self.batch += 1;
            let process = self.heads.process();
            let mark = Mark {
                process: &process,
                batch: self.batch,
            };
            let session = self.session(give_up).await?;
            let broken = match batch::run(session, sets, mark).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(broken) => broken,
            };
            match broken {
                Broken::Lost(error) => {
                    self.session = None;
                    if Instant::now() >= give_up {
                        return Err(CommitError::Db(error));
                    }
                    // At once where an old connection broke, not so where new ones do.
                    pause(PAUSE / 10 * lost).await;
                    lost += 1;
                }
                Broken::Overtaken(error) => {
                    overtaken += 1;
                    self.roll_back().await;
                    if overtaken >= ATTEMPTS {
                        return Err(CommitError::Db(db_error(error, "transaction")));
                    }
                    pause(PAUSE / 10 * overtaken).await;
                }
                Broken::Failed(error) => {
                    self.roll_back().await;
                    return Err(error);
                }
                Broken::InDoubt {
                    id,
                    outcomes,
                    cause,
                } => {
                    let timeline = self.session.take().map(|session| session.timeline);
                    let timeline = timeline.unwrap_or_default();
                    match self.fate(id, &timeline, mark).await {
                        Fate::Committed => return Ok(outcomes),
                        Fate::Aborted => {}
                        Fate::Unknown => return Err(CommitError::OutcomeUnknown(cause)),
                    }
                }
            }
        }
    }

    /// The connection that writes; made anew if there is none, until `give_up`.
    async fn session(&mut self, give_up: Instant) -> Result<&mut Session, CommitError> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.client.is_closed())
        {
            self.session = None;
        }
        if self.session.is_none() {
            if let Some((at, error)) = &self.last_failure
                && at.elapsed() < COOL_DOWN
            {
                return Err(CommitError::Db(error.clone()));
            }
            let session = loop {
                match self.open().await {
                    Ok(session) => break session,
                    Err(error) if Instant::now() + PAUSE >= give_up => {
                        self.last_failure = Some((Instant::now(), error.clone()));
                        return Err(CommitError::Db(error));
                    }
                    Err(_) => pause(PAUSE).await,
                }
            };
            self.last_failure = None;
            self.session = Some(session);
        }
        self.session
            .as_mut()
            .ok_or(CommitError::Db(DbError::Closed))
    }

    /// A new connection. Where it is to another server than the last one, readers leave that one, too.
    async fn open(&mut self) -> Result<Session, DbError> {
        let session = Session::open(&self.server).await?;
        let before = self.run.replace(session.run);
        if before.is_some_and(|run| run != session.run) {
            self.server.leave_the_old_one();
        }
        Ok(session)
    }

    /// Ends a transaction that failed as a whole; a connection that cannot do that is dropped.
    async fn roll_back(&mut self) {
        if let Some(session) = &self.session
            && let Err(error) = self
                .server
                .in_time(session.client.batch_execute("ROLLBACK"))
                .await
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "rollback failed");
            self.session = None;
        }
    }

    /// What became of a transaction whose confirmation was lost.
    async fn fate(&mut self, id: i64, timeline: &str, mark: Mark<'_>) -> Fate {
        let give_up = Instant::now() + RESOLVE_FOR;
        loop {
            match self.ask_fate(id, timeline, mark).await {
                Ok(Some(fate)) => return fate,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "fate of a transaction not known yet"
                    );
                    self.session = None;
                }
            }
            if Instant::now() >= give_up {
                return Fate::Unknown;
            }
            pause(PAUSE).await;
        }
    }

    /// `None` while the server is still at it.
    ///
    /// The mark says what is committed. Where it is not there, the transaction may still be ending;
    /// its id tells that as long as the same server goes on, and is of no use otherwise.
    async fn ask_fate(
        &mut self,
        id: i64,
        timeline: &str,
        mark: Mark<'_>,
    ) -> Result<Option<Fate>, DbError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.open().await?,
        };
        let session = self.session.insert(session);
        let client = &session.client;
        let is_marked = async || {
            let query = "SELECT 1 FROM writer_mark WHERE process = $1 AND batch = $2";
            let parameters: [&(dyn ToSql + Sync); 2] = [&mark.process, &mark.batch];
            let found = client.query_opt(query, &parameters);
            Ok::<_, DbError>(self.server.in_time(found).await?.is_some())
        };
        if is_marked().await? {
            return Ok(Some(Fate::Committed));
        }
        if session.timeline == timeline {
            let query = "SELECT pg_xact_status(CAST(CAST($1 AS text) AS xid8))";
            let text = id.to_string();
            let ask = async {
                match client.query_one(query, &[&text]).await {
                    Ok(row) => row.try_get::<_, Option<String>>(0),
                    // An id that was not given out since the server crashed.
                    Err(error) if !is_gone(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            };
            if self.server.in_time(ask).await?.as_deref() == Some("in progress") {
                return Ok(None);
            }
        }
        // It may have ended between the two questions.
        Ok(Some(if is_marked().await? {
            Fate::Committed
        } else {
            Fate::Aborted
        }))
    }

    /// Wakes whoever waits for what was committed, in this process and in others.
    fn announce(&self, batch: &[Pending], outcomes: &[Outcome]) {
        let mut told = Notification::new(self.heads.process());
        for (pending, outcome) in batch.iter().zip(outcomes) {
            if let Ok(Committed { last_event, .. }) = outcome {
                told.seq = told.seq.max(*last_event);
                for signal in &pending.set.wakes {
                    self.signals.wake(signal);
                    told.wake(signal);
                }
            }
        }
        if let Some(seq) = told.seq {
            self.heads.announced(seq);
        }
        if let Some(session) = &self.session {
            session.notify(&self.server.options.schema, &told);
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Committed,
    Aborted,
    Unknown,
}

async fn pause(time: Duration) {
    tokio::time::sleep_until(Instant::now() + time).await;
}
