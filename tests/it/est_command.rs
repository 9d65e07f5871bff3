//! `lamassu est`: a device's own client, against the real server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::plant::{DeviceKey, client_certificate_auth, dms_settings};
use crate::support::program::{Options, executable};
use crate::support::wait::wait_for;
use crate::support::{Plant, Program};

/// `lamassu est` in the plant's directory, on the DMS `line` over the installation's own TLS.
fn est(plant: &Plant, program: &Program, line: &str) -> Command {
    let mut command = Command::new(executable());
    command
        .arg("est")
        .args(line.split_whitespace())
        .current_dir(&plant.directory)
        .stdin(Stdio::null());
    for name in ["TOKEN", "PASSWORD", "FINGERPRINT"] {
        command.env_remove(format!("LAMASSU_EST_{name}"));
    }
    command
        .env("LAMASSU_EST_URL", program.https())
        .env("LAMASSU_EST_DMS", "line")
        .env("LAMASSU_EST_CA", &plant.anchor);
    command
}

/// What a command prints that succeeds.
fn ok(plant: &Plant, program: &Program, line: &str) -> Result<Value> {
    let output = est(plant, program, &format!("{line} --json")).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {errors}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What a command says that is refused.
fn refused(output: &Output) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{errors}");
    ensure!(errors.matches("error:").count() == 1, "{errors}");
    Ok(errors)
}

const BOOT: &str = "--auth-cert bootstrap.pem --auth-key bootstrap.key";

fn mode(path: &Path) -> Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

#[test]
fn a_device_gets_its_first_certificate_and_the_next_one() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let enroll = format!(
        "enroll --subject CN=device-1,O=Plant --san device-1.plant --san 10.0.0.7 --key d.key --cert d.pem \
         --chain --cacerts-out cas.pem {BOOT}"
    );
    // Nothing is asked for that could not be written.
    let nowhere = enroll.replace("cas.pem", "nowhere/cas.pem");
    let said = refused(&est(&plant, &program, &nowhere).output()?)?;
    assert!(said.contains("nowhere/cas.pem cannot be written"), "{said}");
    let device = "devmanager/v1/devices/device-1";
    assert_eq!(plant.api.call("GET", device, None)?.status, 400);
    let first = ok(&plant, &program, &enroll)?;
    assert_eq!(first["subject"], "CN=device-1,O=Plant");
    let files = ["d.key", "d.pem", "cas.pem"].map(|name| plant.directory.join(name));
    for file in &files {
        assert_eq!(mode(file)?, 0o600, "{}", file.display());
    }
    assert!(!plant.directory.join("d.pem.request").exists());
    // The chain is behind it, without the root, which is with the CA certificates.
    assert_eq!(plant.read("d.pem")?.matches("BEGIN").count(), 2);
    plant.openssl("verify -CAfile cas.pem -untrusted d.pem d.pem")?;
    let text = plant.openssl("x509 -in d.pem -noout -text")?;
    assert!(
        text.contains("DNS:device-1.plant, IP Address:10.0.0.7"),
        "{text}"
    );

    // A second time there is one already.
    let said = refused(&est(&plant, &program, &enroll).output()?)?;
    assert!(said.contains("lamassu est renew"), "{said}");

    let key = plant.read("d.key")?;
    let renew = "renew --key d.key --cert d.pem --hook";
    let mut command = est(&plant, &program, renew);
    command.arg("cp $LAMASSU_EST_CERT hooked.pem").arg("--json");
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let second: Value = serde_json::from_slice(&output.stdout)?;
    assert_ne!(first["serial_number"], second["serial_number"]);
    assert_ne!(plant.read("d.key")?, key);
    assert_eq!(plant.read("d.pem")?, plant.read("hooked.pem")?);
    let text = plant.openssl("x509 -in d.pem -noout -text")?;
    assert!(
        text.contains("DNS:device-1.plant, IP Address:10.0.0.7"),
        "{text}"
    );
    plant.openssl("verify -CAfile cas.pem -untrusted issuing.pem d.pem")?;

    let key = plant.read("d.key")?;
    let third = ok(
        &plant,
        &program,
        "renew --key d.key --cert d.pem --same-key",
    )?;
    assert_ne!(second["serial_number"], third["serial_number"]);
    assert_eq!(plant.read("d.key")?, key);
    let idle = ok(&plant, &program, "renew --key d.key --cert d.pem --if-due")?;
    assert_eq!(idle["id"], third["serial_number"]);
    let device = plant
        .api
        .ok("GET", "devmanager/v1/devices/device-1", None)?;
    assert_eq!(device["identity"]["active_version"], 2);
    Ok(())
}

