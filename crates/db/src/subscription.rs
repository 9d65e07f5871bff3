//! Readers of the event log: each reacts to some types of events, in order, exactly once.
//!
//! The effect of an event and the reader's position are one write set, so a crash repeats nothing
//! and loses nothing. What a handler does outside the database (a message to a broker, a mail)
//! can happen twice; it deduplicates by [`Seq`]. An event that keeps failing is set aside as a
//! dead letter, so that it does not block those behind it.

mod delivery;
mod failure;
mod status;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::delivery::Replay;
pub use self::failure::{HandlerError, RetryPolicy};
pub use self::status::{MAX_COUNTED_LAG, SubscriptionStatus, forget_subscription, subscriptions};
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::event::LoggedEvent;
use crate::lease::while_leased;
use crate::log::Page;
use crate::outage::is_outage;
use crate::params;
use crate::postgres::SERVER_RUN;
use crate::signals::History;
use crate::statement::{Statement, sql};
use crate::write_set::{Check, Seq, WriteSet};

/// The stored position is the one that this reader knows: no other process reads along.
pub(crate) const POSITION: Check = Check::new("subscription position");

/// So long after it was stored last the position is stored again, so that who looks at it sees no lag.
const QUIET: Duration = Duration::from_secs(5);

/// How long a process that was killed keeps a subscription.
const LEASE: Duration = Duration::from_secs(10);

/// Events without interest that may go by before the position is stored anyway.
const MAX_UNSTORED: i64 = 1_024;

/// From one look at the log to the next, unless there was more than a handler takes at once. Whoever
/// waits for one event has it at once; under load a look serves many commits instead of one.
const REST: Duration = Duration::from_millis(10);

/// The log has not grown for a while.
async fn quiet() {
    tokio::time::sleep_until(Instant::now() + QUIET).await;
}

/// The name of the lease under which a subscription reads.
pub(crate) fn lease_name(subscription: &str) -> String {
    format!("subscription/{subscription}")
}

/// Dead letters are looked for when somebody says that some are marked, and once in so many rounds:
/// what another process says can get lost.
const ROUNDS_BETWEEN_LOOKS: u32 = 64;

/// What a subscription does with its events.
#[async_trait]
pub trait EventHandler: Send + Sync {
    /// Reads what it needs and returns the effect of these events, oldest first, as a write set
    /// (empty if there is none). It is committed together with the subscription's position. What
    /// it does is done in the name of `caller`: the system, under a trace of this call's own.
    ///
    /// Called again with the same events after a failure, and with one at a time where a batch
    /// failed. A panic counts as a failure.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Unavailable`] to be tried again until it works,
    /// [`HandlerError::Failed`] to be tried a few times and then set aside.
    async fn handle(
        &self,
        caller: &Caller,
        events: &[LoggedEvent],
    ) -> Result<WriteSet, HandlerError>;

    /// The same for an event that was set aside and is replayed. Those behind it were handled
    /// meanwhile, so what it says may be outdated: who does more than [`handle`](Self::handle) would
    /// with an event that it had seen before, says here what is true now.
    ///
    /// # Errors
    ///
    /// [`HandlerError`] of either kind; the event stays set aside.
    async fn replay(&self, caller: &Caller, event: &LoggedEvent) -> Result<WriteSet, HandlerError> {
        self.handle(caller, std::slice::from_ref(event)).await
    }
}

/// Where a subscription starts when it runs for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest event that the log still has.
    Beginning,
    /// With the next event.
    Head,
}

/// A named reader of the log.
#[derive(Clone, Debug)]
pub struct Subscription {
    db: Db,
    name: &'static str,
    patterns: &'static [&'static str],
    start: StartAt,
    batch: u32,
    retry: RetryPolicy,
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// As the database has it.
    stored: Seq,
    /// Everything up to here is handled or of no interest.
    reached: Seq,
    /// Which log these are places in.
    history: History,
    stored_at: Instant,
}

