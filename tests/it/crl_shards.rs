//! CRLs in shards: every certificate leads to the list of its own shard, and openssl takes no other one
//! for it; in one process, and with CA service and validation authority apart.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lamassu_db::PostgresOptions;
use lamassu_testing::PostgresServer;
use serde_json::json;

use crate::support::forward::Forward;
use crate::support::plant::{DeviceKey, pem};
use crate::support::program::{Options, executable};
use crate::support::wait::wait_for;
use crate::support::{Plant, Program, command};

/// Where a certificate says that its CRL is.
fn address(plant: &Plant, name: &str) -> Result<String> {
    let text = plant.openssl(&format!(
        "x509 -in {name}.pem -noout -ext crlDistributionPoints"
    ))?;
    let uri = text.split("URI:").nth(1).context("an address")?;
    Ok(uri.trim().to_owned())
}

/// Fetches the list that a certificate names into `name.crl`; its text.
fn fetched(plant: &Plant, name: &str) -> Result<String> {
    let url = address(plant, name)?;
    let out = format!("{name}.crl.der");
    command::run(
        &plant.directory,
        "curl",
        &["-sS", "--fail-with-body", &url, "-o", &out],
    )?;
    plant.openssl(&format!("crl -inform DER -in {out} -out {name}.crl -text"))?;
    plant.read(&format!("{name}.crl"))
}

/// What openssl says of a certificate by a list.
fn verified(plant: &Plant, name: &str, list: &str) -> Result<String> {
    let line = format!(
        "verify -crl_check -CAfile root.pem -untrusted fleet.pem -CRLfile {list}.crl {name}.pem"
    );
    let arguments: Vec<&str> = line.split(' ').collect();
    let output = command::output_with_input(&plant.directory, "openssl", &arguments, b"")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// On one database of its own where it has one, and then apart.
fn story(storage: Option<Box<PostgresOptions>>) -> Result<()> {
    let forward = Forward::listen()?;
    let config = format!(
        "gateway: {{metrics: {{listen: null}}}}\nva_server_domains: [\"localhost:{}/api/va\"]\n",
        forward.port
    );
    let options = Options {
        config: Some(config),
        apart: storage.is_some(),
        ..Options::default()
    };
    let program = match storage {
        Some(storage) => Program::start_on(options, Some(storage))?,
        None => Program::start_with(options)?,
    };
    forward.to(program.http_port);
    let plant = Plant::set_up(&program)?;
    let profile = plant.api.ok("GET", "ca/v1/cas/issuing", None)?["profile_id"].clone();
    let fleet = json!({"id": "fleet", "parent_id": "root", "profile_id": profile,
        "subject": {"common_name": "Fleet"}, "key_metadata": {"type": "ECDSA", "bits": 256},
        "ca_expiration": {"type": "Duration", "duration": "5y"}, "crl_shards": 8});
    let fleet = plant.api.ok("POST", "ca/v1/cas", Some(&fleet))?;
    assert_eq!(fleet["crl_shards"], 8);
    plant.write("fleet.pem", &pem(&fleet["certificate"])?)?;
    plant.key_and_csr("lost", DeviceKey::P256)?;
    plant.sign("fleet", "lost", &json!({}))?;
    plant.key_and_csr("good", DeviceKey::P256)?;
    for _ in 0..100 {
        plant.sign("fleet", "good", &json!({}))?;
        if address(&plant, "good")? != address(&plant, "lost")? {
            break;
        }
    }
    let serial = plant.serial("lost")?;
    assert!(!fetched(&plant, "lost")?.contains(&serial));
    plant.revoke(&serial.to_lowercase(), "KeyCompromise")?;
    wait_for("its list to hold it", Duration::from_secs(10), || {
        fetched(&plant, "lost")
            .ok()?
            .contains(&serial)
            .then_some(())
    })?;
    let text = fetched(&plant, "good")?;
    assert!(!text.contains(&serial), "{text}");
    let scope = address(&plant, "good")?;
    assert!(
        text.contains("Issuing Distribution Point: critical"),
        "{text}"
    );
    assert!(text.contains(&format!("URI:{scope}")), "{text}");

    let said = verified(&plant, "lost", "lost")?;
    assert!(said.contains("certificate revoked"), "{said}");
    let said = verified(&plant, "good", "good")?;
    assert!(said.contains("good.pem: OK"), "{said}");
    for (name, list) in [("good", "lost"), ("lost", "good")] {
        let said = verified(&plant, name, list)?;
        assert!(said.contains("different CRL scope"), "{said}");
    }
    // Our own relying party follows the address in the certificate.
    for (name, word) in [("lost", "revoked"), ("good", "good")] {
        let line = [
            "crl",
            "check",
            &format!("{name}.pem"),
            "--issuer",
            "fleet.pem",
            "-q",
        ];
        let program = executable().to_string_lossy().into_owned();
        let output = command::output_with_input(&plant.directory, &program, &line, b"")?;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), word);
    }
    Ok(())
}

#[test]
fn a_certificate_leads_to_the_list_of_its_shard() -> Result<()> {
    story(None)
}

#[test]
fn shards_are_the_same_for_services_apart() -> Result<()> {
    let schema = PostgresServer::shared().fresh_schema();
    story(Some(Box::new(schema)))
}
