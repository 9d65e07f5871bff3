//! Between processes: HTTPS, and whom a client believes.

use anyhow::Result;
use lamassu_db::PostgresOptions;
use lamassu_testing::{PostgresServer, TlsFiles};

use crate::support::program::{Options, storage_block};
use crate::support::{Api, Program, command};

const NO_METRICS: &str = "gateway: {metrics: {listen: null}}\n";

/// Starts a process that runs some services.
fn start(storage: &PostgresOptions, services: &str, config: &str) -> Result<Program> {
    let options = Options {
        arguments: vec!["--services".to_owned(), services.to_owned()],
        config: Some(format!("{config}{NO_METRICS}{}", storage_block(storage))),
        ..Options::default()
    };
    // The block is in the text already.
    Program::start_on(options, None)
}

/// The block `server` with the certificate for `localhost`, and `more` keys of it.
fn server(files: &TlsFiles, more: &str) -> String {
    format!(
        "server: {{port: 0, protocol: https, cert_file: {}, key_file: {}{more}}}\n",
        files.certificate("server").display(),
        files.key("server").display()
    )
}

/// A `*_client` block of a service at `localhost`, verified against `ca`, and `more` keys of it.
fn client(files: &TlsFiles, service: &str, port: u16, ca: &str, more: &str) -> String {
    format!(
        "{service}_client: {{protocol: https, hostname: localhost, port: {port}, ca_cert_file: {}{more}}}\n",
        files.certificate(ca).display()
    )
}

/// An enrollment, a renewal and a revocation, by the script of the documentation.
fn enroll(front: &Program) -> Result<()> {
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
    anyhow::ensure!(output.contains("== done"), "{output}");
    Ok(())
}

#[test]
fn processes_speak_https_and_name_the_cause_when_a_certificate_is_not_believed() -> Result<()> {
    let files = TlsFiles::make()?;
    let storage = PostgresServer::shared().fresh_schema();
    let to = |service, port| client(&files, service, port, "ca", "");
    let keys = start(&storage, "kms,ca", &server(&files, ""))?;
    let keys_port = keys.https_port;
    let to_keys = to("kms", keys_port) + &to("ca", keys_port);
    let config = format!("{}{to_keys}", server(&files, ""));
    let devices = start(&storage, "devmanager,va", &config)?;
    let devices_port = devices.https_port;
    let to_devices = to("device_manager", devices_port) + &to("va", devices_port);
    let front = start(
        &storage,
        "gateway,dmsmanager",
        &format!("{to_keys}{to_devices}"),
    )?;
    enroll(&front)?;

    // Another CA; another name than the certificate has; and nobody verified, because it is written.
    let by_address = to("device_manager", devices_port).replace("localhost", "127.0.0.1");
    let unverified = client(
        &files,
        "va",
        devices_port,
        "other-ca",
        ", insecure_skip_verify: true",
    );
    let wrong = client(&files, "kms", keys_port, "other-ca", "")
        + &client(&files, "ca", keys_port, "other-ca", "")
        + &to("dms_manager", 1)
        + &by_address
        + &unverified;
    let strange = start(&storage, "gateway", &wrong)?;
    let api = Api::of(&strange)?;
    for (path, cause) in [
        ("ca/v1/cas", "invalid peer certificate: UnknownIssuer"),
        ("devmanager/v1/devices", "certificate not valid for name"),
    ] {
        let answer = api.call("GET", path, None)?;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.body.contains("does not answer"), "{}", answer.body);
        let log = strange.log();
        assert!(log.contains(cause), "{cause}: {log}");
    }
    assert_eq!(api.call("GET", "va/v1/roles", None)?.status, 200);
    assert!(strange.log().contains("insecure_skip_verify is on"));
    assert!(!front.log().contains("insecure_skip_verify"));
    Ok(())
}
