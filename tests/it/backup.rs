//! Backup beside a running server, and what a restore makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lamassu_testing::PostgresServer;
use lamassu_x509::crl::CertificateList;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::support::Plant;
use crate::support::client::Client;
use crate::support::command;
use crate::support::installation::{Installation, Layout};
use crate::support::load::{Ledger, Load};
use crate::support::plant::DeviceKey;
use crate::support::program::{Options, Program, executable};
use crate::support::wait::wait_for;

/// Runs the program; gives what it said when it failed.
fn lamassu(directory: &Path, arguments: &[&str]) -> Result<std::result::Result<String, String>> {
    let program = executable().to_string_lossy();
    let output = command::output_with_input(directory, &program, arguments, b"")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}

fn backup(program: &Program, to: &str, more: &[&str]) -> Result<PathBuf> {
    let (data_dir, directory) = (program.data_dir(), program.scratch());
    let data_dir = data_dir.to_string_lossy();
    let arguments = [&["backup", "--data-dir", &data_dir, "--to", to], more].concat();
    let outcome = lamassu(&directory, &arguments)?;
    outcome.map_err(anyhow::Error::msg)?;
    Ok(directory.join(to))
}

fn restore(
    directory: &Path,
    from: &str,
    to: &str,
    more: &[&str],
) -> Result<std::result::Result<String, String>> {
    let arguments = [&["restore", "--from", from, "--data-dir", to], more].concat();
    lamassu(directory, &arguments)
}

/// Number of the newest CRL of a CA, which openssl has verified.
fn crl_number(plant: &Plant, ski: &str, ca: &str) -> Result<u64> {
    let url = format!("{}/crl/{ski}", plant.va);
    command::run(
        &plant.directory,
        "curl",
        &["-sS", "--fail", "-o", "list.crl", &url],
    )?;
    plant.openssl(&format!(
        "crl -inform DER -in list.crl -CAfile {ca} -noout -verify"
    ))?;
    let list = CertificateList::from_der(std::fs::read(plant.directory.join("list.crl"))?)?;
    Ok(list.number()?.context("a number")?.0)
}

fn skis(client: &Client) -> Result<Vec<String>> {
    let roles = client.call("GET", "va/v1/roles?page_size=200", &Value::Null)?;
    let roles = roles.json();
    let skis = roles["list"].as_array().context("a list")?.iter();
    skis.map(|role| Ok(role["ca_ski"].as_str().context("a ski")?.to_owned()))
        .collect()
}

#[test]
fn a_dump_of_postgres_is_restored_and_crl_numbers_go_on() -> Result<()> {
    let server = PostgresServer::shared();
    let mut installation = Installation::start(Layout::OneProcessPostgres)?;
    let schema = installation
        .program
        .schema()
        .context("a schema")?
        .to_owned();
    let mut plant = Plant::set_up(&installation.program)?;
    let directory = installation.program.scratch();
    let data_dir = installation.program.data_dir();
    plant.key_and_csr("before", DeviceKey::P256)?;
    let before = plant.sign("issuing", "before", &json!({}))?;
    // 1. As the guide says: the database first, then the directories.
    server.dump(&schema, &directory.join("dump"))?;
    let copy = |from: &Path, to: &Path| {
        let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
        command::run(&directory, "cp", &["-a", &from, &to]).map(drop)
    };
    copy(&data_dir, &directory.join("copy"))?;
    // 2. CRLs that the dump does not know of.
    let serial = before["serial_number"].as_str().context("a serial")?;
    let revoked = json!({"status": "REVOKED", "revocation_reason": "KeyCompromise"});
    let path = format!("ca/v1/certificates/{serial}/status");
    plant.api.ok("PUT", &path, Some(&revoked))?;
    let ski = plant.issuing_ski.clone();
    let published = wait_for("a CRL", Duration::from_secs(20), || {
        let number = crl_number(&plant, &ski, "issuing.pem").ok()?;
        (number > 1).then_some(number)
    })?;
    // 3. Server and directories are lost and put back.
    installation.program.kill()?;
    std::fs::remove_dir_all(&data_dir)?;
    copy(&directory.join("copy"), &data_dir)?;
    server.restore(&schema, &directory.join("dump"))?;
    let config = directory.join("config.yml");
    let (config, data) = (config.to_string_lossy(), data_dir.to_string_lossy());
    let arguments = [
        "migrate",
        "--restored",
        "--config",
        &config,
        "--data-dir",
        &data,
    ];
    command::run(&directory, &executable().to_string_lossy(), &arguments)?;
    installation.kill_and_restart()?;
    // 4. It is as it was, its keys sign, and relying parties see newer CRLs.
    plant.api = crate::support::Api::of(&installation.program)?;
    plant.va = format!("{}/api/va", installation.program.http());
    let found = plant
        .api
        .ok("GET", &format!("ca/v1/certificates/{serial}"), None)?;
    assert_eq!(found["status"], "ACTIVE");
    plant.key_and_csr("after", DeviceKey::P256)?;
    plant.sign("issuing", "after", &json!({}))?;
    let renewed = wait_for("a CRL", Duration::from_secs(20), || {
        let number = crl_number(&plant, &ski, "issuing.pem").ok()?;
        (number > published).then_some(number)
    })?;
    assert!(renewed > published + 1_000_000, "{renewed}");
    Ok(())
}

