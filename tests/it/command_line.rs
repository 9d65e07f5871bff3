//! The command line: what it prints, and how it refuses.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Result;
use lamassu_testing::PostgresServer;
use tempfile::TempDir;

use crate::support::Program;
use crate::support::program::{Options, executable, storage_block};
use crate::support::wait::wait_for;

fn lamassu(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(executable()).args(arguments).output()?)
}

/// A refusal: exit code not 0, one sentence on standard error that holds `says`, no panic.
fn assert_refused(output: &Output, says: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it succeeded");
    assert!(errors.contains(says), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    let lines = errors
        .lines()
        .filter(|line| line.starts_with("error:"))
        .count();
    assert_eq!(lines, 1, "{errors}");
}

fn serve(data_dir: &Path, more: &[&str]) -> Result<Output> {
    let data_dir = data_dir.to_string_lossy();
    let mut arguments = vec![
        "serve",
        "--data-dir",
        &data_dir,
        "--http-port",
        "0",
        "--https-port",
        "0",
    ];
    arguments.extend(more);
    lamassu(&arguments)
}

#[test]
fn version_and_description_are_printed() -> Result<()> {
    let version = lamassu(&["version"])?;
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("lamassu "));
    let description: serde_json::Value = serde_json::from_slice(&lamassu(&["openapi"])?.stdout)?;
    assert_eq!(description["openapi"], "3.1.0");
    assert!(description["paths"]["/api/ca/v1/cas"]["post"].is_object());
    Ok(())
}

#[test]
fn a_wrong_option_or_configuration_is_refused() -> Result<()> {
    let directory = TempDir::new()?;
    assert_refused(
        &lamassu(&["serve", "--no-such-option"])?,
        "--no-such-option",
    );
    assert_refused(
        &serve(directory.path(), &["--services", "ca,nonsense"])?,
        "nonsense",
    );
    assert_refused(
        &serve(directory.path(), &["--config", "/nonexistent.yml"])?,
        "/nonexistent.yml",
    );
    let config = directory.path().join("config.yml");
    std::fs::write(&config, "logs: {level: info}\ngatway: {}\n")?;
    let config = config.to_string_lossy().into_owned();
    let strict = lamassu(&["config", "check", "--strict-config", "--config", &config])?;
    assert_refused(&strict, "gatway");
    let lenient = lamassu(&["config", "check", "--config", &config])?;
    assert!(
        lenient.status.success(),
        "{}",
        String::from_utf8_lossy(&lenient.stderr)
    );
    assert!(String::from_utf8_lossy(&lenient.stderr).contains("gatway"));
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let directory = TempDir::new()?;
    let taken = TcpListener::bind(("0.0.0.0", 0))?;
    let port = taken.local_addr()?.port().to_string();
    let data_dir = directory.path().to_string_lossy().into_owned();
    let output = lamassu(&[
        "serve",
        "--data-dir",
        &data_dir,
        "--http-port",
        "0",
        "--https-port",
        &port,
    ])?;
    assert_refused(&output, &format!("port {port} is already in use"));
    Ok(())
}

#[test]
fn a_metrics_port_in_use_names_its_key() -> Result<()> {
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let address = taken.local_addr()?;
    let program = Program::start_with(Options {
        config: Some(format!("gateway: {{metrics: {{listen: \"{address}\"}}}}\n")),
        ..Options::default()
    })?;
    let log = program.log();
    let warning = log.lines().find(|line| line.contains("metrics endpoint"));
    let warning = warning.unwrap_or_default();
    assert!(warning.contains("gateway.metrics.listen"), "{log}");
    assert!(warning.contains(&address.to_string()), "{log}");
    Ok(())
}

#[test]
fn a_data_directory_in_use_names_the_process() -> Result<()> {
    let program = Program::start()?;
    assert_refused(
        &serve(&program.data_dir(), &[])?,
        &format!("process {}", program.pid()),
    );
    Ok(())
}

#[test]
fn a_data_directory_of_a_newer_version_is_left_alone() -> Result<()> {
    let mut program = Program::start()?;
    assert!(program.stop()?.success());
    let database = program
        .data_dir()
        .join("lamassu.db")
        .to_string_lossy()
        .into_owned();
    let statement = "INSERT INTO schema_history_ca (version, name, applied_on, checksum) \
                     VALUES (9999, 'future', '2030-01-01T00:00:00Z', '1')";
    crate::support::command::run(
        &program.scratch(),
        "python3",
        &[
            "-c",
            "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()",
            &database,
            statement,
        ],
    )?;
    assert_refused(&serve(&program.data_dir(), &[])?, "newer version");
    Ok(())
}

#[test]
fn a_key_that_cannot_be_read_is_named() -> Result<()> {
    let mut program = Program::start()?;
    assert!(program.stop()?.success());
    std::fs::write(program.data_dir().join("tls/ca.key"), "no key")?;
    std::fs::remove_file(program.data_dir().join("tls/server.pem"))?;
    assert_refused(&serve(&program.data_dir(), &[])?, "ca.key");
    Ok(())
}

