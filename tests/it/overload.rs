//! More requests than the server takes on.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::Program;
use crate::support::program::Options;
use crate::support::socket::{connect, exchange};
use crate::support::wait::wait_for;

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
