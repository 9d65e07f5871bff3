//! Services apart: three processes on one PostgreSQL database.

use anyhow::Result;
use lamassu_testing::PostgresServer;
use serde_json::json;

use crate::support::program::{Options, storage_block};
use crate::support::{Api, Program, command};

/// The lines of a configuration by which processes find each other.
fn clients(keys: u16, devices: u16) -> String {
    let at = |port: u16| format!("{{protocol: http, hostname: 127.0.0.1, port: {port}}}");
    format!(
        "kms_client: {0}\nca_client: {0}\ndevice_manager_client: {1}\nva_client: {1}\n\
         gateway: {{metrics: {{listen: null}}}}\n",
        at(keys),
        at(devices)
    )
}

#[test]
fn the_example_script_passes_over_three_processes() -> Result<()> {
    let storage = Box::new(PostgresServer::shared().fresh_schema());
    let block = storage_block(&storage);
    let start = |services: &str, config: String| {
        let options = Options {
            arguments: vec!["--services".to_owned(), services.to_owned()],
            config: Some(format!("{config}{block}")),
            ..Options::default()
        };
        // The block is in the text already.
        Program::start_on(options, None)
    };
    let listen = "server: {port: 0}\ngateway: {metrics: {listen: null}}\n";
    let keys = start("kms,ca", listen.to_owned())?;
    let to_keys = clients(keys.https_port, 1).replace("gateway: {metrics: {listen: null}}\n", "");
    let devices = start("devmanager,va", format!("{listen}{to_keys}"))?;
    let config = clients(keys.https_port, devices.https_port);
    let front = start("gateway,dmsmanager", config)?;

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
    let api = Api::of(&front)?;
    let profile = json!({"name": "Audited", "validity": {"type": "Duration", "duration": "90d"}});
    api.ok("POST", "ca/v1/profiles", Some(&profile))?;
    let who = format!(
        "SELECT principal FROM {}.audit_log WHERE operation LIKE '%profile%' ORDER BY id DESC LIMIT 1",
        storage.schema
    );
    assert_eq!(PostgresServer::shared().psql(&who)?, "admin");

    // A service that is away is said to be, while the others go on.
    drop(devices);
    let answer = api.call("GET", "devmanager/v1/devices", None)?;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("does not answer"), "{}", answer.body);
    assert_eq!(api.call("GET", "ca/v1/cas", None)?.status, 200);
    Ok(())
}
