//! Following the head of the event log and telling the subscriptions of this process.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_postgres::Error;
use tokio_util::sync::CancellationToken;

use super::failure::{db_error, is_gone, pool_error};
use super::heads::{Heads, Observation, ServerRun, server_run};
use super::reader::retire;
use super::server::Server;
use crate::error::DbError;
use crate::signals::Signals;
use crate::write_set::Seq;

/// How often the head is looked at when nobody said anything: a notification can be lost with its
/// process, and a transaction that ends without a change says nothing at all.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// From one look to the next however fast the log grows: a look is three round trips.
const REST: Duration = Duration::from_millis(5);

/// Pauses between looks while an announced event waits for older transactions.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LATEST_LOOK: Duration = Duration::from_millis(100);

/// The sequence's newest value, which run of which server says so, and whether it takes no writes.
const LAST: &str = concat!(
    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END, ",
    server_run!(),
    ", CAST(current_setting('transaction_read_only') AS boolean) FROM event_log_seq_seq"
);

/// A new transaction id; asked for after [`LAST`].
const BOUND: &str = "SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)";

/// The oldest running transaction; asked for after [`BOUND`], whose own transaction is over by then.
const XMIN: &str = "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)";

/// What this process knows of the log's head.
#[derive(Debug)]
pub(super) struct HeadTracker {
    server: Arc<Server>,
    pool: Pool,
    process: Arc<str>,
    /// Observations are made one at a time, so that they arrive in order.
    heads: Mutex<Heads>,
    announced: watch::Sender<Seq>,
    signals: Arc<Signals>,
}

impl HeadTracker {
    pub(super) fn new(
        server: Arc<Server>,
        pool: Pool,
        process: Arc<str>,
        signals: Arc<Signals>,
    ) -> Self {
        Self {
            server,
            pool,
            process,
            signals,
            heads: Mutex::default(),
            announced: watch::Sender::new(Seq(0)),
        }
    }

    /// The name of this process in notifications.
    pub(super) fn process(&self) -> Arc<str> {
        Arc::clone(&self.process)
    }

    /// An event was committed, here or elsewhere.
    pub(super) fn announced(&self, seq: Seq) {
        self.announced
            .send_modify(|newest| *newest = seq.max(*newest));
    }

    /// The last event before which no event can still appear; `None` while transactions that were
    /// open at the first look still are. The subscriptions of this process are told.
    pub(super) async fn look(&self) -> Result<Option<Seq>, DbError> {
        let mut heads = self.heads.lock().await;
        let client = self.pool.get().await.map_err(pool_error)?;
        let looked = self.look_on(&client, &mut heads).await;
        let (head, takes_writes) = looked.map_err(|error| {
            if is_gone(&error) {
                retire(client);
            }
            db_error(error, LAST)
        })?;
        if let Some(head) = head {
            // While the heads are held: nobody may hear of this end after that of another server.
            self.signals.log_ends_at(head);
        }
        // Nobody who asks for the head waits for what follows.
        drop(heads);
        if !takes_writes && self.server.client().await.is_ok() {
            // One that is read from only as long as there is none that takes writes.
            self.server.leave_the_old_one();
        }
        Ok(head)
    }

    /// Where the log is final, and whether the server takes writes.
    async fn look_on(
        &self,
        client: &Object,
        heads: &mut Heads,
    ) -> Result<(Option<Seq>, bool), Error> {
        let ask = async |query: &str| {
            let prepared = client.prepare_cached(query).await?;
            client.query_one(&prepared, &[]).await
        };
        let announced = *self.announced.borrow();
        let found = ask(LAST).await?;
        let (last, run) = (found.try_get(0)?, ServerRun(found.try_get(1)?));
        let takes_writes = !found.try_get::<_, bool>(2)?;
        if heads.is_another(run, Object::metrics(client).created) {
            // Whoever reads along must ask where they are.
            self.signals.history_broke();
        }
        self.signals.log_is_of(run.0);
        if announced > Seq(last) {
            // By another server: what is announced has its place already.
            self.announced.send_if_modified(|newest| {
                if *newest == announced {
                    *newest = Seq(0);
                }
                false
            });
        }
        if let Some(end) = heads.at_end(last) {
            // An id is taken only where something happened.
            return Ok((Some(end), takes_writes));
        }
        let bound = ask(BOUND).await?.try_get(0)?;
        let xmin = ask(XMIN).await?.try_get(0)?;
        let head = heads.observe(Observation { last, bound, xmin });
        Ok((head, takes_writes))
    }

    /// The same, waiting until it is known.
    pub(super) async fn head(&self) -> Result<Seq, DbError> {
        let mut pause = FIRST_LOOK;
        loop {
            if let Some(head) = self.look().await? {
                return Ok(head);
            }
            tokio::time::sleep_until(Instant::now() + pause).await;
            pause = (pause * 2).min(LATEST_LOOK);
        }
    }

    /// Tells the subscriptions of this process how far they can read, until `shutdown`.
    pub(super) async fn follow(&self, shutdown: &CancellationToken) {
        let mut announced = self.announced.subscribe();
        let mut pause = FIRST_LOOK;
        while !shutdown.is_cancelled() {
            announced.mark_unchanged();
            let rested = Instant::now() + REST;
            let seen = match self.look().await {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "head of the event log not known"
                    );
                    pause = LATEST_LOOK;
                    None
                }
            };
            let wanted = *announced.borrow();
            let wait = if seen.is_some_and(|head| head >= wanted) {
                pause = FIRST_LOOK;
                HEARTBEAT
            } else {
                let wait = pause;
                pause = (pause * 2).min(LATEST_LOOK);
                wait
            };
            tokio::select! {
                _more = announced.changed() => tokio::time::sleep_until(rested).await,
                () = tokio::time::sleep_until(Instant::now() + wait) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}
