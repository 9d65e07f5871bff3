//! Lost races: an attempt starts again from its read.

use lamassu_core::error::{ServiceError, StorageFailure};

use crate::error::{CommitError, DbError};

/// How often a change is attempted before its caller is told that the rows never hold still.
const ATTEMPTS: usize = 8;

/// Why one attempt of a change (read, decide, commit) ended without success.
///
/// Inside an attempt `?` takes the service's own errors as refusals, and those of the database as
/// what they are; [`retry_races`] makes the service's error of what is left.
#[derive(Debug, thiserror::Error)]
pub enum Attempt<E> {
    /// A rule says no, or a read failed; trying again gives the same answer.
    #[error(transparent)]
    Refused(E),
    /// A compare-and-set that another service made for this attempt lost a race; the error is what
    /// the caller is told if it was the last attempt.
    #[error(transparent)]
    Overtaken(E),
    /// The write set was not applied, perhaps because of a lost race.
    #[error(transparent)]
    NotCommitted(CommitError),
}

impl<E> Attempt<E> {
    /// Whether the attempt lost a race and starting again from its read may help.
    pub const fn is_race(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Overtaken(_) => true,
            Self::NotCommitted(error) => error.is_race(),
        }
    }

    /// What the caller is told when there is no further attempt.
    pub fn into_error(self) -> E
    where
        E: From<StorageFailure>,
    {
        match self {
            Self::Refused(error) | Self::Overtaken(error) => error,
            Self::NotCommitted(error) => StorageFailure::from(error).into(),
        }
    }
}

impl<E: ServiceError> From<E> for Attempt<E> {
    fn from(error: E) -> Self {
        Self::Refused(error)
    }
}

impl<E> From<CommitError> for Attempt<E> {
    fn from(error: CommitError) -> Self {
        Self::NotCommitted(error)
    }
}

impl<E> From<DbError> for Attempt<E> {
    fn from(error: DbError) -> Self {
        Self::NotCommitted(error.into())
    }
}

/// Runs an attempt until it does anything but lose a race, at most eight times; then the change
/// fails as [`Attempt::into_error`] says, with storage being unavailable where the rows are ours.
///
/// # Errors
///
/// What the last attempt ended with.
pub async fn retry_races<T, E, F>(attempt: impl FnMut() -> F) -> Result<T, E>
where
    E: From<StorageFailure>,
    F: Future<Output = Result<T, Attempt<E>>>,
{
    retry_races_up_to(ATTEMPTS, attempt).await
}

/// [`retry_races`] for rows that many callers change at the same time: of those that read the same
/// revision one wins, so there must be as many attempts as callers may reasonably meet.
///
/// # Errors
///
/// What the last attempt ended with.
pub async fn retry_races_up_to<T, E, F>(
    n_attempts: usize,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    E: From<StorageFailure>,
    F: Future<Output = Result<T, Attempt<E>>>,
{
    for _ in 1..n_attempts {
        match attempt().await {
            Err(ended) if ended.is_race() => {}
            outcome => return outcome.map_err(Attempt::into_error),
        }
    }
    attempt().await.map_err(Attempt::into_error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use lamassu_core::device::DeviceError;
    use lamassu_core::error::{ErrorKind, ServiceError as _};

    use super::{ATTEMPTS, Attempt, retry_races};
    use crate::error::CommitError;
    use crate::write_set::Check;

    /// Ends each attempt like this; gives the error and how many attempts there were.
    fn run(end: impl Fn() -> Attempt<DeviceError>) -> (DeviceError, usize) {
        let n = AtomicUsize::new(0);
        let attempt = || async {
            n.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(end())
        };
        let outcome = retry_races(attempt).now_or_never().unwrap();
        (outcome.unwrap_err(), n.load(Ordering::Relaxed))
    }

    #[test]
    fn a_refusal_ends_it() {
        let (error, n) = run(|| DeviceError::Exists.into());
        assert!(matches!(error, DeviceError::Exists), "{error:?}");
        assert_eq!(n, 1);
    }

    #[test]
    fn rows_that_never_hold_still_make_storage_unavailable() {
        let unmet = || CommitError::Unmet {
            check: Check::new("revision"),
            found: 0,
        };
        let (error, n) = run(|| unmet().into());
        assert!(matches!(error, DeviceError::Storage(_)), "{error:?}");
        assert_eq!((error.kind(), n), (ErrorKind::Unavailable, ATTEMPTS));
    }

    #[test]
    fn the_last_word_of_another_service_is_the_answer() {
        let (error, n) = run(|| Attempt::Overtaken(DeviceError::SlotChanged));
        assert!(matches!(error, DeviceError::SlotChanged), "{error:?}");
        assert_eq!(n, ATTEMPTS);
    }
}
