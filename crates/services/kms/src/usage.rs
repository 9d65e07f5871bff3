//! How often keys are used: counted in memory, stored every few seconds.
//!
//! A signature must not cost a write, and a key that signs thousands of times a second must not be a
//! row that everybody waits for. So each process counts for itself and adds what it counted to the
//! row of the day, in batches that are stored once even where a first try may have been stored. What a crash takes
//! is the last few seconds of counting, never a signature.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lamassu_core::error::StorageFailure;
use lamassu_core::ids::KeyId;
use lamassu_core::kms::{KmsError, OperationUsage};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{CommitError, WriteSet};
use time::{OffsetDateTime, Time};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::metrics;
use crate::service::Kms;
use crate::store::{FRESH_BATCH, UsageRow, add_usage, insert_batch};

/// How long a count may be in memory only.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);

/// Counts per write set.
const BATCH: usize = 200;

/// Counts that are kept while the database is away; further keys are not counted until it is back.
const MAX_TALLIES: usize = 100_000;

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// A signature, for a client or for the platform.
    Sign,
    /// A verification for a client.
    Verify,
}

impl Operation {
    /// The wire's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Verify => "verify",
        }
    }
}

/// What was counted since the last time it was stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    pub(crate) n_uses: i64,
    pub(crate) last_used_at: OffsetDateTime,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.n_uses = self.n_uses.saturating_add(other.n_uses);
        self.last_used_at = self.last_used_at.max(other.last_used_at);
    }
}

type Place = (KeyId, Operation);
type Tallies = HashMap<Place, Tally>;

/// The counts of this process that are not stored yet.
#[derive(Debug, Default)]
pub(crate) struct UsageBook {
    tallies: Mutex<Tallies>,
    /// Held while counts are stored.
    last: tokio::sync::Mutex<LastBatch>,
}

/// What became of the batch before.
#[derive(Debug, Default)]
struct LastBatch {
    /// It failed, and is perhaps stored all the same.
    in_doubt: Option<Batch>,
    settled: Option<Uuid>,
}

/// Counts that are stored together, under an id that says whether they are.
#[derive(Debug)]
struct Batch {
    id: Uuid,
    counts: Vec<(Place, Tally)>,
}

impl Batch {
    fn of(counts: impl Iterator<Item = (Place, Tally)>) -> Self {
        Self {
            id: Uuid::new_v4(),
            counts: counts.collect(),
        }
    }

    fn write_set(&self, last: &LastBatch, now: OffsetDateTime) -> WriteSet {
        let mut set = WriteSet::new();
        insert_batch(&mut set, self.id, last.settled, now);
        for ((key_id, operation), tally) in &self.counts {
            add_usage(
                &mut set,
                &UsageRow {
                    key_id: key_id.clone(),
                    operation: operation.as_str().to_owned(),
                    bucket: tally.last_used_at.replace_time(Time::MIDNIGHT),
                    tally: *tally,
                },
            );
        }
        set
    }
}

impl UsageBook {
    /// Counts one use.
    pub(crate) fn note(&self, key: &KeyId, operation: Operation, now: OffsetDateTime) {
        let once = Tally {
            n_uses: 1,
            last_used_at: now,
        };
        self.put((key.clone(), operation), once);
    }

    fn put(&self, place: Place, counted: Tally) {
        let mut tallies = self.tallies();
        if let Some(tally) = tallies.get_mut(&place) {
            tally.add(counted);
        } else if tallies.len() < MAX_TALLIES {
            tallies.insert(place, counted);
        }
    }

    fn of(&self, key: &KeyId, operation: Operation) -> Option<Tally> {
        self.tallies().get(&(key.clone(), operation)).copied()
    }

    fn take(&self) -> Tallies {
        std::mem::take(&mut *self.tallies())
    }

    /// A thread that panicked while it held the lock has left the map whole.
    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kms {
    /// What was done with a key, by operation; what this process has not stored yet included.
    pub(crate) async fn usage_of(
        &self,
        key: &KeyId,
    ) -> Result<BTreeMap<String, OperationUsage>, KmsError> {
        let stored = self.store.usage_of(key).await;
        let stored = stored.map_err(StorageFailure::from)?;
        let mut usage = BTreeMap::new();
        for operation in [Operation::Sign, Operation::Verify] {
            let rows = stored
                .iter()
                .filter(|row| row.operation == operation.as_str())
                .map(|row| row.tally);
            let sum = rows
                .chain(self.usage.of(key, operation))
                .reduce(|mut sum, tally| {
                    sum.add(tally);
                    sum
                });
            if let Some(sum) = sum {
                usage.insert(operation.as_str().to_owned(), shown(sum));
            }
        }
        Ok(usage)
    }

    /// Stores what was counted, each count once: what cannot be stored is kept for the next time, and where
    /// nobody knows whether a batch was stored, the same batch is stored again, which does nothing if it was.
    ///
    /// # Errors
    ///
    /// [`CommitError`] of the first batch that failed; those behind it were not tried.
    pub async fn flush_usage(&self) -> Result<(), CommitError> {
        let mut last = self.usage.last.lock().await;
        if let Some(batch) = last.in_doubt.take() {
            self.store_batch(&mut last, batch).await?;
        }
        let mut counted = self.usage.take().into_iter();
        loop {
            let batch = Batch::of(counted.by_ref().take(BATCH));
            if batch.counts.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.store_batch(&mut last, batch).await {
                counted.for_each(|(place, tally)| self.usage.put(place, tally));
                return Err(error);
            }
        }
    }

    async fn store_batch(&self, last: &mut LastBatch, batch: Batch) -> Result<(), CommitError> {
        match self.db.commit(batch.write_set(last, self.db.now())).await {
            Err(error) if !error.failed(FRESH_BATCH) => {
                last.in_doubt = Some(batch);
                Err(error)
            }
            Ok(_) | Err(_) => {
                last.settled = Some(batch.id);
                Ok(())
            }
        }
    }

    /// Stores what is counted every few seconds, and once more at the end.
    pub(crate) async fn store_usage_until(&self, shutdown: &CancellationToken) {
        loop {
            let due = sleep_until(Instant::now() + FLUSH_INTERVAL);
            let is_over = shutdown.run_until_cancelled(due).await.is_none();
            if let Err(error) = self.flush_usage().await {
                metrics::usage_not_stored();
                tracing::debug!(%error, "usage of keys not stored");
            }
            if is_over {
                return;
            }
        }
    }
}

fn shown(tally: Tally) -> OperationUsage {
    OperationUsage {
        count: tally.n_uses,
        last_used_ts: Timestamp::from(tally.last_used_at),
    }
}