#[test]
fn tables_on_a_server_are_migrated_without_a_data_directory() -> Result<()> {
    let storage = PostgresServer::shared().fresh_schema();
    let directory = TempDir::new()?;
    let config = directory.path().join("config.yml");
    let block = storage_block(&storage).replace('}', ", migrate_on_start: never}");
    std::fs::write(&config, block)?;
    let data_dir = directory.path().join("data");
    let (config, data) = (config.to_string_lossy(), data_dir.to_string_lossy());
    let arguments = ["--config", &*config, "--data-dir", &*data];
    let token = lamassu(&[&["token"], &arguments[..]].concat())?;
    assert_refused(&token, "older than this version of lamassu needs");
    let migrated = lamassu(&[&["migrate"], &arguments[..]].concat())?;
    let errors = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(migrated.status.success(), "{errors}");
    assert!(!data_dir.exists(), "a data directory was made");
    // Beside a running server, too, which locks its own.
    let program = Program::start_on(Options::default(), Some(Box::new(storage)))?;
    let data = program.data_dir();
    let data = data.to_string_lossy();
    let beside = lamassu(&["migrate", "--config", &config, "--data-dir", &data])?;
    let errors = String::from_utf8_lossy(&beside.stderr).into_owned();
    assert!(beside.status.success(), "{errors}");
    Ok(())
}

#[test]
fn the_event_log_is_looked_at_beside_a_server_and_changed_without_one() -> Result<()> {
    let mut program = Program::start()?;
    let data_dir = program.data_dir().to_string_lossy().into_owned();
    let events = |arguments: &[&str]| {
        let mut all = vec!["events"];
        all.extend(arguments);
        all.extend(["--data-dir", &data_dir]);
        lamassu(&all)
    };
    wait_for(
        "the subscriptions to start",
        Duration::from_secs(20),
        || {
            let listed = events(&["subscriptions", "--json"]).ok()?;
            let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).ok()?;
            let mut names = listed.iter().filter_map(|one| one["name"].as_str());
            names.any(|name| name == "dms-directory").then_some(())
        },
    )?;
    let table = String::from_utf8(events(&["subscriptions"])?.stdout)?;
    assert!(table.starts_with("NAME "), "{table}");
    let letters = events(&["dead-letters"])?;
    assert_eq!(
        String::from_utf8(letters.stdout)?.split_whitespace().next(),
        Some("ID")
    );
    assert_refused(&events(&["show", "7"])?, "there is no dead letter 7");
    for change in [
        &["replay", "--all"][..],
        &["replay", "7"],
        &["discard", "7"],
    ] {
        assert_refused(&events(change)?, "stop the server first");
    }
    assert!(program.stop()?.success());
    assert!(events(&["replay", "--all"])?.status.success());
    assert_refused(&events(&["replay", "7"])?, "there is no dead letter 7");
    assert_refused(&events(&["discard", "7"])?, "there is no dead letter 7");
    Ok(())
}

#[test]
fn what_serve_makes_is_private_and_survives_a_stop() -> Result<()> {
    let mut program = Program::start()?;
    let mode = |name: &str| -> Result<u32> {
        Ok(std::fs::metadata(program.data_dir().join(name))?
            .permissions()
            .mode()
            & 0o777)
    };
    assert_eq!(mode(".")?, 0o700);
    assert_eq!(mode("lamassu.db")?, 0o600);
    assert_eq!(mode("tls/server.key")?, 0o600);
    assert_eq!(mode("tls/ca.pem")?, 0o644);
    let anchor = std::fs::read(program.anchor())?;
    let token = program.token("admin")?;
    assert!(program.stop()?.success());
    program.kill_and_restart()?;
    assert_eq!(std::fs::read(program.anchor())?, anchor);
    // The issuer's key survived too: the token is still good.
    let authorization = format!("Authorization: Bearer {token}");
    let anchor = program.anchor().to_string_lossy().into_owned();
    let url = format!("{}/api/ca/v1/cas", program.https());
    let answer = crate::support::command::run(
        &program.scratch(),
        "curl",
        &[
            "-sS",
            "--fail-with-body",
            "--cacert",
            &anchor,
            "-H",
            &authorization,
            &url,
        ],
    )?;
    assert_eq!(answer, r#"{"next":"","list":[]}"#);
    Ok(())
}

/// A start on a full disk, in a mount namespace of its own; the same directory with room afterwards.
const FULL_DISK: &str = r#"
mount -t tmpfs -o size=300k tmpfs "$1" || exit 90
serve="$2 serve --data-dir $1/data --http-port 0 --https-port 0"
timeout 20 $serve > "$1.out" 2> "$1.err" && exit 91
mount -o remount,size=50m "$1" || exit 92
timeout --preserve-status 5 $serve > "$1.out" 2>> "$1.log"
grep -q "is ready" "$1.out" || exit 93
"#;

#[test]
fn a_full_disk_is_named_and_harms_nothing() -> Result<()> {
    let directory = TempDir::new()?;
    let mount = directory.path().join("disk");
    std::fs::create_dir(&mount)?;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh"])
        .arg(&mount)
        .arg(executable())
        .output()?;
    let errors = std::fs::read_to_string(directory.path().join("disk.err"))?;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{errors}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let sentence: Vec<_> = errors
        .lines()
        .filter(|line| line.starts_with("error:"))
        .collect();
    assert_eq!(sentence.len(), 1, "{errors}");
    assert!(sentence.concat().contains("disk is full"), "{errors}");
    Ok(())
}
