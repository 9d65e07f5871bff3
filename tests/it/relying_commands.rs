//! `lamassu ocsp` and `lamassu crl`: what relying parties are told, and by which exit code.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::forward::Forward;
use crate::support::plant::DeviceKey;
use crate::support::program::{Options, executable};
use crate::support::wait::wait_for;
use crate::support::{Plant, Program};

/// A plant whose certificates say where OCSP, the CRL and the issuer are, with two devices.
fn plant() -> Result<(Program, Plant)> {
    let forward = Forward::listen()?;
    let config = format!(
        "gateway: {{metrics: {{listen: null}}}}\nva_server_domains: [\"localhost:{}/api/va\"]\n",
        forward.port
    );
    let program = Program::start_with(Options {
        config: Some(config),
        ..Options::default()
    })?;
    forward.to(program.http_port);
    let plant = Plant::set_up(&program)?;
    for name in ["one", "two"] {
        plant.key_and_csr(name, DeviceKey::P256)?;
        plant.est_ok("simpleenroll", name, "bootstrap", name)?;
    }
    Ok((program, plant))
}

fn run(plant: &Plant, line: &str) -> Result<Output> {
    let output = Command::new(executable())
        .args(line.split_whitespace())
        .current_dir(&plant.directory)
        .stdin(Stdio::null())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!errors.contains("panicked"), "{errors}");
    Ok(output)
}

/// The word that is printed, and the exit code.
fn status(plant: &Plant, line: &str) -> Result<(String, i32)> {
    let output = run(plant, &format!("{line} -q"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let code = output.status.code().context("an exit code")?;
    ensure!(code != 1, "{}", String::from_utf8_lossy(&output.stderr));
    Ok((said, code))
}

fn refused(plant: &Plant, line: &str) -> Result<String> {
    let output = run(plant, line)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{line}: {errors}");
    ensure!(errors.matches("error:").count() == 1, "{errors}");
    Ok(errors)
}

fn good() -> (String, i32) {
    ("good".to_owned(), 0)
}

fn revoked() -> (String, i32) {
    ("revoked".to_owned(), 3)
}

#[test]
fn ocsp_is_asked_where_the_certificate_says_and_judged() -> Result<()> {
    let (_program, plant) = plant()?;
    // The issuer is fetched where somebody vouches for it, and only then.
    assert_eq!(status(&plant, "ocsp one.pem --ca root.pem")?, good());
    let said = refused(&plant, "ocsp one.pem")?;
    assert!(said.contains("--issuer"), "{said}");
    let with_issuer = "--issuer issuing.pem";
    assert_eq!(
        status(&plant, &format!("ocsp one.pem {with_issuer}"))?,
        good()
    );
    for further in ["--hash sha256", "--fresh", "--no-nonce"] {
        let line = format!("ocsp one.pem {with_issuer} {further}");
        assert_eq!(status(&plant, &line)?, good(), "{line}");
    }
    plant.revoke(&plant.serial("one")?, "KeyCompromise")?;
    assert_eq!(
        status(&plant, &format!("ocsp one.pem {with_issuer} --fresh"))?,
        revoked()
    );
    let output = run(
        &plant,
        &format!("ocsp one.pem {with_issuer} --fresh --json"),
    )?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&"revoked".into(), &"KeyCompromise".into())
    );

    // Another CA answers for nobody else, and one that is not trusted not at all.
    plant.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key \
         -subj /CN=other -out other.pem -days 3",
    )?;
    let said = refused(&plant, "ocsp two.pem --issuer other.pem")?;
    assert!(said.contains("is that of the issuer"), "{said}");
    let said = refused(
        &plant,
        &format!("ocsp two.pem {with_issuer} --ca other.pem"),
    )?;
    assert!(said.contains("not trusted"), "{said}");
    // What the responder never issued is unknown to it.
    plant.openssl("req -new -key two.key -subj /CN=three -out three.csr")?;
    let url = format!("{}/ocsp", plant.va);
    let unknown = format!("ocsp other.pem --issuer other.pem --url {url}");
    let said = refused(&plant, &unknown)?;
    assert!(said.contains("Unauthorized"), "{said}");
    let said = refused(&plant, "ocsp other.pem --issuer other.pem")?;
    assert!(said.contains("--url"), "{said}");
    Ok(())
}

