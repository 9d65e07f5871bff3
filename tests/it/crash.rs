//! Killing the process between the two commits of an enrollment loses nothing and leaks nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::support::plant::DeviceKey;
use crate::support::socket::{connect, exchange};
use crate::support::wait::wait_for;
use crate::support::{Api, Plant, Program};

/// Devices that enroll at the same time; each goes on until the server is gone.
const DEVICES: usize = 12;
/// Kills until one has to hit the gap between the commits.
const ROUNDS: usize = 12;

/// Enrolls one new device after the other until the server is gone; gives who got an answer.
fn enroll_until_killed(
    plant: &Plant,
    port: u16,
    round: usize,
    worker: usize,
    stop: &AtomicBool,
) -> Vec<String> {
    let mut answered = Vec::new();
    let base = plant
        .read(&format!("worker-{worker}.csrs"))
        .unwrap_or_default();
    for csr in base
        .split('\n')
        .filter(|csr| csr.starts_with(&format!("{round} ")))
    {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut parts = csr.split(' ').skip(1);
        let (Some(device), Some(body)) = (parts.next(), parts.next()) else {
            continue;
        };
        let Ok(200) = enroll(plant, port, body) else {
            break;
        };
        answered.push(device.to_owned());
    }
    answered
}

fn enroll(plant: &Plant, port: u16, body: &str) -> Result<u16> {
    let chain = vec![CertificateDer::from_pem_file(
        plant.directory.join("bootstrap.pem"),
    )?];
    let key = PrivateKeyDer::from_pem_file(plant.directory.join("bootstrap.key"))?;
    let request = format!(
        "POST /.well-known/est/line/simpleenroll HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/pkcs10\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(&mut connect(port, Some((chain, key)))?, request.as_bytes())?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.split(' ').nth(1).context("no answer")?.parse()?)
}

/// Requests made beforehand, so that the rounds are nothing but enrollments.
fn prepare(plant: &Plant) -> Result<()> {
    plant.key_and_csr("fleet", DeviceKey::P256)?;
    for worker in 0..DEVICES {
        let mut lines = String::new();
        for round in 0..ROUNDS {
            for n in 0..4 {
                let device = format!("device-{round}-{worker}-{n}");
                plant.csr("fleet", &format!("/CN={device}"))?;
                let csr: String = plant
                    .read("fleet.csr")?
                    .lines()
                    .filter(|line| !line.starts_with("-----"))
                    .collect();
                lines.push_str(&format!("{round} {device} {csr}\n"));
            }
        }
        plant.write(&format!("worker-{worker}.csrs"), &lines)?;
    }
    Ok(())
}

/// Everything of a list, page by page.
fn all(api: &Api, path: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut bookmark = String::new();
    loop {
        let page = api.ok(
            "GET",
            &format!("{path}?page_size=500&bookmark={bookmark}"),
            None,
        )?;
        items.extend(page["list"].as_array().context("a list")?.iter().cloned());
        bookmark = page["next"].as_str().unwrap_or_default().to_owned();
        if bookmark.is_empty() {
            return Ok(items);
        }
    }
}

#[test]
fn an_enrollment_cut_between_its_commits_is_undone_and_can_be_repeated() -> Result<()> {
    let mut program = Program::start()?;
    let mut plant = Plant::set_up(&program)?;
    prepare(&plant)?;
    let mut answered: Vec<String> = Vec::new();
    let mut undone = Vec::new();
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let port = program.https_port;
        std::thread::scope(|scope| -> Result<()> {
            let workers: Vec<_> = (0..DEVICES)
                .map(|worker| {
                    scope.spawn({
                        let (plant, stop) = (&plant, &stop);
                        move || enroll_until_killed(plant, port, round, worker, stop)
                    })
                })
                .collect();
            let before = program
                .log()
                .matches("certificate issued for enrollment")
                .count();
            wait_for(
                "enrollments to be under way",
                Duration::from_secs(20),
                || {
                    (program
                        .log()
                        .matches("certificate issued for enrollment")
                        .count()
                        > before + round % 4)
                        .then_some(())
                },
            )?;
            program.kill()?;
            stop.store(true, Ordering::Relaxed);
            for worker in workers {
                answered.extend(worker.join().unwrap_or_default());
            }
            Ok(())
        })?;
        program.kill_and_restart()?;
        plant.api = Api::of(&program)?;
        undone = swept(&plant.api)?;
        if !undone.is_empty() {
            break;
        }
    }
    assert!(
        !undone.is_empty(),
        "no kill hit the gap between the commits"
    );
    let devices = devices(&plant.api)?;
    for device in &answered {
        assert!(
            devices.contains_key(device),
            "{device} got a certificate and is not registered"
        );
    }
    // Who lost its certificate asks again and gets one.
    let device = undone.first().context("one")?;
    plant.csr("fleet", &format!("/CN={device}"))?;
    plant.est = format!("{}/.well-known/est/line", program.https());
    let answer = plant.est("simpleenroll", "fleet", Some("bootstrap"), &[])?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Ok(())
}

/// Active serial number by device.
fn devices(api: &Api) -> Result<BTreeMap<String, String>> {
    let mut active = BTreeMap::new();
    for device in all(api, "devmanager/v1/devices")? {
        let slot = &device["identity"];
        let version = slot["active_version"].to_string();
        let serial = slot["versions"][&version].as_str().unwrap_or_default();
        active.insert(
            device["id"].as_str().unwrap_or_default().to_owned(),
            serial.to_owned(),
        );
    }
    Ok(active)
}

/// Waits until every certificate of a device is bound or revoked; gives the devices whose
/// certificate was revoked because nobody received it.
fn swept(api: &Api) -> Result<Vec<String>> {
    wait_for("the sweep", Duration::from_secs(30), || {
        let active = devices(api).ok()?;
        let certificates = all(api, "ca/v1/cas/issuing/certificates").ok()?;
        let mut undone = Vec::new();
        for certificate in certificates {
            let name = certificate["subject"]["common_name"].as_str()?.to_owned();
            if !name.starts_with("device-") {
                continue;
            }
            let bound =
                active.get(&name).map(String::as_str) == certificate["serial_number"].as_str();
            match certificate["status"].as_str()? {
                "REVOKED" if !bound => undone.push(name),
                "ACTIVE" if bound => {}
                _ => return None,
            }
        }
        Some(undone)
    })
}
