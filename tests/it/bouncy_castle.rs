//! EST with Bouncy Castle, the library of most devices that run Java. It reads answers by its own HTTP and MIME
//! readers, over the TLS of the Java platform.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::support::plant::{client_certificate_auth, dms_settings};
use crate::support::program::Options;
use crate::support::{Plant, Program, command};

/// Where Debian puts the library.
const CLASSES: &str =
    "/usr/share/java/bcpkix.jar:/usr/share/java/bcutil.jar:/usr/share/java/bcprov.jar";

/// A plant with the compiled client in its directory, and DMSs that make keys, and that ask somebody.
fn set_up(program: &Program) -> Result<Plant> {
    ensure!(
        CLASSES.split(':').all(|jar| Path::new(jar).is_file()),
        "the Debian package libbcpkix-java is missing: `make test` installs it"
    );
    let plant = Plant::set_up(program)?;
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/it/bouncy_castle/EstClient.java"
    );
    let compile = ["-cp", CLASSES, "-d", ".", source];
    command::run(&plant.directory, "javac", &compile)?;
    plant.openssl(
        "pkcs12 -export -in bootstrap.pem -inkey bootstrap.key -out boot.p12 -passout pass:boot",
    )?;
    let mut settings = dms_settings(&client_certificate_auth());
    settings["server_keygen_settings"] =
        json!({"enabled": true, "key": {"type": "RSA", "bits": 2048}});
    plant.create_dms("made", &settings)?;
    settings["enrollment_settings"]["approval"] = json!("manual");
    plant.create_dms("manual", &settings)?;
    Ok(plant)
}

/// Starts the client.
fn client(program: &Program, plant: &Plant, label: &str, tls: &str, key: &str) -> Result<Child> {
    let server = format!("localhost:{}", program.https_port);
    let classes = format!("{CLASSES}:.");
    let child = Command::new("java")
        .current_dir(&plant.directory)
        .args(["-cp", &classes, "EstClient", &server, label, tls, key])
        .args([&plant.anchor, "boot.p12"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.context("java does not start")
}

#[test]
fn bouncy_castle_does_every_operation_under_both_versions_of_tls() -> Result<()> {
    let program = Program::start()?;
    let plant = set_up(&program)?;
    for tls in ["TLSv1.2", "TLSv1.3"] {
        for key in ["RSA", "P-256", "P-384"] {
            let output = client(&program, &plant, "made", tls, key)?.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            let expected = format!(
                "cacerts 2\ncsrattrs [1.2.840.113549.1.9.14]\nenrolled CN=bc-{key}-{tls}\nrenewed true\n\
                 made 1.2.840.113549.1.1.1 true\n"
            );
            assert_eq!(said, expected, "{tls} {key}: {complained}");
        }
    }
    Ok(())
}

#[test]
fn bouncy_castle_comes_again_for_what_was_approved() -> Result<()> {
    let config = "gateway: {metrics: {listen: null}}\nest: {approval_retry_after: 1s}\n".to_owned();
    let program = Program::start_with(Options {
        config: Some(config),
        ..Options::default()
    })?;
    let plant = set_up(&program)?;
    let mut child = client(&program, &plant, "manual", "TLSv1.3", "P-256")?;
    let mut said = BufReader::new(child.stdout.take().context("output")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    assert_eq!(line, "pending true\n");
    let waiting = plant.api.ok("GET", "dmsmanager/v1/approvals", None)?;
    let waiting = &waiting["list"][0];
    assert_eq!(waiting["requested_by"], "bootstrap");
    let id = waiting["id"].as_str().context("an id")?;
    let path = format!("dmsmanager/v1/approvals/{id}/approve");
    plant.api.ok("POST", &path, Some(&json!({})))?;
    child.stdin.take().context("input")?.write_all(b"\n")?;
    line.clear();
    said.read_line(&mut line)?;
    assert_eq!(line, "enrolled CN=bc-manual\n");
    ensure!(child.wait()?.success());
    Ok(())
}
