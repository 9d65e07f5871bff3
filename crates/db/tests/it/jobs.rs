//! Jobs run at start, when due and when woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{Db, Job, JobError, NextRun, WriteSet, run_job};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, for_every_database, insert_thing, soon};

for_every_database!(
    a_job_runs_at_start_and_when_a_write_set_wakes_it,
    a_job_runs_again_when_its_time_has_come,
    a_panic_is_a_failed_run,
);

/// Reports each run.
struct Reporter {
    runs: mpsc::Sender<OffsetDateTime>,
    next: NextRun,
}

#[async_trait]
impl Job for Reporter {
    fn name(&self) -> &'static str {
        "reporter"
    }

    async fn run(&self, _: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        self.runs.send(now).await.map_err(JobError::new)?;
        Ok(self.next)
    }
}

struct Running {
    runs: mpsc::Receiver<OffsetDateTime>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(db: &Db, next: NextRun) -> Running {
    let (sender, runs) = mpsc::channel(16);
    let shutdown = CancellationToken::new();
    let (db, token) = (db.clone(), shutdown.clone());
    let job = Arc::new(Reporter { runs: sender, next });
    let task = tokio::spawn(async move { run_job(&db, job, &token).await });
    Running {
        runs,
        shutdown,
        task,
    }
}

async fn a_job_runs_at_start_and_when_a_write_set_wakes_it<F: Fixture>() {
    let fixture = F::fresh().await;
    let mut running = start(fixture.db(), NextRun::WhenWoken);
    soon(running.runs.recv()).await.expect("first run");
    let mut set = WriteSet::new();
    set.execute(insert_thing("a", "A", 1));
    set.wake("reporter");
    fixture.db().commit(set).await.expect("commit");
    soon(running.runs.recv()).await.expect("woken");
    running.shutdown.cancel();
    soon(running.task).await.expect("job");
}

async fn a_job_runs_again_when_its_time_has_come<F: Fixture>() {
    let fixture = F::fresh().await;
    // Due at once, so each run is followed by the next.
    let mut running = start(fixture.db(), NextRun::At(fixture.db().now()));
    for _ in 0..3 {
        soon(running.runs.recv()).await.expect("a run");
    }
    running.shutdown.cancel();
    running.runs.close();
    soon(running.task).await.expect("job");
}

/// Panics in its first run and reports the others.
struct Stumbling {
    stumbled: AtomicBool,
    runs: mpsc::Sender<()>,
}

#[async_trait]
impl Job for Stumbling {
    fn name(&self) -> &'static str {
        "stumbling"
    }

    async fn run(&self, _: &Caller, _: OffsetDateTime) -> Result<NextRun, JobError> {
        if !self.stumbled.swap(true, Ordering::Relaxed) {
            panic!("a defect in the job");
        }
        self.runs.send(()).await.map_err(JobError::new)?;
        Ok(NextRun::WhenWoken)
    }
}

async fn a_panic_is_a_failed_run<F: Fixture>() {
    let fixture = F::fresh().await;
    let (sender, mut runs) = mpsc::channel(16);
    let (shutdown, db) = (CancellationToken::new(), fixture.db().clone());
    let token = shutdown.clone();
    let job = Arc::new(Stumbling {
        stumbled: AtomicBool::new(false),
        runs: sender,
    });
    let stumbled = Arc::clone(&job);
    let task = tokio::spawn(async move { run_job(&db, job, &token).await });
    soon(async {
        while !stumbled.stumbled.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Woken while it still runs, or while it pauses after the failure; the clock stands still.
    soon(async {
        while runs.try_recv().is_err() {
            fixture.db().wake("stumbling");
            tokio::task::yield_now().await;
        }
    })
    .await;
    shutdown.cancel();
    soon(task).await.expect("job");
}