#[test]
fn the_key_is_what_the_server_wants_or_what_the_device_has() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let profile = json!({"name": "RSA", "validity": {"type": "Duration", "duration": "90d"},
        "honor_subject": true, "crypto_enforcement": {"enabled": true, "allow_rsa_keys": true,
            "allowed_rsa_key_sizes": [2048]}});
    let profile = plant.api.ok("POST", "ca/v1/profiles", Some(&profile))?;
    let mut settings = dms_settings(&client_certificate_auth());
    settings["issuance_profile_id"] = profile["id"].clone();
    plant.create_dms("rsa", &settings)?;
    let wishes = ok(&plant, &program, "csrattrs --dms rsa")?;
    assert_eq!(wishes["key"], "rsa-2048");
    assert_eq!(wishes["subject"], json!(["CN"]));
    ok(
        &plant,
        &program,
        &format!("enroll --dms rsa --subject wanted --key w.key --cert w.pem {BOOT}"),
    )?;
    assert!(
        plant
            .openssl("pkey -in w.key -noout -text")?
            .contains("2048 bit")
    );
    // What the profile does not let through is refused, and not asked again.
    let line = format!(
        "enroll --dms rsa --subject other --key-type ecdsa-384 --key o.key --cert o.pem {BOOT}"
    );
    let said = refused(&est(&plant, &program, &line).output()?)?;
    assert!(
        said.contains("another kind of key") && said.contains("(400"),
        "{said}"
    );
    assert!(plant.directory.join("o.key").exists());
    assert!(!plant.directory.join("o.pem.request").exists());
    // A key that is there is used.
    plant.key_and_csr("own", DeviceKey::P384)?;
    let key = plant.read("own.key")?;
    ok(
        &plant,
        &program,
        &format!("enroll --subject own --key own.key --cert own.pem {BOOT}"),
    )?;
    assert_eq!(plant.read("own.key")?, key);
    assert!(
        plant
            .openssl("x509 -in own.pem -noout -text")?
            .contains("384 bit")
    );
    Ok(())
}

