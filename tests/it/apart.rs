//! Services apart: three processes on one PostgreSQL database.

use std::time::Duration;

use anyhow::Result;
use lamassu_db::PostgresOptions;
use lamassu_testing::PostgresServer;
use serde_json::json;

use crate::support::plant::DeviceKey;
use crate::support::program::{Options, lasting_port, storage_block};
use crate::support::wait::wait_for;
use crate::support::{Api, Plant, Program, command};

/// How long a service that is back may go unnoticed.
const NOTICED: Duration = Duration::from_secs(30);

/// The lines of a configuration by which processes find each other.
fn clients(keys: u16, devices: u16) -> String {
    let at = |port: u16| format!("{{protocol: http, hostname: 127.0.0.1, port: {port}}}");
    format!(
        "kms_client: {0}\nca_client: {0}\ndevice_manager_client: {1}\nva_client: {1}\n",
        at(keys),
        at(devices)
    )
}

/// Three processes that know each other's ports.
struct Apart {
    storage: Box<PostgresOptions>,
    keys: Program,
    devices: Program,
    front: Program,
}

impl Apart {
    fn start() -> Result<Self> {
        let storage = Box::new(PostgresServer::shared().fresh_schema());
        let (keys, devices) = (lasting_port()?, lasting_port()?);
        let common = format!(
            "gateway: {{metrics: {{listen: null}}}}\n{}{}",
            clients(keys, devices),
            storage_block(&storage)
        );
        let start = |services: &str, more: &str| {
            let options = Options {
                arguments: vec!["--services".to_owned(), services.to_owned()],
                config: Some(format!("{common}{more}")),
                ..Options::default()
            };
            // The block is in the text already.
            Program::start_on(options, None)
        };
        Ok(Self {
            storage,
            keys: start("kms,ca", &format!("server: {{port: {keys}}}\n"))?,
            devices: start("devmanager,va", &format!("server: {{port: {devices}}}\n"))?,
            front: start("gateway,dmsmanager", "")?,
        })
    }
}

#[test]
fn the_example_script_passes_over_three_processes() -> Result<()> {
    let Apart { storage, front, .. } = &Apart::start()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-device.sh");
    let output = command::run(
        &front.scratch(),
        "env",
        &[
            &format!("LAMASSU_TOKEN={}", front.token("admin")?),
            &format!("LAMASSU_CA={}", front.anchor().display()),
            &format!("LAMASSU_HTTPS={}", front.https()),
            &format!("LAMASSU_HTTP={}", front.http()),
            "sh",
            script,
        ],
    )?;
    assert!(output.contains("== done"), "{output}");

    // Other processes record who asked, and from where.
    let api = Api::of(front)?;
    let profile = json!({"name": "Audited", "validity": {"type": "Duration", "duration": "90d"}});
    api.ok("POST", "ca/v1/profiles", Some(&profile))?;
    let who = format!(
        "SELECT principal FROM {}.audit_log WHERE operation LIKE '%profile%' ORDER BY id DESC LIMIT 1",
        storage.schema
    );
    assert_eq!(PostgresServer::shared().psql(&who)?, "admin");
    Ok(())
}

/// A service that is away is said to be, while the others go on; once it is back they use it without
/// being started anew.
#[test]
fn a_service_that_comes_back_is_used_again() -> Result<()> {
    const DEVICES: (&str, &str) = ("devmanager/v1/devices", "ca/v1/cas");
    const KEYS: (&str, &str) = ("ca/v1/cas", "devmanager/v1/devices");
    let mut apart = Apart::start()?;
    let plant = Plant::set_up(&apart.front)?;
    enroll_and_revoke(&plant, "before")?;

    apart.devices.kill()?;
    only_this_is_away(&plant.api, DEVICES)?;
    apart.devices.restart()?;
    is_used_again(&plant.api, DEVICES.0)?;
    enroll_and_revoke(&plant, "with-devices-again")?;

    apart.keys.kill()?;
    only_this_is_away(&plant.api, KEYS)?;
    apart.keys.restart()?;
    is_used_again(&plant.api, KEYS.0)?;
    // The services of devices and validation ask for CAs themselves.
    enroll_and_revoke(&plant, "with-keys-again")?;
    Ok(())
}

fn only_this_is_away(api: &Api, (away, there): (&str, &str)) -> Result<()> {
    let answer = api.call("GET", away, None)?;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("does not answer"), "{}", answer.body);
    assert_eq!(api.call("GET", there, None)?.status, 200);
    Ok(())
}

fn is_used_again(api: &Api, path: &str) -> Result<()> {
    wait_for("the service to be used again", NOTICED, || {
        (api.call("GET", path, None).ok()?.status == 200).then_some(())
    })
}

/// What takes all services: a device enrolls, its certificate is good, and then revoked.
fn enroll_and_revoke(plant: &Plant, device: &str) -> Result<()> {
    plant.key_and_csr(device, DeviceKey::P256)?;
    plant.est_ok("simpleenroll", device, "bootstrap", device)?;
    assert_eq!(plant.ocsp(device)?, "good");
    let serial = plant.serial(device)?.to_lowercase();
    plant.revoke(&serial, "KeyCompromise")?;
    assert_eq!(plant.ocsp(device)?, "revoked");
    // Told to the others by events: the registry shows it.
    wait_for("the registry to show the revocation", NOTICED, || {
        let path = format!("devmanager/v1/devices/{device}");
        let device = plant.api.ok("GET", &path, None).ok()?;
        (device["identity"]["status"] == "REVOKED").then_some(())
    })
}
