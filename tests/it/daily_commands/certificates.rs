//! `lamassu certificates`.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Shell, told, words};
use crate::support::command;
use crate::support::program::executable;

fn told_serial(certificate: &Value) -> Result<String> {
    let serial = certificate["serial_number"].as_str();
    serial.map(str::to_owned).context("no serial number")
}

/// The id of the certificate's key.
fn key_of(shell: &Shell, serial: &str) -> Result<String> {
    let shown = shell.json(&format!("certs show {serial}"))?;
    let key = shown["subject_key_id"].as_str();
    key.map(str::to_owned).context("no key")
}

#[test]
fn certificates_are_issued_renewed_held_and_revoked() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell.csr("d1")?;
    let issued = shell.ok("certificates issue d1.csr --ca plant --out d1.pem --chain")?;
    assert_eq!(told(&issued, "alternative names")?, "d1.plant");
    shell.ok("cas export root --out root.pem")?;
    shell.openssl("verify -CAfile root.pem -untrusted d1.pem d1.pem")?;
    let serial = told(&issued, "serial number")?.to_owned();

    let piped = std::fs::read(shell.program.scratch().join("d1.csr"))?;
    let program = executable().to_string_lossy().into_owned();
    let (data, config) = (
        shell.program.data_dir(),
        shell.program.scratch().join("config.yml"),
    );
    let (data, config) = (data.to_string_lossy(), config.to_string_lossy());
    let words = words("certs issue - --ca plant --out -");
    let mut words: Vec<_> = words.iter().map(String::as_str).collect();
    words.extend(["--data-dir", &data, "--config", &config]);
    let pem = command::run_with_input(&shell.program.scratch(), &program, &words, &piped)?;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    assert!(pem.ends_with("-----END CERTIFICATE-----\n"), "{pem}");

    let said = shell.refused(&format!("certs renew {serial}"), 1)?;
    assert!(said.contains("--csr"), "{said}");
    let renewed = shell.json(&format!("certs renew {serial} --csr d1.csr --revoke-old"))?;
    assert_eq!(renewed["status"], "ACTIVE");
    let old = shell.json(&format!("certs show {serial}"))?;
    assert_eq!(
        (&old["status"], &old["revocation_reason"]),
        (&"REVOKED".into(), &"Superseded".into())
    );

    let own = shell.ok("certs create --ca plant --subject gateway-7 -q")?;
    let shown = shell.json(&format!("certs show {own}"))?;
    let again = shell.json(&format!("certs renew {own}"))?;
    assert_eq!(again["subject_key_id"], shown["subject_key_id"]);
    assert_ne!(again["serial_number"], shown["serial_number"]);

    shell.ok(&format!("certs hold {own}"))?;
    let listed = shell.ok("certs list --ca plant --status revoked --name GATEWAY")?;
    assert!(listed.contains("ON HOLD"), "{listed}");
    assert_eq!(shell.ok("certs list --status on-hold -q")?, own);
    shell.ok("cas hold plant")?;
    assert_eq!(shell.ok("cas list --status on-hold -q")?, "plant");
    shell.ok("cas release plant")?;
    shell.ok(&format!("certs release {own}"))?;
    shell.refused(&format!("certs revoke {own}"), 1)?;
    shell.ok(&format!("certs revoke {own} --reason keycompromise --yes"))?;
    let said = shell.refused(&format!("certs release {own}"), 1)?;
    assert!(said.contains("what is revoked stays so"), "{said}");

    // Whoever else has the key has it in the successor, too, also of another certificate for it.
    let twin = told_serial(&again)?;
    for serial in [own.as_str(), &twin] {
        let said = shell.refused(&format!("certs renew {serial}"), 1)?;
        assert!(said.contains("its key is compromised"), "{said}");
    }
    let renew = format!("certs renew {twin} --ca plant --allow-compromised-key -q");
    let new = shell.ok(&renew)?;
    shell.csr("stolen")?;
    let stolen = shell.ok("certs issue stolen.csr --ca plant -q")?;
    shell.ok(&format!(
        "certs revoke {stolen} --reason KeyCompromise --yes"
    ))?;
    for line in [
        "certs issue stolen.csr --ca plant".to_owned(),
        format!(
            "certs create --ca plant --subject again --key {}",
            key_of(&shell, &own)?
        ),
    ] {
        let said = shell.refused(&line, 1)?;
        assert!(said.contains("its key is compromised"), "{line}: {said}");
        shell.ok(&format!("{line} --allow-compromised-key"))?;
    }
    let said = shell.refused(&format!("certs hold {new} --ca root"), 1)?;
    assert!(said.contains("there is no certificate"), "{said}");
    shell.ok(&format!("certs hold {new} --ca plant"))?;
    let said = shell.refused(
        &format!("certs revoke {own} --reason CertificateHold --yes"),
        2,
    )?;
    assert!(said.contains("hold"), "{said}");

    let soon = shell.ok("certs list --expires-within 100d --san D1.PLANT -q")?;
    assert_eq!(soon.lines().count(), 2, "{soon}");
    assert_eq!(shell.ok("certs list --expires-within 30d -q")?, "");
    Ok(())
}