#[test]
fn a_server_is_believed_by_its_ca_its_fingerprint_or_by_name_of_the_flag() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let distrusting = |line: &str| {
        let mut command = est(&plant, &program, line);
        command.env_remove("LAMASSU_EST_CA");
        command.output()
    };
    let said = refused(&distrusting("cacerts")?)?;
    assert!(said.contains("--fingerprint"), "{said}");
    let said = refused(&distrusting("cacerts --ca root.pem")?)?;
    assert!(said.contains("UnknownIssuer"), "{said}");
    let elsewhere = format!("cacerts --url https://127.0.0.2:{}", program.https_port);
    let said = refused(&est(&plant, &program, &elsewhere).output()?)?;
    assert!(
        said.contains("its certificate is for localhost, ")
            && said.contains("not for 127.0.0.2")
            && said.contains("; --fingerprint believes"),
        "{said}"
    );
    let plain = format!("cacerts --url https://localhost:{}", program.http_port);
    let said = refused(&est(&plant, &program, &plain).output()?)?;
    assert!(said.contains("Wrong port?"), "{said}");
    let other = "00".repeat(32);
    refused(&distrusting(&format!("cacerts --fingerprint {other}"))?)?;
    let server = program.data_dir().join("tls/server.pem");
    let server = server.to_string_lossy();
    let printed = plant.openssl(&format!("x509 -in {server} -noout -fingerprint -sha256"))?;
    let (_, fingerprint) = printed.trim().split_once('=').context("a fingerprint")?;
    for line in [
        format!("cacerts --fingerprint {fingerprint}"),
        "cacerts --trust-any-server".to_owned(),
    ] {
        let output = distrusting(&line)?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let pem = String::from_utf8(output.stdout)?;
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2, "{pem}");
    }
    let said = refused(&distrusting("cacerts --trust-any-server --ca root.pem")?)?;
    assert!(said.contains("say one of"), "{said}");
    let said = refused(&est(&plant, &program, "cacerts --dms none").output()?)?;
    assert!(said.contains("DMS not found"), "{said}");
    let said = refused(&est(&plant, &program, "cacerts --url http://localhost:1").output()?)?;
    assert!(said.contains("https://"), "{said}");
    let nobody = "enroll --subject a --key a.key --cert a.pem";
    let said = refused(&est(&plant, &program, nobody).output()?)?;
    assert!(
        said.contains("401") && said.contains("--auth-cert"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_renewal_that_was_interrupted_is_finished_with_the_same_request() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let enroll = format!("enroll --subject device-1 --key d.key --cert d.pem {BOOT}");
    ok(&plant, &program, &enroll)?;
    let before = (plant.read("d.key")?, plant.read("d.pem")?);
    let renewed = ok(&plant, &program, "renew --key d.key --cert d.pem")?;
    // As if the answer had been lost: new key and request wait, the certificate is the old one.
    let new_key = plant.read("d.key")?;
    plant.write("d.key.new", &new_key)?;
    plant.write("d.key", &before.0)?;
    plant.write("d.pem", &before.1)?;
    let said = refused(&est(&plant, &program, "renew --key d.key --cert d.pem").output()?)?;
    // Another request of the superseded certificate is refused: the one that was sent is gone.
    assert!(said.contains("certificate is revoked"), "{said}");
    assert_eq!(plant.read("d.key.new")?, new_key);
    assert_eq!(plant.read("d.key")?, before.0);

    // The certificate came, and then the power went.
    let serial = renewed["serial_number"].as_str().context("a serial")?;
    let stored = plant
        .api
        .ok("GET", &format!("ca/v1/certificates/{serial}"), None)?;
    plant.write("d.pem", &crate::support::plant::pem(&stored)?)?;
    let idle = ok(&plant, &program, "renew --key d.key --cert d.pem --if-due")?;
    assert_eq!(idle["id"], serial);
    assert_eq!(plant.read("d.key")?, new_key);
    assert!(!plant.directory.join("d.key.new").exists());
    ok(&plant, &program, "renew --key d.key --cert d.pem")?;
    Ok(())
}

/// A DMS whose certificates live so long.
fn short_lived(plant: &Plant, seconds: u32) -> Result<()> {
    let profile = json!({"name": "Short", "honor_subject": true, "key_usage": ["DigitalSignature"],
        "extended_key_usages": ["ClientAuth"],
        "validity": {"type": "Duration", "duration": format!("{seconds}s")}});
    let profile = plant.api.ok("POST", "ca/v1/profiles", Some(&profile))?;
    let mut settings = dms_settings(&client_certificate_auth());
    settings["issuance_profile_id"] = profile["id"].clone();
    plant.create_dms("short", &settings)?;
    Ok(())
}

/// A running service, killed when the test ends early.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_service_renews_by_itself_until_it_is_told_to_end() -> Result<()> {
    let mut program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    short_lived(&plant, 20)?;
    let enroll = format!("enroll --dms short --subject device-1 --key d.key --cert d.pem {BOOT}");
    ok(&plant, &program, &enroll)?;
    let first = plant.read("d.pem")?;
    let log = std::fs::File::create(plant.directory.join("service.log"))?;
    let line = "renew --dms short --service --at 20 --jitter 0 --key d.key --cert d.pem --hook";
    let mut command = est(&plant, &program, line);
    command
        .arg("cat $LAMASSU_EST_CERT >> hooked.pem")
        .stderr(log);
    let mut service = Service(command.spawn()?);
    let said = || plant.read("service.log").unwrap_or_default();
    let second = wait_for("a renewal", Duration::from_secs(15), || {
        let now = plant.read("d.pem").ok()?;
        (now != first && said().contains("renewed: ")).then_some(now)
    })?;
    wait_for("the hook", Duration::from_secs(5), || {
        plant
            .read("hooked.pem")
            .ok()
            .filter(|hooked| *hooked == second)
    })?;
    // Nobody has to wait for it: SIGHUP renews at once.
    signal(&service, "HUP")?;
    wait_for("a renewal at once", Duration::from_secs(10), || {
        (plant.read("d.pem").ok()? != second).then_some(())
    })?;
    // A server that is away is asked again.
    program.kill()?;
    wait_for("a failure", Duration::from_secs(15), || {
        said().contains("failed, next try in").then_some(())
    })?;
    signal(&service, "TERM")?;
    let status = wait_for("its end", Duration::from_secs(10), || {
        service.0.try_wait().ok().flatten()
    })?;
    assert!(status.success(), "{status}: {}", said());
    assert!(said().contains("ended by a signal"), "{}", said());
    Ok(())
}

