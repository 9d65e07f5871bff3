//! How often keys are used: counted in memory, stored every few seconds.
//!
//! A signature must not cost a write, and a key that signs thousands of times a second must not be a
//! row that everybody waits for. So each process counts for itself and adds what it counted to the
//! row of the day, in batches that are stored once even where a first try may have been stored. What a crash takes
//! is the last few seconds of counting, never a signature.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    counts: Mutex<Counts>,
    /// Held while counts are stored: the batch before.
    settled: tokio::sync::Mutex<Option<Uuid>>,
}

#[derive(Debug, Default)]
struct Counts {
    tallies: Tallies,
    /// What is being stored, or failed and is perhaps stored all the same.
    in_doubt: Option<Arc<Batch>>,
    /// How many batches have begun.
    n_begun: u64,
}

/// What was counted of a key and is not known to be stored, at one moment.
#[derive(Debug)]
struct Unstored {
    fresh: [(Operation, Option<Tally>); 2],
    in_doubt: Option<Arc<Batch>>,
    n_begun: u64,
}

/// Counts that are stored together, under an id that says whether they are.
#[derive(Debug)]
struct Batch {
    id: Uuid,
    counts: Tallies,
}

impl Batch {
    fn write_set(&self, settled: Option<Uuid>, now: OffsetDateTime) -> WriteSet {
        let mut set = WriteSet::new();
        insert_batch(&mut set, self.id, settled, now);
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
        let place = (key.clone(), operation);
        let once = Tally {
            n_uses: 1,
            last_used_at: now,
        };
        let mut counts = self.counts();
        let tallies = &mut counts.tallies;
        if let Some(tally) = tallies.get_mut(&place) {
            tally.add(once);
        } else if tallies.len() < MAX_TALLIES {
            tallies.insert(place, once);
        }
    }

    fn unstored(&self, key: &KeyId) -> Unstored {
        let counts = self.counts();
        let fresh = [Operation::Sign, Operation::Verify].map(|operation| {
            let place = (key.clone(), operation);
            (operation, counts.tallies.get(&place).copied())
        });
        Unstored {
            fresh,
            in_doubt: counts.in_doubt.clone(),
            n_begun: counts.n_begun,
        }
    }

    fn n_begun(&self) -> u64 {
        self.counts().n_begun
    }

    /// How many batches there are to store.
    fn n_batches(&self) -> usize {
        let counts = self.counts();
        let fresh = counts.tallies.len().div_ceil(BATCH);
        fresh.saturating_add(usize::from(counts.in_doubt.is_some()))
    }

    /// The batch in doubt, or the next one, which is in doubt from now on.
    fn next_batch(&self) -> Arc<Batch> {
        let mut counts = self.counts();
        let Counts {
            tallies,
            in_doubt,
            n_begun,
        } = &mut *counts;
        let batch = in_doubt.get_or_insert_with(|| {
            *n_begun = n_begun.wrapping_add(1);
            Arc::new(Batch {
                id: Uuid::new_v4(),
                counts: tallies.extract_if(|_, _| true).take(BATCH).collect(),
            })
        });
        Arc::clone(batch)
    }

    fn settle(&self) {
        self.counts().in_doubt = None;
    }

    /// A thread that panicked while it held the lock has left the counts whole.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kms {
    /// What was done with a key, by operation; what this process has not stored yet included.
    pub(crate) async fn usage_of(
        &self,
        key: &KeyId,
    ) -> Result<BTreeMap<String, OperationUsage>, KmsError> {
        let (usage, n_begun) = self.read_usage(key).await?;
        if self.usage.n_begun() == n_begun {
            return Ok(usage);
        }
        // What went into a batch meanwhile was perhaps read in neither place, or in both.
        let _none_begins = self.usage.settled.lock().await;
        let (usage, _) = self.read_usage(key).await?;
        Ok(usage)
    }

    /// What was done with a key, and how many batches had begun when that was read. It is true if none has begun
    /// since then.
    async fn read_usage(
        &self,
        key: &KeyId,
    ) -> Result<(BTreeMap<String, OperationUsage>, u64), KmsError> {
        let Unstored {
            fresh,
            in_doubt,
            n_begun,
        } = self.usage.unstored(key);
        let batch = in_doubt.as_ref().map(|batch| batch.id);
        let stored = self.store.usage_of(key, batch).await;
        let (stored, is_batch_stored) = stored.map_err(StorageFailure::from)?;
        let in_doubt = in_doubt.filter(|_| !is_batch_stored);
        let mut usage = BTreeMap::new();
        for (operation, fresh) in fresh {
            let rows = stored
                .iter()
                .filter(|row| row.operation == operation.as_str())
                .map(|row| row.tally);
            let in_doubt = in_doubt
                .as_ref()
                .and_then(|batch| batch.counts.get(&(key.clone(), operation)))
                .copied();
            let sum = rows.chain(in_doubt).chain(fresh).reduce(|mut sum, tally| {
                sum.add(tally);
                sum
            });
            if let Some(sum) = sum {
                usage.insert(operation.as_str().to_owned(), shown(sum));
            }
        }
        Ok((usage, n_begun))
    }

    /// Stores what was counted, each count once: what cannot be stored is kept for the next time, and where
    /// nobody knows whether a batch was stored, the same batch is stored again, which does nothing if it was.
    ///
    /// # Errors
    ///
    /// [`CommitError`] of the first batch that failed; those behind it were not tried.
    pub async fn flush_usage(&self) -> Result<(), CommitError> {
        let mut settled = self.usage.settled.lock().await;
        for _ in 0..self.usage.n_batches() {
            let batch = self.usage.next_batch();
            match self
                .db
                .commit(batch.write_set(*settled, self.db.now()))
                .await
            {
                Err(error) if !error.failed(FRESH_BATCH) => return Err(error),
                Ok(_) | Err(_) => {
                    *settled = Some(batch.id);
                    self.usage.settle();
                }
            }
        }
        Ok(())
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