#[test]
fn a_certificate_is_named_by_its_file_and_taken_in_from_a_bundle() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    shell.csr("d1")?;
    let serial = shell.ok("certs issue d1.csr --ca plant --out d1.pem --chain -q")?;
    shell.openssl("x509 -in d1.pem -outform DER -out d1.der")?;
    for line in [
        "certs show d1.pem -q",
        "certs show d1.der -q",
        "certs hold d1.pem -q",
        "certs release d1.der -q",
        "certs update d1.pem --set a=1 -q",
        "certs revoke d1.pem --yes -q",
    ] {
        assert_eq!(shell.ok(line)?, serial, "{line}");
    }
    assert_eq!(shell.json("certs show d1.pem")?["status"], "REVOKED");
    for (file, says) in [
        (
            "d1.csr",
            "d1.csr is a certification request, not a certificate",
        ),
        (
            "d2.pem",
            "\"d2.pem\" is no serial number, which is hexadecimal, and no file",
        ),
    ] {
        let said = shell.refused(&format!("certs show {file}"), 1)?;
        assert!(said.contains(says), "{said}");
    }

    // Certificates of others. It is the very one that is meant, not another one with its serial number.
    for name in ["one", "two"] {
        shell.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -subj /CN={name} \
             -set_serial 7 -days 30 -out {name}.pem"
        ))?;
    }
    let said = shell.refused("certs show one.pem", 1)?;
    assert!(said.contains("there is no certificate \"07\""), "{said}");
    for (end, form) in [("pem", "PEM"), ("der", "DER")] {
        shell.openssl(&format!(
            "crl2pkcs7 -nocrl -certfile one.pem -certfile two.pem -outform {form} -out both.p7b.{end}"
        ))?;
        let said = shell.refused(&format!("certs import both.p7b.{end}"), 1)?;
        assert!(
            said.contains("holds 2 certificates in no order: --all"),
            "{said}"
        );
    }
    let imported = shell.ok("certs import both.p7b.pem --all --set from=others -q")?;
    assert_eq!(imported, "07\n07");
    // An import that ended within a bundle is repeated.
    shell.ok("certs import both.p7b.pem --all")?;
    for name in ["one", "two"] {
        let shown = shell.json(&format!("certs show {name}.pem"))?;
        assert_eq!(shown["subject"]["common_name"], name);
        assert_eq!(shown["metadata"]["from"], "others");
    }
    shell.openssl("crl2pkcs7 -nocrl -outform DER -out empty.p7b")?;
    let said = shell.refused("certs import empty.p7b", 1)?;
    assert!(said.contains("empty.p7b"), "{said}");
    Ok(())
}

