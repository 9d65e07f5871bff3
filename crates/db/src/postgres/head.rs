//! How far the event log can be read, and telling the subscriptions of this process.
//!
//! A place in the log begins with the id of its transaction. Ids are given out in order and become
//! visible in any order, when their transactions end; what lies below the oldest one that is still
//! running can no longer change. Ids are those of the whole server: a transaction of another
//! database that stays open, and has changed something there, holds readers back, never writers.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::failure::{db_error, pool_error};
use crate::error::DbError;
use crate::signals::Signals;
use crate::write_set::Seq;

/// How often the head is looked at when nobody said anything: a notification can be lost with its
/// process, and a transaction that ends without a change says nothing at all.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Pauses between looks while an announced event waits for older transactions.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LATEST_LOOK: Duration = Duration::from_millis(100);

/// The last event below the oldest transaction that is still open.
const HEAD: &str = "SELECT COALESCE(MAX(seq), 0) FROM event_log \
     WHERE seq < ((SELECT base FROM event_log_base) \
     + CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)) * 1048576";

/// What this process knows of the log's head.
#[derive(Debug)]
pub(super) struct HeadTracker {
    pool: Pool,
    process: Arc<str>,
    announced: watch::Sender<Seq>,
}

impl HeadTracker {
    pub(super) fn new(pool: Pool, process: Arc<str>) -> Self {
        Self {
            pool,
            process,
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

    /// The last event before which no event can still appear.
    pub(super) async fn head(&self) -> Result<Seq, DbError> {
        let client = self.pool.get().await.map_err(pool_error)?;
        let fail = |error| db_error(error, HEAD);
        let prepared = client.prepare_cached(HEAD).await.map_err(fail)?;
        let row = client.query_one(&prepared, &[]).await.map_err(fail)?;
        row.try_get(0).map(Seq).map_err(fail)
    }

    /// Tells the subscriptions of this process how far they can read, until `shutdown`.
    pub(super) async fn follow(&self, signals: &Signals, shutdown: &CancellationToken) {
        let mut announced = self.announced.subscribe();
        let mut pause = FIRST_LOOK;
        while !shutdown.is_cancelled() {
            let wanted = *announced.borrow_and_update();
            let wait = match self.head().await {
                Ok(head) => {
                    signals.log_grew(head);
                    if head >= wanted {
                        pause = FIRST_LOOK;
                        HEARTBEAT
                    } else {
                        let wait = pause;
                        pause = (pause * 2).min(LATEST_LOOK);
                        wait
                    }
                }
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "head of the event log not known"
                    );
                    HEARTBEAT
                }
            };
            tokio::select! {
                _more = announced.changed() => {}
                () = sleep_until(Instant::now() + wait) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}