#[test]
fn a_backup_under_load_is_restored_whole() -> Result<()> {
    backed_up_under_load(Layout::OneProcessSqlite)
}

/// Keys are made and deleted all the time: each that the dump names must have its file.
#[test]
fn a_backup_under_load_on_postgres_is_restored_whole() -> Result<()> {
    backed_up_under_load(Layout::OneProcessPostgres)
}

/// Puts the dump of a restored backup into the server, as the guide says.
fn put_dump_in_place(program: &Program) -> Result<()> {
    let (directory, data_dir) = (program.scratch(), program.data_dir());
    let schema = program.schema().context("a schema")?;
    PostgresServer::shared().restore(schema, &data_dir.join("lamassu.dump"))?;
    let data_dir = data_dir.to_string_lossy();
    let arguments = ["migrate", "--restored", "--config", "config.yml"];
    let arguments = [&arguments[..], &["--data-dir", &data_dir]].concat();
    lamassu(&directory, &arguments)?.map_err(anyhow::Error::msg)?;
    Ok(())
}

fn backed_up_under_load(layout: Layout) -> Result<()> {
    let mut installation = Installation::start(layout)?;
    let in_server = installation.program.schema().is_some();
    let config: &[&str] = if in_server {
        &["--config", "config.yml"]
    } else {
        &[]
    };
    let plant = Plant::set_up(&installation.program)?;
    let client = installation.client()?;
    let load = Load::new(&client)?;
    let stop = AtomicBool::new(false);
    // 1. A load, in the midst of it a backup, and then it goes on.
    let before = std::thread::scope(|scope| -> Result<Ledger> {
        let workers: Vec<_> = (0..8)
            .map(|n| {
                let mut worker = load.worker(&format!("w{n}"), n);
                let (client, stop) = (&client, &stop);
                scope.spawn(move || worker.run(client, stop))
            })
            .collect();
        let acknowledged = |n: usize| {
            wait_for("a load", Duration::from_secs(60), || {
                (load.ledger().acknowledged() > n).then_some(())
            })
        };
        acknowledged(100)?;
        let before = load.ledger();
        let written = backup(&installation.program, "backup", config);
        let went_on = acknowledged(load.ledger().acknowledged() + 50);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        written?;
        went_on?;
        Ok(before)
    })?;
    // 2. CRLs that the backup does not know of.
    let crls: Vec<_> = skis(&client)?
        .into_iter()
        .filter(|ski| *ski == plant.issuing_ski)
        .collect();
    let published = crl_number(&plant, crls.first().context("a role")?, "issuing.pem")?;
    assert!(published > 1, "the load revoked nothing");
    // 3. The disk is lost.
    installation.program.kill()?;
    std::fs::remove_dir_all(installation.program.data_dir())?;
    let directory = installation.program.scratch();
    restore(&directory, "backup", "data", &[])?.map_err(anyhow::Error::msg)?;
    if in_server {
        put_dump_in_place(&installation.program)?;
    } else {
        let integrity: String = Connection::open_with_flags(
            directory.join("data/lamassu.db"),
            OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(integrity, "ok");
    }
    installation.kill_and_restart()?;
    // 4. What was answered before is there; what was changed since is as it was or as it is.
    wait_for("the restored installation", Duration::from_secs(60), || {
        let lasting = lasting(&before, &load.ledger());
        let violations = installation.violations(&lasting).ok()?;
        violations.is_empty().then_some(())
    })
    .with_context(|| {
        format!(
            "{:#?}",
            installation.violations(&lasting(&before, &load.ledger()))
        )
    })?;
    // 5. Every key signs: CAs issue, others sign.
    let client = installation.client()?;
    let mut plant = plant;
    plant.api = crate::support::Api::of(&installation.program)?;
    plant.va = format!("{}/api/va", installation.program.http());
    plant.key_and_csr("after", DeviceKey::P256)?;
    plant.sign("issuing", "after", &json!({}))?;
    assert_eq!(plant.ocsp("after")?, "good");
    for key in before.keys.intersection(&load.ledger().keys).take(5) {
        let body = json!({"algorithm": "ECDSA_SHA_256", "message": "eA==", "message_type": "raw"});
        let answer = client.call("POST", &format!("kms/v1/keys/{key}/sign"), &body)?;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // 6. CRL numbers go on above what was published, for CAs from before and from after alike.
    for ski in skis(&client)? {
        let role = client.call("GET", &format!("va/v1/roles/{ski}"), &Value::Null)?;
        let number = role.json()["latest_crl"]["version"].as_u64();
        assert!(number > Some(published + 1_000_000), "{ski}: {number:?}");
    }
    let renewed = crl_number(&plant, &plant.issuing_ski, "issuing.pem")?;
    assert!(renewed > published, "{renewed}");
    Ok(())
}

/// What must be there of a ledger although more happened before the backup was taken: things that
/// later changes took away are left out, others may be newer.
fn lasting(before: &Ledger, after: &Ledger) -> Ledger {
    let mut lasting = before.clone();
    lasting.keys = before.keys.intersection(&after.keys).cloned().collect();
    for (device, serial) in &mut lasting.enrolled {
        if after.enrolled.get(device) != Some(serial) {
            *serial = None;
        }
    }
    // Profiles are counted up all the time: what counts is that they are there.
    lasting.profiles.clear();
    lasting
}

#[test]
fn an_encrypted_backup_opens_with_its_passphrase_only() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let directory = program.scratch();
    plant.write("right", "correct horse\n")?;
    plant.write("wrong", "battery staple\n")?;
    let file = backup(
        &program,
        "backup.age",
        &["--encrypt-with-passphrase-file", "right"],
    )?;
    let content = std::fs::read(&file)?;
    assert!(content.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    let refusal = |more: &[&str]| -> Result<String> {
        let outcome = restore(&directory, "backup.age", "restored", more)?;
        assert!(!directory.join("restored").exists());
        Ok(outcome.expect_err("refused"))
    };
    assert_eq!(
        refusal(&[])?,
        "error: the backup is encrypted: --passphrase-file is missing"
    );
    assert_eq!(
        refusal(&["--passphrase-file", "wrong"])?,
        "error: backup.age cannot be decrypted: the passphrase is wrong, or the header is damaged"
    );
    let restored = restore(
        &directory,
        "backup.age",
        "restored",
        &["--passphrase-file", "right"],
    )?;
    restored.map_err(anyhow::Error::msg)?;
    let key = |data_dir: &str| std::fs::read(directory.join(data_dir).join("tls/ca.key"));
    assert_eq!(key("restored")?, key("data")?);
    assert_eq!(
        names(&directory.join("restored/keys"))?,
        names(&directory.join("data/keys"))?
    );

    // Each waits for somebody who writes into the pipe, in the middle of its work.
    command::run(&directory, "mkfifo", &["waiting", "data/tls/waiting.pem"])?;
    let restore = ["restore", "--from", "backup.age", "--data-dir", "third"];
    let restore = [&restore[..], &["--passphrase-file", "waiting"]].concat();
    interrupted(&directory, "INT", 130, &restore)?;
    let backup = ["backup", "--data-dir", "data", "--to", "third"];
    interrupted(&directory, "TERM", 143, &backup)?;
    assert!(!directory.join("third").exists());
    assert!(!directory.join("data/.backup").exists());
    Ok(())
}

/// Interrupts a command once it has made something beside its result: all of that is gone then.
fn interrupted(directory: &Path, signal: &str, code: i32, arguments: &[&str]) -> Result<()> {
    let hidden = || {
        let names = std::fs::read_dir(directory).ok()?.flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.find(|name| name.starts_with(".lamassu-"))
    };
    let mut child = Command::new(executable())
        .args(arguments)
        .current_dir(directory)
        .spawn()?;
    wait_for("something to be made", Duration::from_secs(60), hidden)?;
    let id = child.id().to_string();
    command::run(directory, "kill", &["-s", signal, &id])?;
    let status = child.wait()?;
    assert_eq!(
        (status.code(), hidden()),
        (Some(code), None),
        "{arguments:?}"
    );
    Ok(())
}

#[test]
fn keys_from_elsewhere_and_lost_keys_are_told() -> Result<()> {
    let elsewhere = tempfile::TempDir::new()?;
    let keys = elsewhere.path().join("keys");
    let config = json!({
        "gateway": {"metrics": {"listen": null}},
        "crypto_engines": {"default_id": "disk", "engines": [
            {"id": "disk", "type": "filesystem", "storage_directory": keys}]},
    });
    let program = Program::start_with(Options {
        config: Some(config.to_string()),
        ..Options::default()
    })?;
    Plant::set_up(&program)?;
    let directory = program.scratch();
    let stored = names(&keys)?;
    let (lost, _) = stored.first_key_value().context("a key")?;
    std::fs::remove_file(keys.join(lost))?;

    let data_dir = program.data_dir();
    let arguments = [
        "backup",
        "--config",
        "config.yml",
        "--data-dir",
        &data_dir.to_string_lossy(),
        "--to",
        "backup",
    ];
    let program = executable().to_string_lossy();
    let output = command::output_with_input(&directory, &program, &arguments, b"")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let warning = format!("warning: key {} has no file", keys.join(lost).display());
    assert!(told.starts_with(&warning), "{told}");
    let told = restore(&directory, "backup", "restored", &[])?.map_err(anyhow::Error::msg)?;
    let hint = format!(
        "move what is in restored/engines/disk to {}",
        keys.display()
    );
    assert!(told.ends_with(&hint), "{told}");
    assert_eq!(
        names(&directory.join("restored/engines/disk"))?,
        names(&keys)?
    );
    Ok(())
}

#[test]
fn crls_from_elsewhere_come_back_and_their_numbers_go_on() -> Result<()> {
    let elsewhere = tempfile::TempDir::new()?;
    let crls = elsewhere.path().join("crls");
    let config = json!({
        "gateway": {"metrics": {"listen": null}},
        "filesystem_storage": {"type": "local", "storage_directory": crls},
    });
    let mut program = Program::start_on(
        Options {
            config: Some(config.to_string()),
            ..Options::default()
        },
        None,
    )?;
    let mut plant = Plant::set_up(&program)?;
    let ski = plant.issuing_ski.clone();
    let published = crl_number(&plant, &ski, "issuing.pem")?;
    let directory = program.scratch();
    backup(&program, "backup", &["--config", "config.yml"])?;
    // Both directories are lost; what is in the backup is all that there is.
    program.kill()?;
    let folder = PathBuf::from("pki/va/crl").join(&ski);
    let before = names(&crls.join(&folder))?;
    std::fs::remove_dir_all(&crls)?;
    std::fs::remove_dir_all(program.data_dir())?;
    let told = restore(&directory, "backup", "data", &[])?.map_err(anyhow::Error::msg)?;
    let hint = format!("move what is in data/crl to {}", crls.display());
    assert!(told.ends_with(&hint), "{told}");
    std::fs::rename(directory.join("data/crl"), &crls)?;
    assert_eq!(names(&crls.join(&folder))?, before);
    program.restart()?;
    plant.va = format!("{}/api/va", program.http());
    let renewed = wait_for("a newer CRL", Duration::from_secs(20), || {
        let number = crl_number(&plant, &ski, "issuing.pem").ok()?;
        (number > published).then_some(number)
    })?;
    assert!(renewed > published + 1_000_000, "{renewed}");
    Ok(())
}

#[test]
fn an_older_backup_is_replaced_only_when_asked() -> Result<()> {
    let program = Program::start_on(Options::default(), None)?;
    let directory = program.scratch();
    std::fs::write(directory.join("backup"), "the only one")?;
    let refusal = backup(&program, "backup", &[]).expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "error: backup exists already: choose another name, or replace it with --force"
    );
    assert_eq!(std::fs::read(directory.join("backup"))?, b"the only one");
    std::os::unix::fs::symlink("backup", directory.join("link"))?;
    let refusal = backup(&program, "link", &["--force"]).expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "error: link is no file, --force replaces files only"
    );
    backup(&program, "backup", &["--force"])?;
    restore(&directory, "backup", "restored", &[])?.map_err(anyhow::Error::msg)?;
    Ok(())
}

