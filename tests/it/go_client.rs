//! A client in Go, as those of the reference are: its standard library reads every list and element into structs with
//! strict types, every certificate and CRL, and enrolls by EST over mutual TLS.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::support::{Plant, Program};

/// The directory of `go`: `LAMASSU_TEST_GO`, or one on `PATH`.
fn go() -> PathBuf {
    let from_variable = std::env::var_os("LAMASSU_TEST_GO").map(PathBuf::from);
    let directory = from_variable.filter(|directory| directory.join("go").is_file());
    directory.map_or_else(|| "go".into(), |directory| directory.join("go"))
}

#[test]
fn go_reads_what_is_answered_and_enrolls() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    populate(&plant)?;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/it/go_client/main.go");
    let output = Command::new(go())
        .current_dir(&plant.directory)
        .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go-cache"))
        .env("GOTOOLCHAIN", "local")
        .args(["run", source, &program.https(), &plant.anchor])
        .args([&program.token("admin")?, "bootstrap.pem", "bootstrap.key"])
        .arg("issuing.pem")
        .output()
        .context("go is neither in LAMASSU_TEST_GO nor on PATH: `make test` installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        program.log()
    );
    for line in [
        "/api/kms/v1/keys 9",
        "/api/ca/v1/cas 8",
        "/api/ca/v1/certificates 11",
        "/api/ca/v1/profiles 1",
        "/api/devmanager/v1/devices 2",
        "/api/devmanager/v1/device-groups 1",
        "/api/dmsmanager/v1/dms 2",
    ] {
        assert!(said.lines().any(|told| told == line), "{line} in {said}");
    }
    Ok(())
}

/// CAs of every kind of key, and what has members of every type.
fn populate(plant: &Plant) -> Result<()> {
    let issuing = plant.api.ok("GET", "ca/v1/cas/issuing", None)?;
    for (kind, bits) in [
        ("RSA", 2048),
        ("ECDSA", 224),
        ("ECDSA", 384),
        ("ECDSA", 521),
        ("Ed25519", 256),
        ("ML-DSA", 65),
    ] {
        let id = format!("{kind}-{bits}");
        let ca = json!({"id": id, "profile_id": issuing["profile_id"], "metadata": {"n": 1.5},
            "subject": {"common_name": id}, "key_metadata": {"type": kind, "bits": bits},
            "ca_expiration": {"type": "Time", "time": "9999-12-31T23:59:59Z"}});
        plant.api.ok("POST", "ca/v1/cas", Some(&ca))?;
    }
    let key = json!({"algorithm": "RSA", "size": 2048, "name": "k", "tags": ["t"],
        "metadata": {"nested": {"list": [1, null, true]}}});
    plant.api.ok("POST", "kms/v1/keys", Some(&key))?;
    let webhook = json!({"auth_mode": "EXTERNAL_WEBHOOK", "external_webhook_settings": {
        "name": "w", "url": "https://hooks.example/v", "method": "POST",
        "config": {"auth_mode": "apikey", "call_timeout": "5s",
            "apikey": {"key": "hush", "header": "X"}}}});
    plant.create_dms("hook", &crate::support::plant::dms_settings(&webhook))?;
    let group = json!({"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "name": "lines",
        "criteria": [{"field": "tags", "operand": "contains", "value": "line"}]});
    plant
        .api
        .ok("POST", "devmanager/v1/device-groups", Some(&group))?;
    let device = json!({"id": "unborn", "dms_id": "line"});
    plant
        .api
        .ok("POST", "devmanager/v1/devices", Some(&device))?;
    Ok(())
}
