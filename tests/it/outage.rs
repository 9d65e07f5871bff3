//! A database that goes away under a running server, and comes back.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use lamassu_testing::PostgresServer;

use crate::support::Program;
use crate::support::program::Options;
use crate::support::socket::{connect, exchange};
use crate::support::wait::wait_for;

#[test]
fn an_outage_is_told_once_at_its_beginning_and_once_at_its_end() -> Result<()> {
    let server = PostgresServer::start(&["fsync=off"])?;
    let storage = Some(Box::new(server.fresh_schema()));
    let program = Program::start_on(Options::default(), storage)?;
    let token = program.token("admin")?;
    let get = |path: &str| -> Result<String> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        let mut stream = connect(program.https_port, None)?;
        let answer = exchange(&mut stream, request.as_bytes())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answers = |path: &str, status: &str| {
        let answer = get(path).ok()?;
        answer.starts_with(status).then_some(answer)
    };

    server.crash()?;
    let patience = Duration::from_secs(60);
    let unready = wait_for("an unready server", patience, || {
        answers("/readyz", "HTTP/1.1 503")
    })?;
    ensure!(unready.contains("\r\nRetry-After: 5\r\n"), "{unready}");
    for _ in 0..5 {
        let refused = get("/api/kms/v1/keys")?;
        ensure!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    }
    server.resume()?;
    wait_for("a ready server", patience, || {
        answers("/readyz", "HTTP/1.1 200")
    })?;
    for _ in 0..5 {
        let listed = get("/api/kms/v1/keys")?;
        ensure!(listed.starts_with("HTTP/1.1 200"), "{listed}");
    }

    let log = program.log();
    let lines = |text: &str| {
        log.lines()
            .filter(|line| line.contains(text) && line.contains("reading"))
            .count()
    };
    ensure!(lines("database went away") == 1, "{log}");
    ensure!(lines("database reachable again") == 1, "{log}");
    // Nothing else is loud: not the requests and jobs that met it, nor the broken connections.
    let loud: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .filter(|line| !line.contains("database went away") && !line.contains("fsync=off"))
        .collect();
    ensure!(loud.is_empty(), "{loud:#?}");
    Ok(())
}

/// From a file and from the environment; what is wrong is said, and no server starts.
#[test]
fn the_password_of_the_database_is_found_where_it_is_put() -> Result<()> {
    let server = PostgresServer::start(&["fsync=off"])?;
    server.psql("ALTER ROLE lamassu PASSWORD 'correct: horse #1'")?;
    server.set_access(&["host all all 127.0.0.1/32 scram-sha-256"])?;
    let directory = tempfile::TempDir::new()?;
    let file = directory.path().join("password");
    std::fs::write(&file, "correct: horse #1\n")?;
    let storage = Box::new(server.fresh_schema());
    let start = |name: &str, value: OsString| {
        let options = Options {
            environment: vec![(format!("LAMASSU__STORAGE__{name}"), value)],
            ..Options::default()
        };
        Program::start_on(options, Some(storage.clone()))
    };
    for (name, value) in [
        ("PASSWORD", OsString::from("correct: horse #1")),
        ("PASSWORD_FILE", file.into_os_string()),
    ] {
        let program = start(name, value)?;
        let mut stream = connect(program.https_port, None)?;
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(&mut stream, request)?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", program.log());
    }
    let refused = start("PASSWORD", OsString::from("battery staple"));
    let Err(error) = refused else {
        bail!("a wrong password lets in");
    };
    let told = format!("{error:#}");
    ensure!(
        told.contains("the database server refused the login"),
        "{told}"
    );
    ensure!(!told.contains("battery staple"), "{told}");
    Ok(())
}

#[test]
fn a_server_that_starts_before_its_database_says_so_until_it_is_there() -> Result<()> {
    let server = PostgresServer::start(&["fsync=off"])?;
    let storage = Some(Box::new(server.fresh_schema()));
    let mut program = Program::start_on(Options::default(), storage)?;
    let token = program.token("admin")?;
    program.kill()?;
    server.shut_down()?;
    let announced = program.data_dir().join("listening.json");
    std::fs::remove_file(&announced)?;
    program.spawn_one(0)?;
    let patience = Duration::from_secs(60);
    let port = wait_for("the ports", patience, || {
        let text = std::fs::read_to_string(&announced).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
        let https: SocketAddr = ports["https"].as_str()?.parse().ok()?;
        Some(https.port())
    })?;
    let write = || -> Result<String> {
        let body = r#"{"algorithm": "ECDSA", "size": 256, "name": "early"}"#;
        let request = format!(
            "POST /api/kms/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = connect(port, None)?;
        let answer = exchange(&mut stream, request.as_bytes())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    for _ in 0..3 {
        let refused = write()?;
        ensure!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        ensure!(refused.contains("\r\nRetry-After: "), "{refused}");
        ensure!(
            refused.ends_with(r#"{"err":"the server is starting"}"#),
            "{refused}"
        );
    }
    server.resume()?;
    wait_for("a key", patience, || {
        let answer = write().ok()?;
        answer.starts_with("HTTP/1.1 201").then_some(())
    })
}
