//! A database that goes away under a running server, and comes back.

use std::time::Duration;

use anyhow::{Result, ensure};
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
