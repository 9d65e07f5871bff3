//! What operators get wrong, and what they are told.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use lamassu_testing::PostgresServer;
use tempfile::TempDir;

use crate::support::command;
use crate::support::program::{Options, Program, executable, storage_block};

/// The program with these arguments and variables.
fn lamassu(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let mut program = Command::new(executable());
    program.args(arguments);
    program.envs(environment.iter().copied());
    Ok(program.output()?)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails, and says this.
fn refuses(arguments: &[&str], says: &str) -> Result<()> {
    let output = lamassu(arguments, &[])?;
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains(says), "{arguments:?}: {said}");
    Ok(())
}

/// What `config check` says to this configuration, and whether it can be used.
fn check(directory: &Path, config: &str, more: &[&str]) -> Result<(bool, String)> {
    let file = directory.join("config.yml");
    std::fs::write(&file, config)?;
    let (file, data) = (file.to_string_lossy(), directory.join("data"));
    let data = data.to_string_lossy();
    let arguments = [
        &["config", "check", "--config", &file, "--data-dir", &data],
        more,
    ];
    let output = lamassu(&arguments.concat(), &[])?;
    Ok((output.status.success(), errors(&output)))
}

#[test]
fn where_there_is_no_installation_no_command_makes_one() -> Result<()> {
    let directory = TempDir::new()?;
    let data = directory.path().join("data");
    let data_dir = data.to_string_lossy();
    for command in [
        &["token"][..],
        &["migrate"],
        &["backup", "--to", "/nonexistent/backup"],
        &["events", "subscriptions"],
        &["events", "replay", "7"],
        &["events", "discard", "7"],
        &["events", "forget", "x"],
    ] {
        let arguments = [command, &["--data-dir", &data_dir]].concat();
        let says = format!("there is no installation in {data_dir}: `lamassu serve` makes one");
        refuses(&arguments, &says)?;
        refuses(&arguments, "--data-dir")?;
        assert!(!data.exists(), "{command:?} made a directory");
    }
    // What cannot be looked into is not called empty.
    std::os::unix::fs::symlink("data", &data)?;
    for command in [&["token"][..], &["backup", "--to", "/nonexistent/backup"]] {
        let arguments = [command, &["--data-dir", &data_dir]].concat();
        refuses(
            &arguments,
            &format!("{data_dir} cannot be read: Too many levels"),
        )?;
    }
    Ok(())
}

