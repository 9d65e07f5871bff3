//! What a revocation does everywhere: OCSP, CRL, the device, and EST.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::support::plant::DeviceKey;
use crate::support::wait::wait_for;
use crate::support::{Plant, Program, command};

/// Whether the issuing CA's CRL holds a serial number.
fn crl_holds(plant: &Plant, serial: &str) -> Result<bool> {
    let url = format!("{}/crl/{}", plant.va, plant.issuing_ski);
    command::run(
        &plant.directory,
        "curl",
        &["-sS", "--fail-with-body", &url, "-o", "issuing.crl"],
    )?;
    let verified = command::output_with_input(
        &plant.directory,
        "openssl",
        &[
            "crl",
            "-inform",
            "DER",
            "-in",
            "issuing.crl",
            "-CAfile",
            "issuing.pem",
            "-noout",
        ],
        b"",
    )?;
    assert!(String::from_utf8_lossy(&verified.stderr).contains("verify OK"));
    let text = plant.openssl("crl -inform DER -in issuing.crl -noout -text")?;
    Ok(text.contains(&format!("Serial Number: {serial}")))
}

fn device_status(plant: &Plant, device: &str) -> Option<String> {
    let answer = plant
        .api
        .call("GET", &format!("devmanager/v1/devices/{device}"), None)
        .ok()?;
    answer.json()["status"].as_str().map(str::to_owned)
}

#[test]
fn a_hold_is_seen_everywhere_and_so_is_its_release() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    plant.est_ok("simpleenroll", "device", "bootstrap", "device")?;
    let serial = plant.serial("device")?;
    assert_eq!(plant.ocsp("device")?, "good");
    assert!(!crl_holds(&plant, &serial)?);
    assert_eq!(device_status(&plant, "device").as_deref(), Some("ACTIVE"));

    plant.revoke(&serial, "CertificateHold")?;
    assert_eq!(plant.ocsp("device")?, "revoked");
    wait_for("the CRL to hold it", Duration::from_secs(10), || {
        crl_holds(&plant, &serial).ok()?.then_some(())
    })?;
    wait_for("the device to be REVOKED", Duration::from_secs(5), || {
        (device_status(&plant, "device")? == "REVOKED").then_some(())
    })?;
    let answer = plant.est("simplereenroll", "device", Some("device"), &[])?;
    assert_eq!(
        (answer.status, answer.json()["err"].as_str()),
        (403, Some("certificate is revoked"))
    );

    let release = json!({"status": "ACTIVE"});
    plant.api.ok(
        "PUT",
        &format!("ca/v1/certificates/{serial}/status"),
        Some(&release),
    )?;
    assert_eq!(plant.ocsp("device")?, "good");
    wait_for("the CRL to forget it", Duration::from_secs(10), || {
        (!crl_holds(&plant, &serial).ok()?).then_some(())
    })?;
    wait_for("the device to be ACTIVE", Duration::from_secs(5), || {
        (device_status(&plant, "device")? == "ACTIVE").then_some(())
    })?;
    assert_eq!(
        plant
            .est("simplereenroll", "device", Some("device"), &[])?
            .status,
        200
    );
    Ok(())
}

#[test]
fn a_lost_answer_is_given_again_for_the_same_renewal() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    plant.est_ok("simpleenroll", "device", "bootstrap", "device")?;
    plant.est_ok("simplereenroll", "device", "device", "renewed")?;
    // The certificate that was just superseded and revoked asks with the same request.
    plant.est_ok("simplereenroll", "device", "device", "again")?;
    assert_eq!(plant.serial("renewed")?, plant.serial("again")?);
    // Another request with it is refused.
    plant.csr("device", "/CN=device")?;
    let answer = plant.est("simplereenroll", "device", Some("device"), &[])?;
    assert_eq!(
        (answer.status, answer.json()["err"].as_str()),
        (403, Some("certificate is revoked"))
    );
    Ok(())
}
