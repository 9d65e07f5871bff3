//! Requests made up from the API description, good ones and bad ones: schemathesis finds no answer
//! that the description does not allow, and no failure of the server.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::support::plant::{client_certificate_auth, dms_settings};
use crate::support::{Plant, Program};

/// What an answer must be. That bad requests are refused is not among it: v1 reads leniently.
const CHECKS: &str = "not_a_failure,status_code_conformance,content_type_conformance,\
     response_schema_conformance";

/// How long it may look for, in seconds.
const SECONDS: &str = "75";

/// What the requests follow from, unless `LAMASSU_TEST_SCHEMATHESIS_SEED` says another number.
const SEED: &str = "1";

/// The program: in `LAMASSU_TEST_SCHEMATHESIS`, or on `PATH`.
fn schemathesis() -> PathBuf {
    let from_variable = std::env::var_os("LAMASSU_TEST_SCHEMATHESIS").map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|directory| directory.join("schemathesis").is_file())
    };
    from_variable
        .or_else(on_path)
        .map(|directory| directory.join("schemathesis"))
        .filter(|program| program.is_file())
        .expect(
            "schemathesis is neither in LAMASSU_TEST_SCHEMATHESIS nor on PATH: `make test` \
             installs it",
        )
}

#[test]
fn made_up_requests_find_no_answer_that_is_not_described() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    // What the examples of the description name.
    plant.create_dms("assembly-line-1", &dms_settings(&client_certificate_auth()))?;
    let issuing = plant.api.ok("GET", "ca/v1/cas/issuing", None)?;
    let root = json!({"id": "factory-root", "profile_id": issuing["profile_id"],
        "subject": {"common_name": "Factory root"},
        "key_metadata": {"type": "ECDSA", "bits": 256},
        "ca_expiration": {"type": "Duration", "duration": "10y"}});
    plant.api.ok("POST", "ca/v1/cas", Some(&root))?;
    let request = json!({"id": "factory-2", "subject": {"common_name": "Factory 2"},
        "key_metadata": {"type": "ECDSA", "bits": 256}});
    plant.api.ok("POST", "ca/v1/cas/requests", Some(&request))?;
    let wanted = json!({"algorithm": "ECDSA", "size": 256});
    let key = plant.api.ok("POST", "kms/v1/keys", Some(&wanted))?;
    let alias = json!({"patches": [{"op": "add", "path": "/-", "value": "sensor-key"}]});
    let aliases = format!(
        "kms/v1/keys/{}/aliases",
        key["key_id"].as_str().unwrap_or_default()
    );
    plant.api.ok("PUT", &aliases, Some(&alias))?;
    let device = json!({"id": "sensor-0001", "dms_id": "assembly-line-1"});
    plant
        .api
        .ok("POST", "devmanager/v1/devices", Some(&device))?;
    let seed = std::env::var("LAMASSU_TEST_SCHEMATHESIS_SEED");
    let seed = seed.unwrap_or_else(|_| SEED.to_owned());
    let output = Command::new(schemathesis())
        .current_dir(&plant.directory)
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/it"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["run", &format!("{}/openapi.json", program.https())])
        .args(["--tls-verify", &plant.anchor, "--checks", CHECKS])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", program.token("admin")?),
        ])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-time",
            SECONDS,
            "--workers",
            "1",
        ])
        .args(["--seed", &seed])
        .args(["--generation-database", "none", "--no-color"])
        .output()
        .context("schemathesis does not run")?;
    assert!(
        output.status.success(),
        "{}{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        program.log()
    );
    Ok(())
}