impl Position {
    /// Moves the stored position to `seq`, if it is where this reader knows it to be, in the log that
    /// this reader has read: a server that took over and lacks the last events must not learn that they
    /// were handled, since others will have their places.
    fn moved_to(&self, subscription: &str, seq: Seq, now: OffsetDateTime) -> Statement {
        const UPDATE: &str = "UPDATE subscriptions SET position = $1, updated_at = $2 \
             WHERE name = $3 AND position = $4";
        let mut values = params![seq.0, now, subscription, self.stored.0];
        let Some(run) = self.history.run else {
            return sql(UPDATE, values);
        };
        values.push(run.into());
        sql(format!("{UPDATE} AND {SERVER_RUN} = $5"), values)
    }
}

impl Subscription {
    /// A reader of the events that match one of `patterns`: an exact type (`ca.create`), all types
    /// under a prefix (`ca.#`), or all (`#`).
    ///
    /// The name is stored; a renamed subscription is a new one. Starts at the beginning and gets
    /// one event at a time unless told otherwise.
    pub fn new(db: &Db, name: &'static str, patterns: &'static [&'static str]) -> Self {
        Self {
            db: db.clone(),
            name,
            patterns,
            start: StartAt::Beginning,
            batch: 1,
            retry: RetryPolicy::default(),
        }
    }

    /// Where it starts when it runs for the first time.
    #[must_use]
    pub const fn starting_at(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }

    /// Up to how many events a handler gets at once. A handler of batches sees the effects of
    /// earlier batches in the database, but not those of earlier events of the same batch.
    #[must_use]
    pub const fn batch(mut self, events: u32) -> Self {
        self.batch = if events == 0 { 1 } else { events };
        self
    }

    /// How failures are retried.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Handles events until `shutdown`, in one process of the installation at a time, then stores
    /// how far it came. Failures of the database are waited out, so this returns only after
    /// `shutdown`.
    pub async fn run(&self, handler: Arc<dyn EventHandler>, shutdown: &CancellationToken) {
        let lease = lease_name(self.name);
        while_leased(&self.db, &lease, LEASE, shutdown, || {
            self.read_until(handler.as_ref(), shutdown)
        })
        .await;
    }

    async fn read_until(&self, handler: &dyn EventHandler, shutdown: &CancellationToken) {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            match self.read_along(handler, shutdown, &mut failures).await {
                Ok(()) => return,
                Err(error) if error.failed(POSITION) => {
                    tracing::debug!(subscription = self.name, "another process reads along");
                }
                Err(error) if is_outage(&error) => {
                    tracing::debug!(subscription = self.name, %error, "subscription put off");
                }
                Err(error) => {
                    tracing::warn!(
                        subscription = self.name,
                        error = &error as &(dyn std::error::Error + 'static),
                        "subscription interrupted"
                    );
                }
            }
            failures += 1;
            self.pause(failures, shutdown).await;
        }
    }

    async fn read_along(
        &self,
        handler: &dyn EventHandler,
        shutdown: &CancellationToken,
        failures: &mut u32,
    ) -> Result<(), CommitError> {
        let loaded = tokio::select! {
            loaded = self.load() => loaded,
            () = shutdown.cancelled() => return Ok(()),
        };
        let mut position = loaded?;
        let mut log = self.db.signals().log();
        let mut replays = self.db.signal(self.name);
        let mut replay = Replay::Unfinished;
        let mut asked = false;
        let mut rounds = 0_u32;
        while !shutdown.is_cancelled() {
            // Looked at before reading, so that nothing slips between reading and waiting.
            log.mark_unchanged();
            let rested = Instant::now() + REST;
            asked |= replays.has_changed().unwrap_or(true);
            replays.mark_unchanged();
            rounds = rounds.wrapping_add(1);
            if asked || replay == Replay::Unfinished || rounds.is_multiple_of(ROUNDS_BETWEEN_LOOKS)
            {
                replay = self.replay_marked(handler).await?;
                asked = false;
            }
            // The end of the log may not be known for as long as others hold transactions open.
            let page = tokio::select! {
                page = self.page(position.reached, rounds) => page?,
                () = shutdown.cancelled() => break,
            };
            if self.db.signals().history() != position.history {
                // Neither what was noted nor what was stored need be so on the server that took over.
                position = self.load().await?;
                rounds = 0;
                continue;
            }
            if page.head < position.reached && position.stored < position.reached {
                // Another server took over that lacks the last events; their places are used again.
                position.reached = position.stored;
                continue;
            }
            if !page.events.is_empty() {
                self.deliver(handler, &page.events, &mut position, shutdown)
                    .await?;
            }
            if shutdown.is_cancelled() {
                break;
            }
            *failures = 0;
            let up_to_date = page.scanned_to >= page.head && replay == Replay::Finished;
            self.skip_to(page.scanned_to, &mut position).await?;
            if up_to_date {
                tokio::select! {
                    _grown = log.changed() => tokio::time::sleep_until(rested).await,
                    _asked = replays.changed() => asked = true,
                    () = shutdown.cancelled() => {}
                    () = quiet(), if position.reached != position.stored => {
                        self.note(&mut position).await?;
                    }
                }
            }
        }
        self.note(&mut position).await
    }

    /// Stores how far it came, unless that is a place in the log of another server by now.
    async fn note(&self, position: &mut Position) -> Result<(), CommitError> {
        if self.db.signals().history() != position.history {
            return Ok(());
        }
        self.store(position.reached, position).await
    }

    /// Where the log ends is asked for at the first look only: something may have happened to the
    /// database since. From then on this process is told.
    async fn page(&self, after: Seq, round: u32) -> Result<Page, DbError> {
        let head = match self.db.signals().newest() {
            Some(told) if round > 1 => told,
            _ => self.db.log_head().await?,
        };
        crate::log::page(&self.db, (after, head), self.patterns, self.batch).await
    }

    /// Reads the stored position; the first run creates it.
    async fn load(&self) -> Result<Position, CommitError> {
        // Asked first: what is read from then on is of this history or a newer one.
        let history = self.db.signals().history();
        if let Some(stored) = self.stored().await? {
            return Ok(self.at(stored, history));
        }
        let start = match self.start {
            StartAt::Beginning => Seq(0),
            StartAt::Head => self.db.log_head().await?,
        };
        let mut set = WriteSet::new();
        set.execute(sql(
            "INSERT INTO subscriptions (name, position, updated_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
            params![self.name, start.0, self.db.now()],
        ));
        self.db.commit(set).await?;
        let stored = self.stored().await?;
        Ok(self.at(stored.unwrap_or(start), history))
    }

    async fn stored(&self) -> Result<Option<Seq>, DbError> {
        let query = sql(
            "SELECT position FROM subscriptions WHERE name = $1",
            params![self.name],
        );
        let row = self.db.row_opt(query).await?;
        row.map(|row| row.get("position").map(Seq)).transpose()
    }

    fn at(&self, stored: Seq, history: History) -> Position {
        self.db.signals().advanced(self.name, stored);
        Position {
            stored,
            reached: stored,
            history,
            stored_at: Instant::now(),
        }
    }

    /// Events of no interest went by: noted in memory, stored only when many did, or for a while.
    async fn skip_to(&self, seq: Seq, position: &mut Position) -> Result<(), CommitError> {
        if seq <= position.reached {
            return Ok(());
        }
        position.reached = seq;
        let many = seq.0.saturating_sub(position.stored.0) >= MAX_UNSTORED;
        if many || position.stored_at.elapsed() >= QUIET {
            self.store(seq, position).await?;
        }
        self.db.signals().advanced(self.name, seq);
        Ok(())
    }

    async fn store(&self, seq: Seq, position: &mut Position) -> Result<(), CommitError> {
        self.commit_at(WriteSet::new(), seq, position).await
    }

    /// Commits an effect together with the new position.
    async fn commit_at(
        &self,
        mut set: WriteSet,
        seq: Seq,
        position: &mut Position,
    ) -> Result<(), CommitError> {
        if seq == position.stored && set.is_empty() {
            return Ok(());
        }
        set.expect_one(position.moved_to(self.name, seq, self.db.now()), POSITION);
        self.db.commit(set).await?;
        position.stored = seq;
        position.reached = seq;
        position.stored_at = Instant::now();
        self.db.signals().advanced(self.name, seq);
        Ok(())
    }

    /// Waits before the next attempt, or until shutdown.
    async fn pause(&self, failures: u32, shutdown: &CancellationToken) {
        let delay = self.retry.delay(failures);
        let _waited = tokio::time::timeout(delay, shutdown.cancelled()).await;
    }
}
