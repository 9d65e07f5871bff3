//! Background jobs: run when something is due or somebody says so, in one process only.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use lamassu_core::caller::Caller;
use lamassu_core::error::ServiceError;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::backend::Dialect;
use crate::db::Db;
use crate::error::Cause;
use crate::lease::while_leased;
use crate::outage::is_outage;
use crate::system_caller::system_caller;

/// How long the lease of a job lasts without renewal.
const LEASE: Duration = Duration::from_secs(30);

/// Longest sleep in one go: a wall clock that is set forward is noticed within it.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// Pause after a failure; doubled with each one up to [`MAX_SLEEP`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How long what nobody was woken for waits at most, where several processes work.
const UNHEARD: Duration = Duration::from_secs(120);

/// When a job wants to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRun {
    /// At this time, or earlier when woken.
    At(OffsetDateTime),
    /// Only when woken; where other processes may have failed to, also every few minutes.
    WhenWoken,
}

/// Why a run of a job failed; it is tried again soon.
#[derive(Debug, thiserror::Error)]
#[error("the job failed")]
pub struct JobError(#[source] pub Cause);

/// A run that panicked; its message went to the panic hook.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the job panicked")]
struct Panicked;

impl JobError {
    /// A run failed because of `cause`.
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(cause))
    }
}

impl<E: ServiceError> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl From<crate::error::DbError> for JobError {
    fn from(error: crate::error::DbError) -> Self {
        Self::new(error)
    }
}

impl From<crate::error::CommitError> for JobError {
    fn from(error: crate::error::CommitError) -> Self {
        Self::new(error)
    }
}

/// A job. It takes no input: a run looks at the database, does what is due and says when the next
/// thing is due. So it runs the same way by time, by signal and after a crash.
#[async_trait]
pub trait Job: Send + Sync {
    /// Its name: that of its lease, of the signal that wakes it
    /// ([`WriteSet::wake`](crate::WriteSet::wake)), and in logs.
    fn name(&self) -> &'static str;

    /// Does everything that is due at `now`, in the name of `caller`: the system, under a trace
    /// of this run's own.
    ///
    /// # Errors
    ///
    /// [`JobError`]; the run is repeated after a pause. A panic counts as a failure.
    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError>;
}

/// Runs a job until `shutdown`: at start, then whenever it is due or woken, never twice at a time,
/// and in one process of the installation only. A run that is in progress is finished first.
pub async fn run_job(db: &Db, job: Arc<dyn Job>, shutdown: &CancellationToken) {
    let lease = format!("job/{}", job.name());
    while_leased(db, &lease, LEASE, shutdown, || {
        repeat(db, job.as_ref(), shutdown)
    })
    .await;
}

async fn repeat(db: &Db, job: &dyn Job, shutdown: &CancellationToken) {
    let mut wakes = db.signal(job.name());
    let mut retry = FIRST_RETRY;
    while !shutdown.is_cancelled() {
        wakes.mark_unchanged();
        let next = match run_once(db, job).await {
            Ok(next) => {
                retry = FIRST_RETRY;
                latest(db, next)
            }
            Err(JobError(error)) => {
                let error = &*error as &(dyn std::error::Error + 'static);
                if is_outage(error) {
                    tracing::debug!(job = job.name(), error, "job put off");
                } else {
                    tracing::warn!(job = job.name(), error, "job failed");
                }
                let next = NextRun::At(db.now() + retry);
                retry = retry.saturating_mul(2).min(MAX_SLEEP);
                next
            }
        };
        tokio::select! {
            () = until_due(db, next) => {}
            _woken = wakes.changed() => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// A wake-up from another process is lost with a process that ends right behind its commit, so
/// where there are others nobody relies on being woken alone.
fn latest(db: &Db, next: NextRun) -> NextRun {
    match (next, db.dialect()) {
        (NextRun::WhenWoken, Dialect::Postgres) => NextRun::At(db.now() + UNHEARD),
        (NextRun::WhenWoken, Dialect::Sqlite) | (NextRun::At(_), _) => next,
    }
}

async fn run_once(db: &Db, job: &dyn Job) -> Result<NextRun, JobError> {
    let caller = system_caller(job.name());
    AssertUnwindSafe(job.run(&caller, db.now()))
        .catch_unwind()
        .await
        .unwrap_or_else(|_panic| Err(JobError::new(Panicked)))
}

/// Waits in slices, because the wall clock may be set while we wait.
async fn until_due(db: &Db, next: NextRun) {
    let NextRun::At(due) = next else {
        return std::future::pending().await;
    };
    loop {
        let left = due - db.now();
        let Ok(left) = Duration::try_from(left) else {
            return;
        };
        if left.is_zero() {
            return;
        }
        let until = tokio::time::Instant::now() + left.min(MAX_SLEEP);
        tokio::time::sleep_until(until).await;
    }
}
