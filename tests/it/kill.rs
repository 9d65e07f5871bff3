//! SIGKILL under load, again and again: what was acknowledged is there, nothing is there in part.
//!
//! `LAMASSU_TEST_KILL_ROUNDS` says how often; `LAMASSU_TEST_KILL_SEED` repeats the choices of a run,
//! though not the moments that the machine adds to them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::support::Plant;
use crate::support::installation::{Installation, Layout};
use crate::support::load::{Dice, Ledger, Load, Worker};

/// Rounds where the environment does not say otherwise.
const ROUNDS: u64 = 5;
/// Clients at the same time.
const WORKERS: u64 = 8;
/// Longest time of load before a kill, in milliseconds.
const LONGEST_MILLIS: u64 = 1_200;
/// Longest time after a start at which it is killed again, in milliseconds.
const LONGEST_START_MILLIS: u64 = 400;
/// How long an installation may take to settle what a kill left.
const SETTLES: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of the environment, or another one each time.
fn seed() -> u64 {
    let fresh = || {
        let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(elapsed.as_micros()).unwrap_or_default()
    };
    number("LAMASSU_TEST_KILL_SEED").unwrap_or_else(fresh)
}

#[test]
fn nothing_is_lost_or_half_done_on_sqlite() -> Result<()> {
    survive(Layout::OneProcessSqlite)
}

#[test]
fn nothing_is_lost_or_half_done_on_postgres() -> Result<()> {
    survive(Layout::OneProcessPostgres)
}

#[test]
fn nothing_is_lost_or_half_done_with_services_apart() -> Result<()> {
    survive(Layout::ApartPostgres)
}

fn survive(layout: Layout) -> Result<()> {
    let rounds = number("LAMASSU_TEST_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = seed();
    println!("{layout:?}: {rounds} rounds, LAMASSU_TEST_KILL_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut installation = Installation::start(layout)?;
    Plant::set_up(&installation.program)?;
    let load = Load::new(&installation.client()?)?;
    for round in 1..=rounds {
        let mut workers: Vec<Worker> = (0..WORKERS)
            .map(|worker| load.worker(&format!("{round}-{worker}"), dice.below(u64::MAX)))
            .collect();
        let millis = 50 + dice.below(LONGEST_MILLIS);
        let kills = Kills {
            after: Duration::from_millis(millis),
            // Recovery must survive its own interruption.
            while_starting: (dice.below(3) == 0)
                .then(|| Duration::from_millis(dice.below(LONGEST_START_MILLIS))),
        };
        load_and_kill(&mut installation, &mut workers, kills)
            .with_context(|| format!("round {round}, seed {seed}"))?;
        settled(&installation, &load.ledger())
            .with_context(|| format!("after the kill of round {round}, seed {seed}"))?;
    }
    let ledger = load.ledger();
    println!(
        "{layout:?}: {rounds} kills, {} changes acknowledged and whole ({} certificates, \
         {} revocations, {} enrolled devices, {} CAs, {} keys, {} deleted keys), {} cut off, {} busy",
        ledger.acknowledged(),
        ledger.certificates.len(),
        ledger.revoked.len(),
        ledger.enrolled.len(),
        ledger.authorities.len(),
        ledger.keys.len(),
        ledger.deleted_keys.len(),
        ledger.unanswered,
        ledger.busy,
    );
    assert!(ledger.unanswered > 0, "no kill met a request");
    Ok(())
}

/// When processes are killed in a round.
#[derive(Clone, Copy, Debug)]
struct Kills {
    /// Under load.
    after: Duration,
    /// While they start again, if they are.
    while_starting: Option<Duration>,
}

/// Runs all workers until the process is gone, and starts it again.
fn load_and_kill(
    installation: &mut Installation,
    workers: &mut [Worker],
    kills: Kills,
) -> Result<()> {
    let client = installation.client()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(|| worker.run(&client, &stop)))
            .collect();
        std::thread::sleep(kills.after);
        let killed = match kills.while_starting {
            Some(after) => installation.kill_while_starting(after),
            None => Ok(()),
        };
        let restarted = killed.and_then(|()| installation.kill_and_restart());
        stop.store(true, Ordering::Relaxed);
        for worker in running {
            worker.join().expect("a worker does not panic")?;
        }
        restarted
    })
}

/// Waits until nothing is wrong; what stays wrong is the error.
pub(crate) fn settled(installation: &Installation, ledger: &Ledger) -> Result<()> {
    let end = Instant::now() + SETTLES;
    loop {
        let violations = installation.violations(ledger)?;
        if violations.is_empty() {
            return Ok(());
        }
        // Waiting brings back nothing that is lost.
        let is_final = violations
            .iter()
            .any(|text| text.contains("lost") || text.contains("not stored"));
        if is_final || Instant::now() > end {
            let distinct: BTreeSet<_> = violations.into_iter().take(40).collect();
            bail!("{distinct:#?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
