//! A server whose key files are elsewhere.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::support::Plant;
use crate::support::command;
use crate::support::plant::DeviceKey;
use crate::support::program::{Options, Program};
use crate::support::wait::wait_for;

/// How long it may take until files that were put back are noticed: a look, and what readiness keeps.
const NOTICED: Duration = Duration::from_secs(80);

fn get(program: &Program, url: &str) -> Result<String> {
    command::run(&program.scratch(), "curl", &["-sS", url])
}

#[test]
fn keys_without_files_are_told_of_before_somebody_needs_them() -> Result<()> {
    let options = Options {
        config: Some("gateway: {metrics: {listen: \"127.0.0.1:0\"}}\n".to_owned()),
        ..Options::default()
    };
    let mut program = Program::start_with(options)?;
    let mut plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    let readyz = |program: &Program| get(program, &format!("{}/readyz", program.http()));
    let metric = |program: &Program| -> Result<String> {
        let text = get(program, &program.metrics()?)?;
        let found = text
            .lines()
            .find(|line| line.starts_with("lamassu_kms_keys_missing{"));
        Ok(found.unwrap_or_default().to_owned())
    };
    // 1. All of them are elsewhere: it says so, and is not ready.
    let keys = program.data_dir().join("keys");
    let elsewhere = program.scratch().join("elsewhere");
    assert!(program.stop()?.success());
    std::fs::rename(&keys, &elsewhere)?;
    program.restart()?;
    plant.api = crate::support::Api::of(&program)?;
    let told = readyz(&program)?;
    assert!(
        told.contains("it has none of the keys that the database knows"),
        "{told}"
    );
    let log = program.log();
    let warning = log.lines().rfind(|line| line.contains("keys missing"));
    let warning = warning.context(log.clone())?;
    for part in ["WARN", "filesystem-1", "missing=2", "keys=2"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(warning.contains(&*keys.to_string_lossy()), "{warning}");
    assert!(metric(&program)?.ends_with(" 2"), "{}", metric(&program)?);
    // 2. A signature that fails names engine and directory, and clients see what they always saw.
    let refused = plant.sign("issuing", "device", &json!({})).unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("KMS sign operation failed: the key cannot be used"),
        "{refused}"
    );
    let log = program.log();
    let failed = log.lines().rfind(|line| line.contains("request failed"));
    let failed = failed.context(log.clone())?;
    let cause = "engine filesystem-1 gives no key ";
    assert!(
        failed.contains(cause) && failed.contains(&*keys.to_string_lossy()),
        "{failed}"
    );
    // 3. One is there: it works, and the other is still told.
    let mut files = std::fs::read_dir(&elsewhere)?;
    let first = files.next().context("a key")??;
    std::fs::copy(first.path(), keys.join(first.file_name()))?;
    wait_for("readiness", NOTICED, || {
        readyz(&program)
            .ok()?
            .contains("\"ready\":true")
            .then_some(())
    })?;
    assert!(metric(&program)?.ends_with(" 1"), "{}", metric(&program)?);
    let second = files.next().context("another key")??;
    std::fs::copy(second.path(), keys.join(second.file_name()))?;
    wait_for("both keys", NOTICED, || {
        metric(&program).ok()?.ends_with(" 0").then_some(())
    })?;
    plant.sign("issuing", "device", &json!({}))?;
    Ok(())
}
