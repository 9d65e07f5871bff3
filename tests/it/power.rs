//! Power cuts and full disks, by a layer between the program and its files: SIGKILL loses nothing
//! that was written, so it proves nothing about what was synced.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lamassu_testing::PostgresServer;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Plant;
use crate::support::client::{Client, ClientKey};
use crate::support::command;
use crate::support::faultfs::{self, Change, Disk, Loss};
use crate::support::installation::Installation;
use crate::support::load::{Dice, Load, Worker, under_load};
use crate::support::program::{Options, Program, executable};

/// Power cuts that are tried.
const CUTS: usize = 150;
/// Of them, those whose files the program itself opens.
const OPENED: usize = 6;
/// Changes that are acknowledged: enough for several checkpoints.
const CHANGES: usize = 150;
/// Bytes in each device's metadata.
const FILLER: usize = 350_000;

/// Names of the files of all keys, in the directory of keys.
const READY_KEYS: &str = "SELECT handle FROM kms_key WHERE state = 'ready'";
/// Those of the newest CRLs, in the directory of CRLs.
const NEWEST_CRLS: &str = "SELECT ca_ski || '/' || crl_file FROM va_role WHERE crl_number > 0";

/// What was answered, and how long the recording was then.
#[derive(Debug)]
enum Acknowledged {
    Certificate(String),
    Revocation(String),
    Key(String),
    Device(String),
}

fn client(program: &Program) -> Result<Client> {
    Ok(Client {
        port: program.https_port,
        token: program.token("admin")?,
    })
}

fn ok(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value> {
    let answer = client.call(method, path, body)?;
    ensure!(answer.status < 300, "{} {}", answer.status, answer.body);
    Ok(answer.json())
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("no text")?.to_owned())
}