#[test]
fn a_service_ends_though_its_hook_hangs() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    short_lived(&plant, 20)?;
    let enroll = format!("enroll --dms short --subject device-1 --key d.key --cert d.pem {BOOT}");
    ok(&plant, &program, &enroll)?;
    let line = "renew --dms short --service --at 0 --jitter 0 --key d.key --cert d.pem --hook";
    let mut command = est(&plant, &program, line);
    // It is not the shell itself that hangs.
    command.arg("sleep 600 & echo $! > hook.pid; wait");
    let mut service = Service(command.spawn()?);
    let hook = wait_for("the hook", Duration::from_secs(20), || {
        let pid = plant.read("hook.pid").ok()?;
        pid.trim().parse::<u32>().ok()
    })?;
    signal(&service, "TERM")?;
    let status = wait_for("its end", Duration::from_secs(10), || {
        service.0.try_wait().ok().flatten()
    })?;
    assert!(status.success(), "{status}");
    wait_for("the end of the hook", Duration::from_secs(10), || {
        let hangs = std::fs::read_to_string(format!("/proc/{hook}/cmdline"));
        (!hangs.unwrap_or_default().starts_with("sleep")).then_some(())
    })?;
    Ok(())
}

fn signal(service: &Service, name: &str) -> Result<()> {
    let pid = service.0.id().to_string();
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid])
        .status()?;
    ensure!(status.success());
    Ok(())
}

/// A DMS whose enrollment settings have these members as well.
fn dms(plant: &Plant, id: &str, members: &Value) -> Result<()> {
    let mut settings = dms_settings(&client_certificate_auth());
    let enrollment = settings["enrollment_settings"].as_object_mut();
    let members = members.as_object().context("members")?.clone();
    enrollment.context("settings")?.extend(members);
    settings["server_keygen_settings"] =
        json!({"enabled": true, "key": {"type": "RSA", "bits": 2048}});
    plant.create_dms(id, &settings)?;
    Ok(())
}

