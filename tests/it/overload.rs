//! More requests than the server takes on.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::program::Options;
use crate::support::socket::{connect, exchange};
use crate::support::wait::wait_for;
use crate::support::{Plant, Program};

#[test]
fn a_saturated_server_says_when_to_come_back_and_stays_alive() -> Result<()> {
    let program = Program::start_with(Options {
        config: Some("requests: {max_in_progress: 1, max_waiting: 0}\n".to_owned()),
        ..Options::default()
    })?;
    let token = program.token("admin")?;
    // A slow key holds the one place while the others come.
    let body = json!({"algorithm": "RSA", "size": 4096, "name": "slow"}).to_string();
    let create = format!(
        "POST /api/kms/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut streams = (0..4)
        .map(|_| connect(program.https_port, None))
        .collect::<Result<Vec<_>>>()?;
    let answers = std::thread::scope(|scope| {
        let asking: Vec<_> = streams
            .iter_mut()
            .map(|stream| scope.spawn(|| exchange(stream, create.as_bytes())))
            .collect();
        let mut live = connect(program.https_port, None)?;
        let alive = exchange(
            &mut live,
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        assert!(alive.starts_with(b"HTTP/1.1 200"));
        asking
            .into_iter()
            .map(|asked| {
                let answer = asked.join().expect("a client")?;
                Ok(String::from_utf8_lossy(&answer).into_owned())
            })
            .collect::<Result<Vec<String>>>()
    })?;
    let (made, refused): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.starts_with("HTTP/1.1 201"));
    assert!(!made.is_empty(), "{answers:?}");
    assert!(!refused.is_empty(), "{answers:?}");
    for answer in refused {
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 2\r\n"), "{answer}");
        assert!(
            answer.ends_with(r#"{"err":"too many requests in progress"}"#),
            "{answer}"
        );
    }
    Ok(())
}

/// A body that is still arriving fills what bodies may take; then others are refused, however short,
/// until it is given up.
#[test]
fn bodies_that_arrive_take_no_more_memory_than_they_may() -> Result<()> {
    const LONGEST: usize = 10 * 1024 * 1024;
    let program = Program::start_with(Options {
        config: Some(format!("requests: {{max_held_body_bytes: {LONGEST}}}\n")),
        ..Options::default()
    })?;
    let token = program.token("admin")?;
    let head = |length: usize| {
        format!(
            "POST /api/kms/v1/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let body = "[".repeat(64);
    let short = format!("{}{body}", head(body.len()));
    let ask = || -> Result<String> {
        let mut stream = connect(program.https_port, None)?;
        let answer = exchange(&mut stream, short.as_bytes())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ensure!(ask()?.starts_with("HTTP/1.1 400"), "{}", ask()?);

    let mut slow = connect(program.https_port, None)?;
    slow.write_all(head(LONGEST).as_bytes())?;
    slow.write_all(&vec![b' '; LONGEST - 1])?;
    slow.flush()?;
    let patience = Duration::from_secs(25);
    let refused = wait_for("a refusal", patience, || {
        let answer = ask().ok()?;
        answer.starts_with("HTTP/1.1 503").then_some(answer)
    })?;
    ensure!(refused.contains("\r\nRetry-After: 2\r\n"), "{refused}");
    drop(slow);
    wait_for("an answer", patience, || {
        ask().ok()?.starts_with("HTTP/1.1 400").then_some(())
    })
}

/// One address in a loop is told to wait: at EST, and for OCSP answers and CRLs together. Everybody else
/// is answered meanwhile.
#[test]
fn one_address_has_its_share_of_est_ocsp_and_crls() -> Result<()> {
    let program = Program::start_with(Options {
        config: Some(
            "est: {rate_limit: 1}\nrequests: {max_validations_per_second: 1}\n\
             gateway:\n  forwarded_client_certificate: {trusted_proxies: [127.0.0.0/8], formats: [envoy]}\n"
                .to_owned(),
        ),
        ..Options::default()
    })?;
    let plant = Plant::set_up(&program)?;
    let answer = |line: &str, address: &str| -> Result<String> {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: {address}\r\n\
             Content-Type: application/ocsp-request\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = exchange(&mut connect(program.https_port, None)?, request.as_bytes())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let cacerts = "GET /.well-known/est/line/cacerts";
    let crl = format!("GET /api/va/crl/{}", plant.issuing_ski);
    let ocsp = "POST /api/va/ocsp";
    // OCSP and CRLs have one allowance: what the one has used up, the other has not.
    for (first, second, address) in [
        (cacerts, cacerts, "203.0.113.1"),
        (crl.as_str(), ocsp, "203.0.113.2"),
        (ocsp, crl.as_str(), "203.0.113.3"),
    ] {
        let before = answer(first, address)?;
        ensure!(before.starts_with("HTTP/1.1 200"), "{first}: {before}");
        wait_for("a refusal", Duration::from_secs(30), || {
            let refused = answer(second, address).ok()?;
            refused.starts_with("HTTP/1.1 429").then_some(refused)
        })
        .and_then(|refused| {
            ensure!(refused.contains("\r\nRetry-After: "), "{refused}");
            Ok(())
        })?;
        let other = answer(second, "203.0.113.200")?;
        ensure!(other.starts_with("HTTP/1.1 200"), "{second}: {other}");
    }
    Ok(())
}