/// Names and contents of a directory's files.
fn names(directory: &Path) -> Result<std::collections::BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let content = std::fs::read(&path)?;
        files.insert(path.file_name().context("a name")?.into(), content);
    }
    assert!(!files.is_empty());
    Ok(files)
}

#[test]
fn what_is_damaged_cut_or_in_the_way_is_refused() -> Result<()> {
    let program = Program::start()?;
    Plant::set_up(&program)?;
    let directory = program.scratch();
    backup(&program, "backup", &[])?;
    let length = std::fs::metadata(directory.join("backup"))?.len();
    let refusal = |change: &dyn Fn(&Path) -> Result<()>| -> Result<String> {
        let changed = directory.join("changed");
        std::fs::copy(directory.join("backup"), &changed)?;
        change(&changed)?;
        let outcome = restore(&directory, "changed", "restored", &[])?;
        assert!(!directory.join("restored").exists());
        Ok(outcome.expect_err("refused"))
    };
    // The tail is the checksum of the whole; the head is of the format, not of the content.
    for position in [
        20,
        length / 3,
        length / 2,
        length - 100,
        length - 7,
        length - 1,
    ] {
        let text = refusal(&|file| flip(file, position))?;
        assert!(
            text.contains("changed is not restored"),
            "{position}: {text}"
        );
    }
    for kept in [0, 10, length / 2, length - 9, length - 1] {
        let text = refusal(&|file| {
            let file = std::fs::OpenOptions::new().write(true).open(file)?;
            Ok(file.set_len(kept)?)
        })?;
        assert!(text.contains("changed is not restored"), "{kept}: {text}");
    }
    // Nothing was left beside the target.
    let leftovers = std::fs::read_dir(&directory)?
        .filter(|entry| {
            let name = entry.as_ref().map(std::fs::DirEntry::file_name);
            name.is_ok_and(|name| name.to_string_lossy().starts_with('.'))
        })
        .count();
    assert_eq!(leftovers, 0);

    let text = restore(&directory, "backup", "data", &[])?.expect_err("in use");
    assert_eq!(text, "error: data directory data is not empty");
    std::fs::create_dir(directory.join("empty"))?;
    restore(&directory, "backup", "empty", &[])?.map_err(anyhow::Error::msg)?;
    assert!(directory.join("empty/lamassu.db").exists());
    Ok(())
}

/// Inverts what is in a file from a position on, as a bad sector would. One bit alone may mean nothing: of a
/// run of zeros the compressed form has several spellings.
fn flip(file: &Path, position: u64) -> Result<()> {
    let mut bytes = std::fs::read(file)?;
    let from = usize::try_from(position)?;
    let damaged = bytes.iter_mut().skip(from).take(64);
    damaged.for_each(|byte| *byte = !*byte);
    Ok(std::fs::write(file, bytes)?)
}