#[test]
fn an_approval_is_waited_for_also_by_the_next_run() -> Result<()> {
    let config = "gateway: {metrics: {listen: null}}\nest: {approval_retry_after: 1s}\n";
    let program = Program::start_with(Options {
        config: Some(config.to_owned()),
        ..Options::default()
    })?;
    let plant = Plant::set_up(&program)?;
    dms(&plant, "manual", &json!({"approval": "manual"}))?;
    let line = format!("enroll --dms manual --subject slow --key s.key --cert s.pem {BOOT}");
    let said = refused(&est(&plant, &program, &format!("{line} --wait 0s")).output()?)?;
    assert!(said.contains("has not decided yet"), "{said}");
    let request = plant.read("s.pem.request")?;

    // The same request goes on being asked, until somebody approves.
    let mut waiting = est(&plant, &program, &format!("{line} --wait 60s"));
    let log = std::fs::File::create(plant.directory.join("waiting.log"))?;
    let mut waiting = Service(waiting.stderr(log).spawn()?);
    wait_for("it to wait", Duration::from_secs(20), || {
        plant
            .read("waiting.log")
            .ok()?
            .contains("asked again")
            .then_some(())
    })?;
    let approvals = |line: &str| -> Result<String> {
        let output = Command::new(executable())
            .arg("approvals")
            .args(line.split_whitespace())
            .env("LAMASSU_DATA_DIR", program.data_dir())
            .env("LAMASSU_CONFIG_FILE", program.scratch().join("config.yml"))
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let id = approvals("list --dms manual -q")?;
    assert_eq!(id.lines().count(), 1, "one request: {id}");
    assert!(approvals(&format!("show {id}"))?.contains("CN=slow"));
    let decided = approvals(&format!("approve {id} --reason seen"))?;
    assert!(
        decided.contains("APPROVED") && decided.contains("seen"),
        "{decided}"
    );
    let status = wait_for("the certificate", Duration::from_secs(30), || {
        waiting.0.try_wait().ok().flatten()
    })?;
    assert!(status.success(), "{}", plant.read("waiting.log")?);
    assert_eq!(approvals("list -q")?, "");
    assert_eq!(approvals("list --status issued -q")?, id);
    assert_eq!(approvals("list --all -q")?, id);
    assert_eq!(approvals("list --all --status pending -q")?, "");
    assert!(request.contains("CERTIFICATE REQUEST"));
    assert!(!plant.directory.join("s.pem.request").exists());
    plant.openssl("verify -CAfile root.pem -untrusted issuing.pem s.pem")?;

    let line = format!("enroll --dms manual --subject no --key n.key --cert n.pem {BOOT}");
    refused(&est(&plant, &program, &format!("{line} --wait 0s")).output()?)?;
    let said = approvals("deny nobody").unwrap_err().to_string();
    assert!(
        said.contains("no request of a device of this id waits"),
        "{said}"
    );
    // Two requests of a device are told apart by their ids, one is meant by the device's.
    let again = line.replace("n.key --cert n.pem", "m.key --cert m.pem");
    refused(&est(&plant, &program, &format!("{again} --wait 0s")).output()?)?;
    let said = approvals("deny no").unwrap_err().to_string();
    let ids = approvals("list -q")?;
    let mut ids = ids.lines();
    let (first, second) = (ids.next().context("one")?, ids.next().context("another")?);
    assert!(said.contains(first) && said.contains(second), "{said}");
    approvals(&format!("deny {first}"))?;
    let denied = approvals("deny no")?;
    assert!(
        denied.contains(second) && denied.contains("DENIED"),
        "{denied}"
    );
    let said = refused(&est(&plant, &program, &line).output()?)?;
    assert!(said.contains("enrollment was denied"), "{said}");
    Ok(())
}

#[test]
fn requests_are_tied_to_their_connection_where_that_is_required() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    dms(&plant, "bound", &json!({"channel_binding": "required"}))?;
    let wishes = ok(&plant, &program, "csrattrs --dms bound")?;
    let wishes = wishes["oids"].as_array().context("wishes")?;
    assert!(
        wishes.contains(&json!("1.2.840.113549.1.9.7")),
        "{wishes:?}"
    );
    let enroll = format!("enroll --dms bound --subject tied --key t.key --cert t.pem {BOOT}");
    let first = ok(&plant, &program, &enroll)?;
    let second = ok(
        &plant,
        &program,
        "renew --dms bound --key t.key --cert t.pem",
    )?;
    assert_ne!(first["serial_number"], second["serial_number"]);
    Ok(())
}

