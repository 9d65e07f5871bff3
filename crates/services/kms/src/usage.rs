//! How often keys are used: counted in memory, stored every few seconds.
//!
//! A signature must not cost a write, and a key that signs thousands of times a second must not be a
//! row that everybody waits for. So each process counts for itself and adds what it counted to the
//! row of the day. What a crash takes is the last few seconds of counting, never a signature.

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

use crate::metrics;
use crate::service::Kms;
use crate::store::{UsageRow, add_usage};

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

type Tallies = HashMap<(KeyId, Operation), Tally>;

/// The counts of this process that are not stored yet.
#[derive(Debug, Default)]
pub(crate) struct UsageBook(Mutex<Tallies>);

impl UsageBook {
    /// Counts one use.
    pub(crate) fn note(&self, key: &KeyId, operation: Operation, now: OffsetDateTime) {
        let once = Tally {
            n_uses: 1,
            last_used_at: now,
        };
        self.put(key.clone(), operation, once);
    }

    fn put(&self, key: KeyId, operation: Operation, counted: Tally) {
        let mut tallies = self.tallies();
        let place = (key, operation);
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Stores what was counted. What cannot be stored is kept for the next time.
    ///
    /// # Errors
    ///
    /// [`CommitError`] of the first write set that failed.
    pub async fn flush_usage(&self) -> Result<(), CommitError> {
        let counted: Vec<_> = self.usage.take().into_iter().collect();
        let mut outcome = Ok(());
        for batch in counted.chunks(BATCH) {
            if outcome.is_ok() {
                outcome = self.store_usage(batch).await;
            }
            // An outcome that nobody knows counts as stored: rather too few than twice.
            if outcome.as_ref().is_err_and(is_certain) {
                for ((key, operation), tally) in batch {
                    self.usage.put(key.clone(), *operation, *tally);
                }
            }
        }
        outcome
    }

    async fn store_usage(&self, batch: &[((KeyId, Operation), Tally)]) -> Result<(), CommitError> {
        let mut set = WriteSet::new();
        for ((key_id, operation), tally) in batch {
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
        self.db.commit(set).await.map(drop)
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

/// Whether the database is known not to have stored it.
const fn is_certain(error: &CommitError) -> bool {
    !matches!(error, CommitError::OutcomeUnknown(_))
}

fn shown(tally: Tally) -> OperationUsage {
    OperationUsage {
        count: tally.n_uses,
        last_used_ts: Timestamp::from(tally.last_used_at),
    }
}
