//! How keys come and go, and the job that sees to it.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{Db, Job, JobError, NextRun};
use time::{Duration, OffsetDateTime};

use super::signing_key::SigningKey;
use super::{IssuerError, LocalIssuer, MAX_TOKEN_TTL, store};

/// How long a key signs.
const SIGNS_FOR: Duration = Duration::days(90);
/// How long a key is published before it signs.
const PUBLISHED_AHEAD: Duration = Duration::minutes(10);
/// A key stays published so much longer than the last token that it can have signed.
const GRACE: Duration = Duration::minutes(10);
/// Retired keys are looked for at least so often.
const AT_LEAST_EVERY: Duration = Duration::days(1);

/// Rotates the keys of the local issuer when they are due, and daily forgets retired ones.
#[derive(Debug)]
pub struct KeyRotation(pub Arc<LocalIssuer>);

#[async_trait]
impl Job for KeyRotation {
    fn name(&self) -> &'static str {
        "auth.rotate-keys"
    }

    async fn run(&self, _: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let due = self.0.rotate().await.map_err(JobError::new)?;
        Ok(NextRun::At(due.min(now + AT_LEAST_EVERY)))
    }
}

/// When the successor of the newest key is made.
pub(super) fn successor_due(newest: &SigningKey) -> OffsetDateTime {
    newest.active_from() + SIGNS_FOR - PUBLISHED_AHEAD
}

/// The keys, oldest first, without those whose successor has signed for longer than a token lives.
pub(super) fn published(mut keys: Vec<SigningKey>, now: OffsetDateTime) -> Vec<SigningKey> {
    keys.drain(..n_retired(&keys, now));
    keys
}

fn n_retired(keys: &[SigningKey], now: OffsetDateTime) -> usize {
    keys.iter()
        .skip(1)
        .take_while(|successor| successor.active_from() + MAX_TOKEN_TTL + GRACE < now)
        .count()
}

/// Makes the first key, or the next one when it is due, and forgets retired ones.
pub(super) async fn rotate_if_due(db: &Db, now: OffsetDateTime) -> Result<(), IssuerError> {
    let keys = store::keys(db).await?;
    let next = match keys.last() {
        None => Some((1, now)),
        Some(newest) if successor_due(newest) <= now => {
            Some((newest.generation() + 1, now + PUBLISHED_AHEAD))
        }
        Some(_) => None,
    };
    if let Some((generation, active_from)) = next {
        // Another replica may be faster; its key is as good.
        store::insert(db, &SigningKey::generate(generation, active_from)?, now).await?;
    }
    let n_retired = n_retired(&keys, now);
    match keys.get(n_retired) {
        Some(oldest_kept) if n_retired > 0 => {
            store::delete_before(db, oldest_kept.generation()).await
        }
        _ => Ok(()),
    }
}