#[test]
fn lists_are_fetched_shown_verified_and_looked_up() -> Result<()> {
    let (program, plant) = plant()?;
    assert_eq!(status(&plant, "crl check one.pem --ca root.pem")?, good());
    plant.revoke(&plant.serial("one")?, "Superseded")?;
    wait_for("the CRL to hold it", Duration::from_secs(10), || {
        let found = status(&plant, "crl check one.pem --issuer issuing.pem").ok()?;
        (found == revoked()).then_some(())
    })?;
    assert_eq!(
        status(&plant, "crl check two.pem --issuer issuing.pem")?,
        good()
    );
    let found_in = |line: &str| -> Result<Value> {
        let told: Value = serde_json::from_slice(&run(&plant, line)?.stdout)?;
        Ok(told["found_in"].clone())
    };
    let line = "crl check one.pem --issuer issuing.pem --json";
    assert_eq!(found_in(line)?, "complete");
    let said = refused(&plant, "crl fetch one.pem --delta --out delta.crl")?;
    assert!(said.contains("names no delta CRL"), "{said}");

    let fetched = run(&plant, "crl fetch one.pem --out issuing.crl")?;
    ensure!(
        fetched.status.success(),
        "{}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    let output = run(&plant, "crl show issuing.crl --entries --json")?;
    let shown: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(shown["n_entries"], 1);
    let serial = plant.serial("one")?.to_lowercase();
    assert_eq!(shown["entries"][0]["serial_number"], serial.as_str());
    assert_eq!(shown["entries"][0]["reason"], "Superseded");
    let output = run(&plant, "crl show issuing.crl --entries")?;
    assert!(String::from_utf8(output.stdout)?.contains(&serial));

    let verified = run(&plant, "crl verify issuing.crl --issuer issuing.pem")?;
    ensure!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    let said = refused(&plant, "crl verify issuing.crl --issuer root.pem")?;
    assert!(said.contains("not of this issuer"), "{said}");
    let from_file = "crl check one.pem --issuer issuing.pem --crl issuing.crl";
    assert_eq!(status(&plant, from_file)?, revoked());

    // A list that was tampered with is none.
    let mut der = std::fs::read(plant.directory.join("issuing.crl"))?;
    if let Some(last) = der.last_mut() {
        *last ^= 1;
    }
    std::fs::write(plant.directory.join("forged.crl"), der)?;
    let said = refused(&plant, "crl verify forged.crl --issuer issuing.pem")?;
    assert!(said.contains("did not sign"), "{said}");
    // A self-made list of openssl, in PEM, outdated.
    plant.openssl("crl -inform DER -in issuing.crl -out issuing.crl.pem")?;
    let shown = run(&plant, "crl show issuing.crl.pem -q")?;
    ensure!(shown.status.success());
    let said = refused(
        &plant,
        "crl fetch --url http://localhost:1/none --out x.crl",
    )?;
    assert!(said.contains("does not answer"), "{said}");

    // Where delta CRLs are made, the complete list alone would call the second one good.
    let role = format!("va/v1/roles/{}", plant.issuing_ski);
    let options = json!({"validity": "1w", "refresh_interval": "6d", "regenerate_on_revoke": true,
        "delta_validity": "1d"});
    plant.api.ok("PUT", &role, Some(&options))?;
    wait_for(
        "the list to name its delta",
        Duration::from_secs(10),
        || {
            let asked = run(&plant, "crl fetch one.pem --out issuing.crl").ok()?;
            let shown = run(&plant, "crl check two.pem --issuer issuing.pem -q").ok()?;
            (asked.status.success() && shown.status.success()).then_some(())
        },
    )?;
    plant.revoke(&plant.serial("two")?, "Superseded")?;
    wait_for("the delta CRL to hold it", Duration::from_secs(10), || {
        let found = status(&plant, "crl check two.pem --issuer issuing.pem").ok()?;
        (found == revoked()).then_some(())
    })?;
    let line = "crl check two.pem --issuer issuing.pem --json";
    assert_eq!(found_in(line)?, "delta");
    // Of the file alone it is said that there may be more.
    let from_file = "crl check two.pem --issuer issuing.pem --crl issuing.crl";
    assert_eq!(status(&plant, from_file)?, good());
    let said = String::from_utf8(run(&plant, from_file)?.stderr)?;
    assert!(said.contains("was not looked at"), "{said}");
    let delta = format!(
        "http://localhost:{}/api/va/crl/{}/delta",
        program.http_port, plant.issuing_ski
    );
    for line in [
        format!("crl fetch --url {delta} --out delta.crl"),
        "crl fetch one.pem --delta --out delta.crl".to_owned(),
    ] {
        run(&plant, &line)?;
        let shown = String::from_utf8(run(&plant, "crl show delta.crl")?.stdout)?;
        assert!(shown.contains("changes since the list number"), "{shown}");
        std::fs::remove_file(plant.directory.join("delta.crl"))?;
    }
    Ok(())
}
