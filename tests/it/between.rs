//! Between processes: HTTPS, whom a client believes, and what it presents.

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result};
use lamassu_crypto::HashAlgorithm;
use lamassu_db::PostgresOptions;
use lamassu_testing::{PostgresServer, TlsFiles};

use crate::support::program::{Options, storage_block};
use crate::support::token_endpoint::{AUDIENCE, TokenEndpoint};
use crate::support::{Api, Program, command};

const FOR_CLIENTS: &str = "extendedKeyUsage=clientAuth";
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

/// One GET or POST of a service through curl, with a client certificate if one is named.
fn curl(files: &TlsFiles, url: &str, identity: Option<&str>, more: &[&str]) -> Result<Output> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let anchor = path(&files.certificate("ca"));
    let mut arguments = vec!["-sS", "-w", "\n%{http_code}", "--cacert", &anchor, url];
    let (certificate, key);
    if let Some(name) = identity {
        (certificate, key) = (path(&files.certificate(name)), path(&files.key(name)));
        arguments.extend(["--cert", &certificate, "--key", &key]);
    }
    arguments.extend(more);
    command::output_with_input(Path::new("/"), "curl", &arguments, b"")
}

/// The status that a client with this certificate gets.
fn status(files: &TlsFiles, url: &str, identity: &str, more: &[&str]) -> Result<String> {
    let output = curl(files, url, Some(identity), more)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, status) = text.rsplit_once('\n').context("curl printed no status")?;
    Ok(status.to_owned())
}

#[test]
fn processes_prove_who_they_are_by_certificate_by_token_and_by_key() -> Result<()> {
    let files = TlsFiles::make()?;
    for name in ["front", "devices", "jane", "stranger"] {
        files.issue(name, &format!("/CN={name}"), FOR_CLIENTS)?;
    }
    files.issue("web", "/CN=front", "extendedKeyUsage=serverAuth")?;
    files.issue_by("other-ca", "foreign", "/CN=front", FOR_CLIENTS)?;
    let provider = TokenEndpoint::start()?;
    let key_set = tempfile::NamedTempFile::new()?;
    std::fs::write(key_set.path(), provider.key_set().to_string())?;
    let storage = PostgresServer::shared().fresh_schema();

    // Certificates to the keys, which nobody else reaches; a token and a key to the devices.
    let strict = format!(
        ", authentication: {{mutual_tls: {{enabled: true, validation_mode: strict, ca_cert_file: {}}}, \
         client_certificate: {{enabled: true, role_mappings: \
         {{front: [service], devices: [service], jane: [auditor]}}}}}}",
        files.certificate("ca").display()
    );
    let keys = start(&storage, "kms,ca", &server(&files, &strict))?;
    let to_keys = |name: &str| {
        let more = format!(
            ", auth_mode: mtls, mtls_options: {{cert_file: {}, key_file: {}}}",
            files.certificate(name).display(),
            files.key(name).display()
        );
        client(&files, "kms", keys.https_port, "ca", &more)
            + &client(&files, "ca", keys.https_port, "ca", &more)
    };
    let fixed_key = "c29tZSByYW5kb20gb2N0ZXRz";
    let digest = hex::encode(HashAlgorithm::Sha256.digest(fixed_key.as_bytes()));
    let authentication = format!(
        "authentication: {{api_keys: [{{name: front, sha256: {digest}, roles: [service]}}], \
         jwt: {{providers: [{{name: company, issuer: \"{}\", jwks_file: {}, audiences: [{AUDIENCE}], \
         mappings: {{clients: {{front: [service]}}}}}}]}}}}\n",
        provider.issuer,
        key_set.path().display()
    );
    let config = server(&files, "") + &to_keys("devices") + &authentication;
    let devices = start(&storage, "devmanager,va", &config)?;
    let by_token = format!(", auth_mode: jwt, jwt_options: {}", provider.options());
    let by_key = format!(", auth_mode: apikey, apikey_options: {{key: {fixed_key}}}");
    let config = to_keys("front")
        + &client(
            &files,
            "device_manager",
            devices.https_port,
            "ca",
            &by_token,
        )
        + &client(&files, "va", devices.https_port, "ca", &by_key);
    let front = start(&storage, "gateway,dmsmanager", &config)?;
    enroll(&front)?;
    // One was refused, since the provider had rotated its keys; one served everything since.
    assert_eq!(provider.n_issued(), 2);
    // Who asked is told on, whatever the processes prove themselves by.
    let who = format!(
        "SELECT DISTINCT principal FROM {}.audit_log WHERE operation LIKE '%profile%'",
        storage.schema
    );
    assert_eq!(PostgresServer::shared().psql(&who)?, "admin");

    let list = format!("https://localhost:{}/api/ca/v1/cas", keys.https_port);
    let internal = format!("https://localhost:{}/api/ca/internal/v1/x", keys.https_port);
    assert_eq!(status(&files, &list, "jane", &[])?, "200");
    assert_eq!(status(&files, &list, "jane", &["-d", "{}"])?, "403");
    assert_eq!(status(&files, &list, "stranger", &[])?, "401");
    assert_eq!(status(&files, &internal, "stranger", &[])?, "401");
    for (identity, more, cause) in [
        (None, &[][..], "certificate required"),
        (Some("foreign"), &[], "unknown ca"),
        (Some("web"), &[], "unsupported certificate"),
        (Some("jane"), &["--tlsv1.3"], "protocol version"),
    ] {
        let output = curl(&files, &list, identity, more)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{identity:?} connects");
        assert!(said.contains(cause), "{identity:?}: {said}");
    }
    assert!(
        keys.log()
            .contains("certificate is signed by unknown authority")
    );
    Ok(())
}
