//! SIGKILL under load, again and again: what was acknowledged is there, nothing is there in part.
//! Where services run apart, a round kills all processes or one of them under the others.
//!
//! `LAMASSU_TEST_KILL_ROUNDS` says how often; `LAMASSU_TEST_KILL_SEED` repeats the choices of a run,
//! though not the moments that the machine adds to them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::support::Plant;
use crate::support::installation::{Installation, Layout};
use crate::support::load::{Dice, Ending, Ledger, Load, Worker, under_load};
use crate::support::wait::wait_for;

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

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of the environment, or another one each time.
pub(crate) fn seed() -> u64 {
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
    let mut n_alone = 0;
    for round in 1..=rounds {
        let mut workers: Vec<Worker> = (0..WORKERS)
            .map(|worker| load.worker(&format!("{round}-{worker}"), dice.below(u64::MAX)))
            .collect();
        let kills = Kills::choose(&mut dice, installation.program.n_processes());
        let what = || format!("round {round}, {kills:?}, seed {seed}");
        load_and_kill(&mut installation, &mut workers, kills).with_context(what)?;
        if let Victims::One(_) = kills.victims {
            n_alone += 1;
            let mut worker = load.worker(&format!("{round}-again"), dice.below(u64::MAX));
            all_works_again(&installation, &mut worker).with_context(what)?;
            installation.let_time_pass_while_running()?;
        }
        settled(&installation, &load.ledger()).with_context(what)?;
    }
    let ledger = load.ledger();
    println!(
        "{layout:?}: {rounds} kills ({n_alone} of one process under the others), {} changes \
         acknowledged and whole ({} certificates, {} revocations, {} enrolled devices, {} CAs, \
         {} keys, {} deleted keys), {} cut off, {} busy; answered and not stored 0, undelivered \
         and valid 0, orphan keys 0",
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
    assert!(
        ledger.unanswered > 0 || n_alone == rounds,
        "no kill met a request"
    );
    Ok(())
}

/// Which processes are killed in a round, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kills {
    pub(crate) victims: Victims,
    /// Under load.
    after: Duration,
    /// While they start again, if they are: recovery must survive its own interruption.
    while_starting: Option<Duration>,
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victims {
    /// All processes at the same moment, as when a machine fails.
    All,
    /// One, while the others go on.
    One(usize),
}

impl Kills {
    pub(crate) fn choose(dice: &mut Dice, n_processes: usize) -> Self {
        let mut millis = |longest| Duration::from_millis(dice.below(longest));
        let after = Duration::from_millis(50) + millis(LONGEST_MILLIS);
        let start = millis(LONGEST_START_MILLIS);
        let while_starting = (dice.below(3) == 0).then_some(start);
        // As often as each of several alone, all of them.
        let victim = usize::try_from(dice.below(n_processes as u64 + 1)).unwrap_or_default();
        let victims = if n_processes > 1 && victim < n_processes {
            Victims::One(victim)
        } else {
            Victims::All
        };
        Self {
            victims,
            after,
            while_starting,
        }
    }

    /// Whether clients lose connections: those that the gateway has in its process.
    pub(crate) const fn cut_off_clients(self) -> bool {
        matches!(self.victims, Victims::All | Victims::One(0))
    }

    /// Kills them, and starts them again.
    pub(crate) fn carry_out(self, installation: &mut Installation) -> Result<()> {
        match (self.victims, self.while_starting) {
            (Victims::All, None) => installation.kill_and_restart(),
            (Victims::All, Some(after)) => {
                installation.kill_while_starting(after)?;
                installation.kill_and_restart()
            }
            (Victims::One(n), while_starting) => {
                installation.kill_one_and_restart(n, while_starting)
            }
        }
    }
}

/// Runs all workers until they are cut off or what was killed is there again. Where the gateway
/// goes on, nobody is cut off: what needs the killed process is refused with 503.
fn load_and_kill(
    installation: &mut Installation,
    workers: &mut [Worker],
    kills: Kills,
) -> Result<()> {
    let client = installation.client()?;
    let endings = under_load(&client, workers, || {
        std::thread::sleep(kills.after);
        kills.carry_out(installation)
    })?;
    ensure!(
        kills.cut_off_clients() || !endings.contains(&Ending::CutOff),
        "clients of a living gateway are cut off"
    );
    Ok(())
}

/// Waits until changes of all kinds are possible again, with nothing started anew for that.
pub(crate) fn all_works_again(installation: &Installation, worker: &mut Worker) -> Result<()> {
    let client = installation.client()?;
    let all_kinds = || {
        let worked = worker.all_kinds(&client);
        worked.map(|worked| worked.then_some(())).transpose()
    };
    wait_for(
        "changes of all kinds with all processes up",
        SETTLES,
        all_kinds,
    )?
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