#[test]
fn what_a_configuration_lacks_is_told_in_its_own_words() -> Result<()> {
    let directory = TempDir::new()?;
    let postgres = "storage: {provider: postgres}\n";
    for (config, more, is_usable, says) in [
        (
            "storage: {provider: postgre}",
            "",
            false,
            "expected `sqlite` or `postgres`",
        ),
        (
            "storage: {provider: postgres, port: 70000}",
            "",
            false,
            "storage.port: invalid value unsigned int `70000`, expected a number up to 65535",
        ),
        (
            "logs: {level: loud}",
            "",
            true,
            "warning: logs.level: \"loud\" is no level, info is used",
        ),
        ("", "kms", false, "set storage.provider to postgres"),
        (postgres, "kms", true, ""),
        (
            postgres,
            "dmsmanager,devmanager,va",
            false,
            "kms_client.hostname is missing: kms does not run in this process and is needed by va; \
             ca_client.hostname is missing: ca does not run in this process and is needed by \
             dmsmanager and va; say where it is, for example `kms_client: {protocol: http, ",
        ),
        (
            "storage: {provider: postgres}\nkms_client: {hostname: kms.example}\n",
            "ca",
            true,
            "",
        ),
    ] {
        let more: &[&str] = match more {
            "" => &[],
            services => &["--services", services],
        };
        let (usable, said) = check(directory.path(), config, more)?;
        assert_eq!(usable, is_usable, "{config} {more:?}: {said}");
        assert!(said.contains(says), "{config} {more:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_password_of_the_environment_comes_before_the_file_s() -> Result<()> {
    let directory = TempDir::new()?;
    let config = directory.path().join("config.yml");
    let file = config.to_string_lossy();
    let ways = ["password_file: /nonexistent", "password: in-the-file"];
    let variables = [
        "LAMASSU__STORAGE__PASSWORD",
        "LAMASSU__STORAGE__PASSWORD_FILE",
    ];
    for (way, variable) in ways.iter().zip(variables) {
        let text = format!("storage: {{provider: postgres, {way}}}\n");
        std::fs::write(&config, text)?;
        let arguments = ["config", "check", "--config", &file];
        let output = lamassu(&arguments, &[(variable, "/dev/null")])?;
        let said = errors(&output);
        assert!(!said.contains("/nonexistent"), "{said}");
        assert!(!said.contains("one of them is enough"), "{said}");
    }
    Ok(())
}

#[test]
fn rows_that_stay_behind_in_sqlite_are_told_of() -> Result<()> {
    let storage = PostgresServer::shared().fresh_schema();
    let directory = TempDir::new()?;
    let data = directory.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("lamassu.db"), "")?;
    let database = data.join("lamassu.db").to_string_lossy().into_owned();
    let (usable, said) = check(directory.path(), &storage_block(&storage), &[])?;
    assert!(usable, "{said}");
    assert!(
        said.contains(&format!("warning: {database} is not used")),
        "{said}"
    );
    let program = Program::start_at(directory, Options::default(), Some(Box::new(storage)))?;
    let log = program.log();
    let told = log.lines().find(|line| line.contains("SQLite database"));
    let told = told.context(log.clone())?;
    assert!(told.contains("WARN") && told.contains(&database), "{told}");
    Ok(())
}

#[test]
fn a_backup_of_the_wrong_directory_or_into_it_is_noticed() -> Result<()> {
    let program = Program::start_on(Options::default(), None)?;
    let (data, directory) = (program.data_dir(), program.scratch());
    let data_dir = data.to_string_lossy();
    for inside in [data.join("backup"), data.join("tls/backup")] {
        let inside = inside.to_string_lossy();
        let arguments = ["backup", "--data-dir", &data_dir, "--to", &inside];
        refuses(&arguments, "is in the data directory")?;
    }
    let to = directory.join("backup");
    let to = to.to_string_lossy();
    let output = lamassu(&["backup", "--data-dir", &data_dir, "--to", &to], &[])?;
    let said = errors(&output);
    assert!(output.status.success(), "{said}");
    let warning =
        format!("warning: this installation has no keys: is {data_dir} the right directory?");
    assert!(said.contains(&warning), "{said}");
    let restored = directory.join("restored");
    let restored = restored.to_string_lossy();
    let output = lamassu(&["restore", "--from", &to, "--data-dir", &restored], &[])?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\"After a restore\""), "{said}");
    Ok(())
}

#[test]
fn a_database_that_a_process_works_on_is_not_marked_as_restored() -> Result<()> {
    for storage in [
        None,
        Some(Box::new(PostgresServer::shared().fresh_schema())),
    ] {
        let says = match storage {
            None => "is in use by process",
            Some(_) => "a process works on this database",
        };
        let mut program = Program::start_on(Options::default(), storage)?;
        let config = program.scratch().join("config.yml");
        let (config, data_dir) = (config.to_string_lossy(), program.data_dir());
        let data_dir = data_dir.to_string_lossy();
        let arguments = [
            "migrate",
            "--restored",
            "--config",
            &config,
            "--data-dir",
            &data_dir,
        ];
        refuses(&arguments, says)?;
        assert!(program.stop()?.success());
        let output = lamassu(&arguments, &[])?;
        assert!(output.status.success(), "{}", errors(&output));
    }
    Ok(())
}

#[test]
fn a_server_that_is_asked_for_its_health_sees_nothing_forged() -> Result<()> {
    let mut program = Program::start_with(Options {
        config: Some("gateway: {metrics: {listen: \"127.0.0.1:0\"}}\n".to_owned()),
        ..Options::default()
    })?;
    let data_dir = program.data_dir().to_string_lossy().into_owned();
    let health = ["healthcheck", "--data-dir", &data_dir];
    assert!(lamassu(&health, &[])?.status.success());
    let text = command::run(&program.scratch(), "curl", &["-sSf", &program.metrics()?])?;
    assert!(text.contains("lamassu_connections_open"), "{text}");
    assert!(!text.contains("forged_header"), "{text}");
    // 2. It is counted where somebody does forge.
    let url = format!("{}/readyz", program.http());
    let forged = ["-sSf", "-H", "x-lms-principal: jane", &url];
    command::run(&program.scratch(), "curl", &forged)?;
    let text = command::run(&program.scratch(), "curl", &["-sSf", &program.metrics()?])?;
    assert!(text.contains("reason=\"forged_header\""), "{text}");
    // 3. One that nobody answers for.
    program.kill()?;
    refuses(
        &health,
        "is not ready: connection refused: is the server running?",
    )
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() -> Result<()> {
    let mut child = Command::new(executable())
        .args(["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(errors(&output), "");
    Ok(())
}
