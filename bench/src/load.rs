//! Clients that ask as fast as they get answers, for a while.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// How one request ended, if it ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// With the right answer.
    Answered,
    /// The server was busy and said so (503 with `Retry-After`).
    TurnedAway,
    /// There was nothing left to ask.
    Exhausted,
}

/// One request on its way.
pub(crate) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Asked>> + Send + 'a>>;

/// One client: asks once each time it is called; fails when the answer is a wrong one.
pub(crate) trait Worker: Send {
    /// Asks once.
    fn ask(&mut self) -> Asking<'_>;
}

/// How long a client that was turned away stays away; a tenth of what it is told, so that three
/// times the capacity is asked for all the time.
const AWAY: Duration = Duration::from_millis(200);

/// What a measurement gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Duration of each right answer, ascending.
    latencies: Vec<Duration>,
    /// Duration of each "busy", ascending.
    refusals: Vec<Duration>,
    /// Wrong answers and broken connections.
    pub(crate) errors: usize,
    elapsed: Duration,
}

impl Outcome {
    /// Right answers.
    pub(crate) fn answers(&self) -> usize {
        self.latencies.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        rate(self.latencies.len(), self.elapsed)
    }

    /// How often clients were turned away.
    pub(crate) fn refused(&self) -> usize {
        self.refusals.len()
    }

    /// Clients that were turned away, per second.
    pub(crate) fn refusals_per_second(&self) -> f64 {
        rate(self.refusals.len(), self.elapsed)
    }

    /// The latency that this share of those that were turned away stayed within.
    pub(crate) fn refusal_percentile_ms(&self, percent: usize) -> f64 {
        percentile_ms(&self.refusals, percent)
    }

    /// The latency that this share of the right answers stayed within.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        percentile_ms(&self.latencies, percent)
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refusals.extend(other.refusals);
        self.errors += other.errors;
    }
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64()
}

/// A percentile of ascending durations, in milliseconds.
pub(crate) fn percentile_ms(ascending: &[Duration], percent: usize) -> f64 {
    let at = ascending.len().saturating_sub(1).saturating_mul(percent) / 100;
    ascending
        .get(at)
        .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

/// Runs so many clients at the same time for `duration`.
pub(crate) async fn run<W: Worker + 'static>(
    clients: usize,
    duration: Duration,
    mut worker: impl FnMut() -> W,
) -> Result<Outcome> {
    let begun = Instant::now();
    let end = begun + duration;
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(ask_until(worker(), end));
    }
    let mut outcome = Outcome::default();
    let mut first_error = None;
    while let Some(done) = running.join_next().await {
        let (part, error) = done?;
        outcome.add(part);
        first_error = first_error.or(error);
    }
    if let Some(error) = first_error {
        println!("  an error: {error:#}");
    }
    outcome.elapsed = begun.elapsed();
    outcome.latencies.sort_unstable();
    outcome.refusals.sort_unstable();
    Ok(outcome)
}

async fn ask_until(mut worker: impl Worker, end: Instant) -> (Outcome, Option<anyhow::Error>) {
    let mut outcome = Outcome::default();
    let mut first_error = None;
    while Instant::now() < end {
        let begun = Instant::now();
        match worker.ask().await {
            Ok(Asked::Answered) => outcome.latencies.push(begun.elapsed()),
            Ok(Asked::TurnedAway) => {
                outcome.refusals.push(begun.elapsed());
                tokio::time::sleep_until((Instant::now() + AWAY).into()).await;
            }
            Ok(Asked::Exhausted) => break,
            Err(error) => {
                outcome.errors += 1;
                first_error = first_error.or(Some(error));
            }
        }
    }
    (outcome, first_error)
}