#[test]
fn a_request_that_is_tied_to_a_connection_waits_for_approval_over_others() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let members = json!({"channel_binding": "required", "approval": "manual"});
    dms(&plant, "careful", &members)?;
    let line = format!("enroll --dms careful --subject slow --key s.key --cert s.pem {BOOT}");
    // Each run has a connection of its own, and so a request of its own.
    let mut requests = Vec::new();
    for _ in 0..2 {
        let said = refused(&est(&plant, &program, &format!("{line} --wait 0s")).output()?)?;
        assert!(said.contains("has not decided yet"), "{said}");
        requests.push(plant.read("s.pem.request")?);
    }
    assert_ne!(requests[0], requests[1]);
    let waiting = plant.api.ok("GET", "dmsmanager/v1/approvals", None)?;
    let waiting = waiting["list"].as_array().context("a list")?;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let id = waiting[0]["id"].as_str().context("an id")?;
    let path = format!("dmsmanager/v1/approvals/{id}/approve");
    plant.api.ok("POST", &path, Some(&json!({})))?;
    ok(&plant, &program, &line)?;
    Ok(())
}

#[test]
fn the_server_makes_a_key_where_the_device_cannot() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    dms(&plant, "made", &json!({}))?;
    let line = format!("serverkeygen --dms made --subject weak --key w.key --cert w.pem {BOOT}");
    ok(&plant, &program, &line)?;
    assert_eq!(mode(&plant.directory.join("w.key"))?, 0o600);
    assert!(
        plant
            .openssl("pkey -in w.key -noout -text")?
            .contains("2048 bit")
    );
    plant.openssl("verify -CAfile root.pem -untrusted issuing.pem w.pem")?;
    // Key and certificate belong together: the device renews with them, by itself.
    ok(
        &plant,
        &program,
        "renew --dms made --key w.key --cert w.pem",
    )?;
    let said = refused(&est(&plant, &program, &line).output()?)?;
    assert!(said.contains("--force"), "{said}");
    let said = format!("serverkeygen --subject weak --key x.key --cert x.pem {BOOT}");
    let said = refused(&est(&plant, &program, &said).output()?)?;
    assert!(said.contains("not enabled"), "{said}");
    Ok(())
}

#[test]
fn a_password_enrolls_a_device_without_certificate() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let home = |line: &str| -> Result<String> {
        let output = Command::new(executable())
            .args(line.split_whitespace())
            .current_dir(&plant.directory)
            .env("LAMASSU_DATA_DIR", program.data_dir())
            .env("LAMASSU_CONFIG_FILE", program.scratch().join("config.yml"))
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    home("dms create basic --ca issuing --auth password")?;
    let made = home("dms passwords create basic --device meter-1 --out meter.password -q")?;
    assert_eq!(mode(&plant.directory.join("meter.password"))?, 0o600);
    let enroll = "enroll --dms basic --subject meter-1 --key m.key --cert m.pem";
    let said = refused(&est(&plant, &program, enroll).output()?)?;
    assert!(said.contains("401"), "{said}");
    let line = format!("{enroll} --user meter-1 --password-file meter.password");
    let first = ok(&plant, &program, &line)?;
    let second = ok(
        &plant,
        &program,
        "renew --dms basic --key m.key --cert m.pem",
    )?;
    assert_ne!(first["serial_number"], second["serial_number"]);
    assert!(home("dms passwords list basic")?.contains("1 of 1"));
    let other = "enroll --dms basic --subject meter-2 --key o.key --cert o.pem --user meter-1 \
                 --password-file meter.password";
    let said = refused(&est(&plant, &program, other).output()?)?;
    assert!(said.contains("(40"), "{said}");
    home(&format!("dms passwords revoke basic {made} --yes"))?;
    wait_for("the refusals to be listed", Duration::from_secs(10), || {
        let listed = home("dms refused --dms basic --device meter-2").ok()?;
        listed.contains("meter-2").then_some(())
    })?;
    assert!(!home("dms refused --device meter-3")?.contains("meter-2"));
    let two = "dms passwords create basic --count 2 --out two.password";
    let said = home(two).unwrap_err().to_string();
    assert!(said.contains("--out is for one password"), "{said}");
    Ok(())
}
