//! Clients that ask as fast as they get answers, for a while.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// One client: asks once each time it is called; says whether the answer was the right one.
pub(crate) trait Worker: Send {
    /// Asks once.
    fn ask(&mut self) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>;
}

/// What a measurement gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Duration of each right answer, ascending.
    latencies: Vec<Duration>,
    /// Wrong answers and broken connections.
    pub(crate) errors: usize,
    elapsed: Duration,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        let answers = u32::try_from(self.latencies.len()).unwrap_or(u32::MAX);
        f64::from(answers) / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the right answers stayed within.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let at = self
            .latencies
            .len()
            .saturating_sub(1)
            .saturating_mul(percent)
            / 100;
        self.latencies
            .get(at)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
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
    let mut outcome = Outcome {
        latencies: Vec::new(),
        errors: 0,
        elapsed: duration,
    };
    let mut first_error = None;
    while let Some(done) = running.join_next().await {
        let (latencies, mut errors) = done?;
        outcome.latencies.extend(latencies);
        outcome.errors += errors.len();
        first_error = first_error.or_else(|| errors.pop());
    }
    if let Some(error) = first_error {
        println!("  an error: {error:#}");
    }
    outcome.elapsed = begun.elapsed();
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

async fn ask_until(mut worker: impl Worker, end: Instant) -> (Vec<Duration>, Vec<anyhow::Error>) {
    let (mut latencies, mut errors) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let begun = Instant::now();
        match worker.ask().await {
            Ok(()) => latencies.push(begun.elapsed()),
            Err(error) => errors.push(error),
        }
    }
    (latencies, errors)
}