/// One change after the other.
fn workload(program: &Program) -> Result<Vec<(usize, Acknowledged)>> {
    let client = client(program)?;
    let key = ClientKey::generate()?;
    let mut acknowledged = Vec::new();
    let mut signed = Vec::new();
    for n in 0..CHANGES {
        let done = match n % 5 {
            0 | 1 => {
                let csr = crate::support::load::csr_on_the_wire(&key, &format!("cut-{n}"))?;
                let path = "ca/v1/cas/issuing/certificates/sign";
                let certificate = ok(&client, "POST", path, &json!({"csr": csr}))?;
                let serial = text(&certificate["serial_number"])?;
                signed.push(serial.clone());
                Acknowledged::Certificate(serial)
            }
            2 => {
                let body = json!({"algorithm": "ECDSA", "size": 256, "name": format!("load-{n}")});
                let key = ok(&client, "POST", "kms/v1/keys", &body)?;
                Acknowledged::Key(text(&key["key_id"])?)
            }
            3 => {
                let serial = signed.pop().context("a certificate")?;
                let body = json!({"status": "REVOKED", "revocation_reason": "KeyCompromise"});
                let path = format!("ca/v1/certificates/{serial}/status");
                ok(&client, "PUT", &path, &body)?;
                Acknowledged::Revocation(serial)
            }
            _ => {
                let id = format!("device-of-cut-{n}");
                // So much that the log is worth a checkpoint by the end.
                let metadata = json!({"filler": "x".repeat(FILLER)});
                let body = json!({"id": id, "dms_id": "line", "tags": [], "metadata": metadata});
                ok(&client, "POST", "devmanager/v1/devices", &body)?;
                Acknowledged::Device(id)
            }
        };
        acknowledged.push((faultfs::recorded(program)?, done));
    }
    Ok(acknowledged)
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() -> Result<()> {
    let mut program = faultfs::start()?;
    Plant::set_up(&program)?;
    let begun = faultfs::recorded(&program)?;
    let acknowledged = workload(&program)?;
    program.kill()?;
    let changes = faultfs::recording(&program)?;

    // Each answer came after the syncs that it stands for.
    let mut from = begun;
    for (to, done) in &acknowledged {
        let stretch: Vec<_> = changes
            .iter()
            .filter(|(at, _)| *at > from && at <= to)
            .cloned()
            .collect();
        faultfs::ensure_synced(&stretch, "/lamassu.db-wal").with_context(|| format!("{done:?}"))?;
        if let Acknowledged::Key(_) = done {
            key_file_before_row(&stretch).with_context(|| format!("{done:?}"))?;
        }
        from = *to;
    }

    // Cuts anywhere, and right behind answers.
    let seed = 20_261_129;
    let mut dice = Dice::new(seed);
    let n_setup = changes.partition_point(|(at, _)| *at <= begun);
    let mut cuts: Vec<usize> = (0..CUTS)
        .map(|n| match acknowledged.get(n) {
            Some((at, _)) if n % 3 == 0 => changes.partition_point(|(end, _)| end <= at),
            _ => {
                n_setup + usize::try_from(dice.below((changes.len() - n_setup) as u64)).unwrap_or(0)
            }
        })
        .collect();
    cuts.sort_unstable();
    let mut disk = Disk::default();
    let mut played = 0;
    let mut n_certain = 0;
    for (n, cut) in cuts.into_iter().enumerate() {
        for (_, change) in &changes[played..cut] {
            disk.play(change)?;
        }
        played = cut;
        let at = changes[..cut].last().map_or(0, |(at, _)| *at);
        let certain: Vec<_> = acknowledged
            .iter()
            .filter(|(answered, _)| *answered <= at)
            .map(|(_, done)| done)
            .collect();
        n_certain += certain.len();
        let losses = [Loss::Everything, Loss::Anything, Loss::Nothing];
        let loss = losses[n % losses.len()];
        let left = TempDir::new()?;
        disk.cut(loss, &mut dice, &program.scratch(), left.path())?;
        let data_dir = left.path().join("data");
        if n % (CUTS / OPENED) == 0 {
            let arguments = ["migrate", "--data-dir", &data_dir.to_string_lossy()];
            let program = executable().to_string_lossy();
            command::run(left.path(), &program, &arguments)
                .with_context(|| format!("cut {n} after change {cut}, {loss:?}"))?;
        }
        check(&data_dir, &certain)
            .with_context(|| format!("cut {n} after change {cut}, {loss:?}, seed {seed}"))?;
    }
    let n_synced = changes
        .iter()
        .filter(|(_, change)| matches!(change, Change::Sync { .. }))
        .count();
    println!(
        "{CUTS} power cuts in {} changes of files ({n_synced} syncs): {n_certain} acknowledgements kept",
        changes.len()
    );
    let checkpointed = changes.iter().any(|(at, change)| {
        *at > begun && matches!(change, Change::Sync { path, .. } if path.ends_with("/lamassu.db"))
    });
    ensure!(checkpointed, "the workload is too small for a checkpoint");
    Ok(())
}

/// The file of a key is on disk under its name before its row can be.
fn key_file_before_row(stretch: &[(usize, Change)]) -> Result<()> {
    let place =
        |wanted: &dyn Fn(&Change) -> bool| stretch.iter().position(|(_, change)| wanted(change));
    let content = place(
        &|change| matches!(change, Change::Sync { path, .. } if path.contains("/keys/.new-")),
    )
    .context("the key file is not synced")?;
    let name =
        place(&|change| matches!(change, Change::Link { path, .. } if path.contains("/keys/")))
            .context("the key file gets no name")?;
    let directory =
        place(&|change| matches!(change, Change::Sync { path, .. } if path.ends_with("/keys")))
            .context("the key directory is not synced")?;
    let row = stretch
        .iter()
        .rposition(
            |(_, change)| matches!(change, Change::Sync { path, .. } if path.ends_with("-wal")),
        )
        .context("the row is not synced")?;
    ensure!(
        content < name && name < directory && directory < row,
        "the order is {content} {name} {directory} {row}"
    );
    Ok(())
}

/// The database is sound, what must be in it is, and what it names is on disk.
fn check(data_dir: &Path, certain: &[&Acknowledged]) -> Result<()> {
    // Recovery of the log needs a writer.
    let connection = Connection::open_with_flags(
        data_dir.join("lamassu.db"),
        OpenFlags::SQLITE_OPEN_READ_WRITE,
    )?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(sound == "ok", "{sound}");
    let has =
        |sql: &str, id: &str| -> Result<bool> { Ok(connection.prepare_cached(sql)?.exists([id])?) };
    for done in certain {
        let kept = match done {
            Acknowledged::Certificate(serial) => {
                has("SELECT 1 FROM certificate WHERE serial_number = ?1", serial)?
            }
            Acknowledged::Revocation(serial) => has(
                "SELECT 1 FROM certificate WHERE serial_number = ?1 AND status = 'REVOKED'",
                serial,
            )?,
            Acknowledged::Key(id) => has(
                "SELECT 1 FROM kms_key WHERE key_id = ?1 AND state = 'ready'",
                id,
            )?,
            Acknowledged::Device(id) => has("SELECT 1 FROM device WHERE id = ?1", id)?,
        };
        ensure!(kept, "lost: {done:?}");
    }
    let column = |sql: &str| -> Result<Vec<String>> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    for handle in column(READY_KEYS)? {
        whole_pem(&data_dir.join("keys").join(handle))?;
    }
    for file in column(NEWEST_CRLS)? {
        whole_pem(&data_dir.join("crl/pki/va/crl").join(file))?;
    }
    Ok(())
}

fn whole_pem(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    ensure!(
        text.starts_with("-----BEGIN ") && text.trim_end().ends_with("-----"),
        "{} is not whole",
        path.display()
    );
    Ok(())
}

/// What PostgreSQL keeps is its own affair once it was asked to; that it is asked, and that keys and
/// CRLs are on disk before the rows that name them, is ours. So its server is one that loses what it
/// is not asked to keep, and the program's files fall back to what was synced.
#[test]
fn what_was_acknowledged_survives_a_power_cut_on_postgres() -> Result<()> {
    /// Power cuts under load.
    const CUTS: u64 = 4;
    const WORKERS: u64 = 6;
    let server = PostgresServer::start_lazy()?;
    let program = faultfs::start_on(server.fresh_schema())?;
    let mut installation = Installation::with_server(program, server);
    Plant::set_up(&installation.program)?;
    let load = Load::new(&installation.client()?)?;
    let mut dice = Dice::new(20_261_129);
    let mut disk = Disk::default();
    let mut n_named = 0;
    for cut in 0..CUTS {
        let mut workers: Vec<Worker> = (0..WORKERS)
            .map(|worker| load.worker(&format!("{cut}-{worker}"), dice.below(u64::MAX)))
            .collect();
        let client = installation.client()?;
        under_load(&client, &mut workers, || {
            std::thread::sleep(Duration::from_millis(300 + dice.below(900)));
            installation.cut_power(Duration::from_millis(dice.below(150)))
        })?;
        for (_, change) in faultfs::recording(&installation.program)? {
            disk.play(&change)?;
        }
        let losses = [Loss::Everything, Loss::Anything];
        let loss = losses[usize::try_from(cut)? % losses.len()];
        let context = || format!("cut {cut}, {loss:?}");
        disk = lose(&installation.program, &disk, loss, &mut dice).with_context(context)?;
        installation.resume_server()?;
        n_named += named_files_are_whole(&installation).with_context(context)?;
        installation.restart().with_context(context)?;
        crate::kill::settled(&installation, &load.ledger()).with_context(context)?;
    }
    println!(
        "{CUTS} power cuts on PostgreSQL: {} changes acknowledged and whole, {n_named} named files whole",
        load.ledger().acknowledged()
    );
    let log = installation.program.log();
    ensure!(!log.contains("a power cut may take"), "a server that syncs");
    Ok(())
}

/// Puts what a power cut leaves in the place of the program's files; gives the disk that holds it.
fn lose(program: &Program, disk: &Disk, loss: Loss, dice: &mut Dice) -> Result<Disk> {
    let left = TempDir::new()?;
    disk.cut(loss, dice, &program.scratch(), left.path())?;
    let data_dir = program.data_dir();
    std::fs::remove_dir_all(&data_dir)?;
    std::fs::rename(left.path().join("data"), &data_dir)?;
    faultfs::forget(program)?;
    Disk::holding(&data_dir)
}

/// Every key and CRL that a row names is on disk, before anything is repaired; gives how many.
fn named_files_are_whole(installation: &Installation) -> Result<usize> {
    let data_dir = installation.program.data_dir();
    let mut n_files = 0;
    for (directory, query) in [("keys", READY_KEYS), ("crl/pki/va/crl", NEWEST_CRLS)] {
        for file in installation.rows(query)?.into_iter().flatten() {
            whole_pem(&data_dir.join(directory).join(file))?;
            n_files += 1;
        }
    }
    ensure!(n_files > 0, "no row names a file");
    Ok(n_files)
}

#[test]
fn a_database_server_that_does_not_sync_is_warned_of() -> Result<()> {
    // Tests share one that is meant for speed.
    let storage = PostgresServer::shared().fresh_schema();
    let program = Program::start_on(Options::default(), Some(Box::new(storage)))?;
    for setting in ["fsync", "full_page_writes"] {
        let text = format!("the database server runs with {setting}=off");
        ensure!(program.log().contains(&text), "{}", program.log());
    }
    Ok(())
}

#[test]
fn a_disk_that_is_full_at_any_write_leaves_nothing_half_done() -> Result<()> {
    /// Changes of all kinds; the disk is full at the first write of the first one, at the second
    /// write of the second one, and so on, and then again from the first write.
    const ATTEMPTS: i64 = 240;
    /// No change takes more writes, or the disk would never be full in it.
    const DEEPEST: i64 = 120;
    let program = faultfs::start()?;
    Plant::set_up(&program)?;
    let client = client(&program)?;
    let load = Load::new(&client)?;
    let mut worker = load.worker("full", 7);
    let mut n_refused = 0;
    for attempt in 0..ATTEMPTS {
        faultfs::set_budget(&program, Some(attempt % DEEPEST))?;
        let went_well = worker
            .once(&client)
            .with_context(|| format!("full after {} writes", attempt % DEEPEST));
        faultfs::set_budget(&program, None)?;
        n_refused += i32::from(!went_well?);
        // There is space again: it goes on by itself.
        let mut went_on = false;
        for _ in 0..3 {
            went_on = worker.once(&client).context("with space again")?;
            if went_on {
                break;
            }
        }
        ensure!(went_on, "still refused with space (attempt {attempt})");
    }
    println!("{ATTEMPTS} times full: {n_refused} changes refused with 503, none half done");
    ensure!(n_refused > 20, "the disk was hardly ever full");
    // Known for what it was, not for some failure.
    ensure!(program.log().contains("the database is full"));
    let mut installation = Installation::around(program);
    installation.kill_and_restart()?;
    crate::kill::settled(&installation, &load.ledger())
}
