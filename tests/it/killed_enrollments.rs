//! SIGKILL while thousands of devices enroll and renew: no answered certificate is missing, none that
//! nobody received stays valid, and every event took effect once. Devices repeat what was not
//! answered, and every one of them has its certificate in the end.
//!
//! `LAMASSU_TEST_ENROLLMENTS` says how many certificates are answered, `LAMASSU_TEST_ENROLLMENT_KILLS` how
//! often all or one of the processes are killed meanwhile; `LAMASSU_TEST_KILL_SEED` repeats choices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::kill::{Kills, Victims, number, seed, settled};
use crate::support::client::Client;
use crate::support::installation::{Installation, Layout};
use crate::support::load::{Dice, Ending, Enroller, Load};
use crate::support::plant::{Plant, client_certificate_auth, dms_settings};
use crate::support::wait::wait_for;

/// Answered certificates where the environment does not say otherwise.
const CERTIFICATES: u64 = 1_000;
/// Kills on the way.
const KILLS: u64 = 5;
/// Stations at the same time.
const STATIONS: u64 = 8;
/// How long the stations may take from one kill to the next.
const PATIENCE: Duration = Duration::from_secs(600);
/// Certificates that were issued and never bound.
const TAKEN_BACK: &str = "SELECT serial_number FROM certificate c \
    WHERE subject_common_name LIKE 'device-%' AND NOT EXISTS \
    (SELECT 1 FROM slot_version v WHERE v.serial_number = c.serial_number)";

#[test]
fn every_device_has_its_certificate_on_sqlite() -> Result<()> {
    survive(Layout::OneProcessSqlite)
}

#[test]
fn every_device_has_its_certificate_on_postgres() -> Result<()> {
    survive(Layout::OneProcessPostgres)
}

#[test]
fn every_device_has_its_certificate_with_services_apart() -> Result<()> {
    survive(Layout::ApartPostgres)
}

fn survive(layout: Layout) -> Result<()> {
    let wanted = number("LAMASSU_TEST_ENROLLMENTS").unwrap_or(CERTIFICATES);
    let n_kills = number("LAMASSU_TEST_ENROLLMENT_KILLS").unwrap_or(KILLS);
    let seed = seed();
    println!("{layout:?}: {wanted} certificates, LAMASSU_TEST_KILL_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut installation = Installation::start(layout)?;
    let plant = Plant::set_up(&installation.program)?;
    repeat_lost_answers(&plant)?;
    let load = Load::new(&installation.client()?)?;
    let mut stations: Vec<Enroller> = (0..STATIONS)
        .map(|station| load.enroller(&station.to_string(), dice.below(u64::MAX)))
        .collect();
    let mut n_alone = 0;
    for kill in 1..=n_kills {
        let kills = Kills::choose(&mut dice, installation.program.n_processes());
        let goal = usize::try_from(wanted * kill / (n_kills + 1))?;
        let what = || format!("kill {kill}, {kills:?}, seed {seed}");
        let client = installation.client()?;
        let endings = enroll(&client, &load, &mut stations, goal, || {
            kills.carry_out(&mut installation)
        })
        .with_context(what)?;
        ensure!(
            kills.cut_off_clients() || !endings.contains(&Ending::CutOff),
            "devices at a living gateway are cut off"
        );
        if let Victims::One(_) = kills.victims {
            n_alone += 1;
            installation.let_time_pass_while_running()?;
        }
    }
    let client = installation.client()?;
    let goal = usize::try_from(wanted)?;
    enroll(&client, &load, &mut stations, goal, || Ok(()))?;
    for station in &mut stations {
        station.ask_again(&client)?;
    }
    let ledger = load.ledger();
    settled(&installation, &ledger)?;
    ensure!(
        ledger.unanswered > 0 || n_alone == n_kills,
        "no kill met a request"
    );
    let taken_back = installation.rows(TAKEN_BACK)?.len();
    println!(
        "{layout:?}: {} certificates answered to {} devices, {n_kills} kills ({n_alone} of one \
         process under the others), {} requests cut off, {} busy, {taken_back} certificates taken back; \
         answered and not stored 0, undelivered and valid 0, effects of events lost or doubled 0, \
         devices without their certificate 0",
        ledger.certificates.len(),
        ledger.enrolled.len(),
        ledger.unanswered,
        ledger.busy,
    );
    Ok(())
}

/// Has the DMS give a lost first answer again; that of a renewal it always does.
fn repeat_lost_answers(plant: &Plant) -> Result<()> {
    let mut settings = dms_settings(&client_certificate_auth());
    settings["enrollment_settings"]["repeat_enrollment_window"] = json!("1h");
    let body = json!({"id": "line", "name": "line", "settings": settings});
    plant.api.ok("PUT", "dmsmanager/v1/dms/line", Some(&body))?;
    Ok(())
}

/// Lets all stations work until so many certificates are answered, and then while something happens;
/// how they ended.
fn enroll(
    client: &Client,
    load: &Load,
    stations: &mut [Enroller],
    goal: usize,
    happen: impl FnOnce() -> Result<()>,
) -> Result<Vec<Ending>> {
    let (stop, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let running: Vec<_> = stations
            .iter_mut()
            .map(|station| {
                scope.spawn(|| {
                    let ended = station.run(client, &stop);
                    failed.fetch_or(ended.is_err(), Ordering::Relaxed);
                    ended
                })
            })
            .collect();
        let is_there = || load.n_certificates() >= goal || failed.load(Ordering::Relaxed);
        let happened =
            wait_for("certificates", PATIENCE, || is_there().then_some(())).and_then(|()| happen());
        stop.store(true, Ordering::Relaxed);
        let endings = running
            .into_iter()
            .map(|station| station.join().expect("a station does not panic"))
            .collect::<Result<_>>()?;
        happened.map(|()| endings)
    })
}