#[test]
fn many_certificates_are_revoked_at_once() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    let key = shell.ok("keys create --name shared -q")?;
    for n in 0..6 {
        shell.ok(&format!(
            "certs create --ca plant --subject line-{n} --key {key}"
        ))?;
    }
    let some = shell.run("certs list --ca plant --limit 4")?;
    assert_eq!(String::from_utf8(some.stdout)?.lines().count(), 5);
    assert!(String::from_utf8(some.stderr)?.contains("--all"));
    let all =
        shell.ok("certs list --ca plant --all --sort subject.common_name --descending --json")?;
    let all: Vec<Value> = serde_json::from_str(&all)?;
    let names: Vec<_> = all
        .iter()
        .map(|one| one["subject"]["common_name"].as_str())
        .collect();
    assert_eq!(names.first(), Some(&Some("line-5")));
    assert_eq!(names.len(), 6);

    let said = shell.refused("certs bulk-revoke --yes", 1)?;
    assert!(said.contains("--ca"), "{said}");
    let said = shell.refused(
        "certs bulk-revoke --filter 'subjct.common_name[equal]line-1' --yes",
        1,
    )?;
    assert!(said.contains("did you mean subject.common_name?"), "{said}");
    let job = shell.json(
        "certs bulk-revoke --ca plant --filter 'subject.common_name[in]line-1,line-3' --yes \
         --reason CessationOfOperation",
    )?;
    assert_eq!(
        (&job["status"], &job["total"], &job["done"]),
        (&"DONE".into(), &2.into(), &2.into())
    );
    let id = job["id"].as_str().context("an id")?;
    assert_eq!(shell.ok("certs jobs -q")?, id);
    shell.ok(&format!("certs job {id} --wait"))?;
    assert_eq!(
        told(&shell.ok("cas stats plant")?, "by status")?,
        "ACTIVE 4, EXPIRED 0, REVOKED 2"
    );
    Ok(())
}

#[test]
fn certificates_have_alternative_names_and_are_found_by_what_tools_print() -> Result<()> {
    let shell = Shell::start()?;
    shell.plant()?;
    let made = shell.ok(
        "certs create --ca plant --subject gateway-7 --dns gateway-7.plant --ip 192.0.2.7 --ip 2001:db8::7 \
         --email ops@plant.example --uri https://plant.example/7 --out g.pem",
    )?;
    let serial = told(&made, "serial number")?;
    let names =
        "gateway-7.plant, 192.0.2.7, 2001:db8::7, ops@plant.example, https://plant.example/7";
    assert_eq!(told(&made, "alternative names")?, names);
    let renewed = shell.ok(&format!("certs renew {serial}"))?;
    assert_eq!(told(&renewed, "alternative names")?, names);

    let said = shell.openssl("x509 -in g.pem -noout -serial -fingerprint -sha256")?;
    let value = |name: &str| {
        let line = said
            .lines()
            .find(|line| line.to_lowercase().starts_with(name));
        line.and_then(|line| line.split_once('='))
            .map(|(_, value)| value.to_owned())
    };
    let digest = value("sha256 fingerprint").context(said.clone())?;
    let plain = digest.replace(':', "").to_lowercase();
    assert_eq!(told(&made, "SHA-256")?, plain);
    for filter in [
        format!("fingerprint[equal]{digest}"),
        format!("fingerprint[contains]{}", digest.split_at(29).0),
        format!(
            "serial_number[equal]00:{}",
            value("serial").context(said.clone())?
        ),
    ] {
        let found = shell.ok(&format!("certs list -q --filter '{filter}'"))?;
        assert_eq!(found, serial, "{filter}");
    }

    shell.ok("profiles create --name Plain --validity 1d --honor-subject")?;
    let plain = shell.run("certs create --ca plant --subject x --dns x.plant --profile Plain")?;
    let said = String::from_utf8(plain.stderr)?;
    assert!(
        plain.status.success() && said.contains("alternative names are not in it"),
        "{said}"
    );
    Ok(())
}
