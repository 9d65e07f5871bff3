//! The command line: what it prints, and how it refuses.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lamassu_testing::PostgresServer;
use rusqlite::Connection;
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
    assert_eq!(
        String::from_utf8_lossy(&lenient.stdout),
        "the configuration can be used, but one of its keys is unknown and ignored\n"
    );
    Ok(())
}

/// Certificates `a.pem` and `b.pem` with their keys, and files that hold something else.
fn key_files(directory: &Path) -> Result<()> {
    for name in ["a", "b"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        crate::support::command::run(
            directory,
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-subj",
                "/CN=localhost",
                "-days",
                "2",
            ],
        )?;
    }
    for (name, content) in [
        ("garbage", "hush hush"),
        ("empty", "\n"),
        ("password", "correct horse\n"),
        ("keys.json", "{\"keys\": []}"),
    ] {
        std::fs::write(directory.join(name), content)?;
    }
    Ok(())
}

#[test]
fn files_that_a_configuration_names_are_checked_by_key_and_path() -> Result<()> {
    let directory = TempDir::new()?;
    key_files(directory.path())?;
    let data_dir = directory.path().join("data");
    let check = |config: &str| {
        let file = directory.path().join("config.yml");
        let path = directory.path().to_string_lossy();
        std::fs::write(&file, config.replace("DIR", &path))?;
        let (file, data_dir) = (file.to_string_lossy(), data_dir.to_string_lossy());
        let place = ["--config", &file, "--data-dir", &data_dir];
        // Only a process of some services has a listener of its own.
        let services: &[&str] = if config.starts_with("server: {authentication") {
            &["--services", "kms"]
        } else {
            &[]
        };
        lamassu(&[&["config", "check"], services, &place].concat())
    };
    let postgres = "storage: {provider: postgres, hostname: db.invalid, username: u, ";
    let kms = "kms_client: {hostname: kms.invalid, ";
    let provider = "authentication: {jwt: {providers: [{name: idp, issuer: x, audiences: [y], ";
    let token = "crypto_engines: [{id: hsm, type: pkcs11, token: t, ";
    let engine = "crypto_engines: [{id: disk, type: filesystem, storage_directory: DIR/keys, ";
    for (config, says) in [
        ("gateway: {tls: {cert_file: DIR/none, key_file: DIR/a.key}}".to_owned(),
         "gateway.tls.cert_file: DIR/none cannot be read: No such file"),
        ("gateway: {tls: {cert_file: DIR/a.key, key_file: DIR/a.key}}".to_owned(),
         "gateway.tls.cert_file: DIR/a.key: it holds no certificate in PEM"),
        ("gateway: {tls: {cert_file: DIR/a.pem, key_file: DIR/garbage}}".to_owned(),
         "gateway.tls.key_file: DIR/garbage: "),
        ("gateway: {tls: {cert_file: DIR/a.pem, key_file: DIR/b.key}}".to_owned(),
         "gateway.tls: the private key in DIR/b.key does not belong to the certificate in DIR/a.pem"),
        ("server: {protocol: https, cert_file: DIR/a.pem, key_file: DIR/a.pem}".to_owned(),
         "server.key_file: DIR/a.pem: "),
        ("server: {protocol: https, cert_file: DIR/a.pem, key_file: DIR/b.key}".to_owned(),
         "server: the private key in DIR/b.key does not belong"),
        (format!("{postgres} password_file: DIR/none}}"), "storage.password_file: DIR/none cannot"),
        (format!("{postgres} password_file: DIR/empty}}"), "storage.password_file: DIR/empty: it is empty"),
        (format!("{postgres} sslmode: verify-full, ca_cert_file: DIR/garbage}}"),
         "storage.ca_cert_file: DIR/garbage: it holds no certificate"),
        (format!("{postgres} client_cert_file: DIR/a.pem, client_key_file: DIR/b.key}}"), "storage: "),
        (format!("{kms} ca_cert_file: DIR}}"), "kms_client.ca_cert_file: DIR cannot be read: Is a directory"),
        (format!("{kms} auth_mode: mtls, mtls_options: {{cert_file: DIR/a.pem, key_file: DIR/none}}}}"),
         "kms_client.mtls_options.key_file: DIR/none cannot be read"),
        (format!("{kms} auth_mode: apikey, apikey_options: {{key_file: DIR/empty}}}}"),
         "kms_client.apikey_options.key_file: DIR/empty: it is empty"),
        (format!("{provider} jwks_file: DIR/keys.json}}]}}}}"),
         "authentication.jwt.providers.0.jwks_file: DIR/keys.json: the set has no key"),
        (format!("{provider} public_key_files: [DIR/garbage]}}]}}}}"),
         "authentication.jwt.providers.0.public_key_files: DIR/garbage: no PEM public key"),
        ("authentication: {client_certificate: {enabled: true, ca_cert_files: [DIR/a.pem, DIR/none]}}".to_owned(),
         "authentication.client_certificate.ca_cert_files.1: DIR/none cannot be read"),
        ("server: {authentication: {mutual_tls: {enabled: true, ca_cert_file: DIR/garbage}}, \
          protocol: https, cert_file: DIR/a.pem, key_file: DIR/a.key}\n\
          storage: {provider: postgres, hostname: db.invalid, username: u}".to_owned(),
         "server.authentication.mutual_tls.ca_cert_file: DIR/garbage: it holds no certificate"),
        (format!("{engine} passphrase_file: DIR/none}}]"),
         "crypto_engines.disk.passphrase_file: DIR/none cannot be read"),
        (format!("{token} module_path: DIR/none, pin_file: DIR/password}}]"),
         "crypto_engines.hsm.module_path: DIR/none cannot be read"),
        (format!("{token} module_path: DIR/garbage, pin_file: DIR/password}}]"),
         "crypto_engines.hsm.module_path: DIR/garbage: it is no shared library"),
        (format!("{token} module_path: libmodule.so, pin_file: DIR/empty}}]"),
         "crypto_engines.hsm.pin_file: DIR/empty: it is empty"),
        (format!("{token} module_path: libmodule.so, pin: 1234}}]"),
         "crypto_engines: hsm: the pin is no text: write it in quotes"),
        ("downstream_cert_file: DIR/garbage".to_owned(), "downstream_cert_file: DIR/garbage: "),
        ("downstream_cert_file: DIR/none\ngateway: {tls: {cert_file: DIR/none, key_file: DIR/none}}".to_owned(),
         "; downstream_cert_file: DIR/none cannot be read"),
    ] {
        let output = check(&config)?;
        assert_refused(&output, &says.replace("DIR", &directory.path().to_string_lossy()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("hush") && !said.contains("horse"), "{said}");
    }
    // What is right is, and what is not used is not looked at; nothing is opened or made.
    for config in [
        "gateway: {tls: {cert_file: DIR/a.pem, key_file: DIR/a.key}}\ndownstream_cert_file: DIR/b.pem".to_owned(),
        format!("{postgres} password_file: DIR/password, sslmode: verify-ca, ca_cert_file: DIR/b.pem, \
                 client_cert_file: DIR/a.pem, client_key_file: DIR/a.key}}"),
        format!("{kms} auth_mode: mtls, ca_cert_file: DIR/b.pem, \
                 mtls_options: {{cert_file: DIR/a.pem, key_file: DIR/a.key}}}}"),
        "kms_client: {ca_cert_file: DIR/none}\nserver: {cert_file: DIR/none, key_file: DIR/none}".to_owned(),
        format!("{engine} passphrase_file: DIR/password}}]"),
        format!("{token} module_path: libmodule.so, pin_file: DIR/password}}]"),
    ] {
        let output = check(&config)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{config}: {said}");
    }
    assert!(!data_dir.exists() && !directory.path().join("keys").exists());
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
fn the_event_log_is_looked_at_beside_a_server_and_changed_by_it() -> Result<()> {
    let mut program = Program::start_on(Options::default(), None)?;
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
    let misspelt = "(did you mean dms-directory?); there are ";
    for lists in [&["dead-letters"][..], &["replay", "--all"]] {
        let asked = [lists, &["--subscription", "dms-dierctory"]].concat();
        assert_refused(&events(&asked)?, misspelt);
        let asked = [lists, &["--subscription", "dms-directory"]].concat();
        assert!(events(&asked)?.status.success());
    }
    // The server refuses what is not there; without one the command does.
    for is_running in [true, false] {
        if !is_running {
            assert!(program.stop()?.success());
        }
        assert!(events(&["replay", "--all"])?.status.success());
        for change in ["show", "replay", "discard"] {
            assert_refused(&events(&[change, "7"])?, "there is no dead letter 7");
        }
    }
    Ok(())
}

/// Sets two events aside, as if a handler had failed.
fn set_aside(data_dir: &Path) -> Result<()> {
    let connection = Connection::open(data_dir.join("lamassu.db"))?;
    connection.execute(
        "INSERT INTO dead_letters \
         (id, subscription, seq, event_type, subject, body, error, attempts, failed_at, replay) \
         VALUES (7, 'dms-directory', 1, 'x', NULL, '{}', 'e', 1, 0, 0), \
         (8, 'dms-directory', 2, 'x', NULL, '{}', 'e', 1, 0, 0)",
        [],
    )?;
    Ok(())
}

#[test]
fn dead_letters_are_replayed_and_discarded_by_the_running_server() -> Result<()> {
    // With a certificate of its own, and with one that names another host.
    let own = "gateway: {metrics: {listen: null}}\n".to_owned();
    let directory = TempDir::new()?;
    let cert = directory.path().join("cert.pem");
    let certificate = || {
        crate::support::command::run(
            directory.path(),
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
                "-subj",
                "/CN=pki.example",
                "-days",
                "2",
            ],
        )
    };
    certificate()?;
    let given = format!(
        "gateway: {{metrics: {{listen: null}}, tls: {{cert_file: {0}/cert.pem, key_file: {0}/key.pem}}}}\n",
        directory.path().display()
    );
    for config in [own, given] {
        let options = Options {
            config: Some(config),
            ..Options::default()
        };
        let mut program = Program::start_on(options, None)?;
        assert!(program.stop()?.success());
        set_aside(&program.data_dir())?;
        program.restart()?;
        let data_dir = program.data_dir().to_string_lossy().into_owned();
        let events = |arguments: &[&str]| {
            lamassu(&[&["events"], arguments, &["--data-dir", &data_dir]].concat())
        };
        let discarded = events(&["discard", "7"])?;
        let said = String::from_utf8_lossy(&discarded.stderr).into_owned();
        assert!(discarded.status.success(), "{said}");
        assert_refused(&events(&["show", "7"])?, "there is no dead letter 7");
        let replayed = String::from_utf8(events(&["replay", "8"])?.stdout)?;
        assert!(
            replayed.starts_with("1 dead letters are tried"),
            "{replayed}"
        );
        // Its handler knows no such event, so that it is done at once.
        wait_for("the replay", Duration::from_secs(20), || {
            let listed = events(&["dead-letters", "--json"]).ok()?;
            (listed.stdout == b"[]\n").then_some(())
        })?;
        let beside = Connection::open(program.data_dir().join("lamassu.db"))?;
        let audited: i64 = beside.query_row(
            "SELECT COUNT(*) FROM audit_log WHERE operation LIKE 'dead_letter.%' \
             AND principal LIKE '%lamassu events%'",
            [],
            |row| row.get(0),
        )?;
        assert_eq!(audited, 2);
        // Nobody else gets the token: the certificate is not the one that is expected.
        certificate()?;
        std::fs::create_dir_all(program.data_dir().join("tls"))?;
        std::fs::copy(&cert, program.data_dir().join("tls/ca.pem"))?;
        assert_refused(
            &events(&["discard", "7"])?,
            "the running server did not do it",
        );
    }
    Ok(())
}

#[test]
fn only_services_change_dead_letters_over_http() -> Result<()> {
    let program = Program::start()?;
    let url = format!(
        "{}/api/events/internal/v1/dead-letters/7/replay",
        program.https()
    );
    let status = |token: &str| {
        let authorization = format!("Authorization: Bearer {token}");
        let anchor = program.anchor().to_string_lossy().into_owned();
        let arguments = [
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            &anchor,
            "-X",
            "POST",
            "-H",
            &authorization,
            &url,
        ];
        crate::support::command::run(&program.scratch(), "curl", &arguments)
    };
    assert_eq!(status("")?, "401");
    assert_eq!(status(&program.token("admin")?)?, "403");
    assert_eq!(status(&program.token("service")?)?, "404");
    Ok(())
}

#[test]
fn a_server_is_found_by_its_data_directory_and_asked_for_its_health() -> Result<()> {
    let mut program = Program::start_on(Options::default(), None)?;
    let data_dir = program.data_dir().to_string_lossy().into_owned();
    let health = |arguments: &[&str]| {
        lamassu(&[&["healthcheck", "--data-dir", &data_dir], arguments].concat())
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    // 1. By its picked port, by the configured port, by an address; HTTPS with its own certificate.
    let http = format!("http://127.0.0.1:{}", program.http_port);
    assert_eq!(said(&health(&[])?), format!("{http} is ready\n"));
    let https = program.https();
    assert_eq!(
        said(&health(&["--url", &https])?),
        format!("{https} is ready\n")
    );
    let elsewhere = program.scratch().join("nothing");
    let configured = Command::new(executable())
        .args(["healthcheck", "--data-dir"])
        .arg(elsewhere)
        .env("LAMASSU__GATEWAY__HTTP_PORT", program.http_port.to_string())
        .output()?;
    assert_eq!(said(&configured), format!("{http} is ready\n"));
    // 2. One that does not answer, killed or stopped, is not ready.
    program.kill()?;
    assert_refused(&health(&[])?, &format!("{http} is not ready"));
    program.restart()?;
    program.stop()?;
    assert!(!program.data_dir().join("listening.json").exists());
    assert_refused(&health(&[])?, "is not ready");
    Ok(())
}

#[test]
fn a_process_with_some_services_is_asked_at_its_port() -> Result<()> {
    let storage = PostgresServer::shared().fresh_schema();
    let options = Options {
        config: Some("server: {port: 0}\ngateway: {metrics: {listen: null}}\n".to_owned()),
        arguments: ["--services", "kms"].map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let program = Program::start_on(options, Some(Box::new(storage)))?;
    let place = format!("http://127.0.0.1:{}", program.https_port);
    let data_dir = program.data_dir().to_string_lossy().into_owned();
    let asked = lamassu(&["healthcheck", "--data-dir", &data_dir])?;
    assert_eq!(
        String::from_utf8(asked.stdout)?,
        format!("{place} is ready\n")
    );
    let configured = Command::new(executable())
        .args([
            "healthcheck",
            "--services",
            "kms",
            "--data-dir",
            "/nonexistent",
        ])
        .env("LAMASSU__SERVER__PORT", program.https_port.to_string())
        .output()?;
    assert_eq!(
        String::from_utf8(configured.stdout)?,
        format!("{place} is ready\n")
    );
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

/// The lock that whoever changes tables holds.
const MIGRATION_LOCK: i64 = 0x006c_616d_6173_7375;

#[test]
fn a_start_that_waits_for_another_process_ends_when_asked() -> Result<()> {
    let server = PostgresServer::start(&["fsync=off"])?;
    let directory = TempDir::new()?;
    let config = directory.path().join("config.yml");
    std::fs::write(&config, storage_block(&server.fresh_schema()))?;
    let locks = |state: &str| -> Option<()> {
        let count =
            format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {state}");
        (server.psql(&count).ok()? == "1").then_some(())
    };
    let hold = format!("SELECT pg_advisory_lock({MIGRATION_LOCK}), pg_sleep(60)");
    std::thread::scope(|scope| {
        // Ends with an error once it is cut off.
        scope.spawn(|| drop(server.psql(&hold)));
        let ended = (|| {
            wait_for("the lock", Duration::from_secs(10), || locks("granted"))?;
            let mut child = Command::new(executable())
                .args(["serve", "--http-port", "0", "--https-port", "0", "--config"])
                .arg(&config)
                .arg("--data-dir")
                .arg(directory.path().join("data"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            wait_for("a start that waits", Duration::from_secs(30), || {
                locks("NOT granted")
            })?;
            let id = child.id().to_string();
            Command::new("kill").args(["-TERM", &id]).status()?;
            let ended = wait_for("the end", Duration::from_secs(5), || {
                child.try_wait().ok().flatten()
            });
            if ended.is_err() {
                child.kill()?;
            }
            ended
        })();
        server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
        )?;
        anyhow::ensure!(ended.context("it did not end")?.success());
        Ok(())
    })
}
