//! EST with clients that we did not write: curl with openssl, and strongSwan's `pki`.

use anyhow::{Context as _, Result, ensure};

use serde_json::json;

use crate::support::plant::{DeviceKey, client_certificate_auth, dms_settings};
use crate::support::program::Options;
use crate::support::{Plant, Program, command};

/// curl's and openssl's way through enrollment and renewal with one kind of key.
fn enroll_and_renew(plant: &Plant, name: &str, key: DeviceKey, version: &[&str]) -> Result<()> {
    let identity = format!("boot-{name}");
    plant.key_and_csr(&identity, key)?;
    plant.sign("issuing", &identity, &json!({}))?;
    plant.key_and_csr(name, key)?;
    let answer = plant.est("simpleenroll", name, Some(&identity), version)?;
    ensure!(
        answer.status == 200,
        "{name}: {} {}",
        answer.status,
        answer.body
    );
    plant.write(&format!("{name}.p7.b64"), &answer.body)?;
    let first = format!("{name}-1");
    plant.openssl(&format!("base64 -d -in {name}.p7.b64 -out answer.p7"))?;
    let certificates = plant.openssl("pkcs7 -inform DER -in answer.p7 -print_certs")?;
    plant.write(&format!("{first}.pem"), &certificates)?;
    verify(plant, &format!("{first}.pem"))?;
    std::fs::copy(
        plant.directory.join(format!("{name}.key")),
        plant.directory.join(format!("{first}.key")),
    )?;
    let answer = plant.est("simplereenroll", name, Some(&first), version)?;
    ensure!(
        answer.status == 200,
        "{name} again: {} {}",
        answer.status,
        answer.body
    );
    Ok(())
}

#[test]
fn curl_enrolls_and_renews_under_tls_1_3_with_every_key_it_has_a_scheme_for() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    for (name, key) in [
        ("rsa", DeviceKey::Rsa2048),
        ("p256", DeviceKey::P256),
        ("p384", DeviceKey::P384),
        ("ed25519", DeviceKey::Ed25519),
    ] {
        enroll_and_renew(&plant, name, key, &["--tlsv1.3"])?;
    }
    Ok(())
}

#[test]
fn curl_enrolls_and_renews_under_tls_1_2_with_every_key() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    for (name, key) in [
        ("rsa", DeviceKey::Rsa2048),
        ("p224", DeviceKey::P224),
        ("p256", DeviceKey::P256),
        ("p384", DeviceKey::P384),
        ("ed25519", DeviceKey::Ed25519),
    ] {
        enroll_and_renew(&plant, name, key, &["--tlsv1.2", "--tls-max", "1.2"])?;
    }
    Ok(())
}

/// The guide's commands for what the server distributes, wishes and makes.
#[test]
fn curl_and_openssl_read_cacerts_csrattrs_and_keys_made_by_the_server() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let mut settings = dms_settings(&client_certificate_auth());
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/est.md");
    let guide = std::fs::read_to_string(guide)?;
    let commands = guide.lines().filter_map(|line| {
        line.strip_prefix("    awk ")
            .map(|rest| format!("awk {rest}"))
    });
    let commands: Vec<String> = commands.collect();
    ensure!(commands.len() == 2, "the guide's commands: {commands:?}");
    for (label, kind, bits, version) in [
        ("rsa", "RSA", 2048, "1.2"),
        ("p256", "ECDSA", 256, "1.3"),
        ("p384", "ECDSA", 384, "1.3"),
    ] {
        settings["server_keygen_settings"] =
            json!({"enabled": true, "key": {"type": kind, "bits": bits}});
        plant.create_dms(label, &settings)?;
        let tls = [&format!("--tlsv{version}"), "--tls-max", version];
        plant.key_and_csr(label, DeviceKey::P256)?;
        let made = plant.est_under(label, "serverkeygen", label, Some("bootstrap"), &tls)?;
        ensure!(made.status == 200, "{} {}", made.status, made.body);
        plant.write("answer", &made.body)?;
        let shell = |command: &str| command::run(&plant.directory, "sh", &["-c", command]);
        plant.write("made.key", &shell(&commands[0])?)?;
        plant.write("made.pem", &shell(&commands[1])?)?;
        verify(&plant, "made.pem")?;
        let certified = plant.openssl("x509 -in made.pem -noout -pubkey")?;
        ensure!(plant.openssl("pkey -in made.key -pubout")? == certified);
        let read = |operation: &str| -> Result<String> {
            let url = plant.est.replace("/line", &format!("/{label}/{operation}"));
            let fetch = format!(
                "curl -sS --fail {} --cacert {} {url}",
                tls.join(" "),
                plant.anchor
            );
            shell(&format!("{fetch} | openssl base64 -d > {operation}.der"))?;
            Ok(format!("{operation}.der"))
        };
        let der = read("cacerts")?;
        let cacerts = plant.openssl(&format!("pkcs7 -inform DER -in {der} -print_certs"))?;
        plant.write("cacerts.pem", &cacerts)?;
        plant.openssl("verify -CAfile cacerts.pem made.pem")?;
        let der = read("csrattrs")?;
        let attributes = plant.openssl(&format!("asn1parse -inform DER -in {der}"))?;
        ensure!(attributes.contains("Extension Request"), "{attributes}");
    }
    Ok(())
}

#[test]
fn a_gateway_that_stops_at_tls_1_2_takes_p_224_keys_from_any_client() -> Result<()> {
    let config = "gateway: {metrics: {listen: null}, tls: {max_version: \"1.2\"}}\n".to_owned();
    let program = Program::start_with(Options {
        config: Some(config),
        ..Options::default()
    })?;
    let plant = Plant::set_up(&program)?;
    enroll_and_renew(&plant, "p224", DeviceKey::P224, &[])
}

/// strongSwan's client: DER in, PEM out, a TLS stack of its own.
///
/// It knows no labels, so the installation names a default DMS; and it presents a certificate only
/// to renew it, so that DMS enrolls without one.
fn strongswan(version: &str, keys: &[(&str, DeviceKey)]) -> Result<()> {
    let config = "gateway: {metrics: {listen: null}}\nest: {default_dms: swan}\n".to_owned();
    let program = Program::start_with(Options {
        config: Some(config),
        ..Options::default()
    })?;
    let plant = &Plant::set_up(&program)?;
    let mut settings = dms_settings(&client_certificate_auth());
    settings["enrollment_settings"]["est_rfc7030_settings"] = json!({"auth_mode": "NO_AUTH"});
    plant.create_dms("swan", &settings)?;
    let url = program.https();

    pki(plant, version, &url, "--estca --caout estca.pem --force")?;
    let distributed = files_beginning_with(plant, "estca")?;
    ensure!(
        distributed.len() == 2,
        "the issuing CA and its root, not {distributed:?}"
    );
    for (name, key) in keys {
        enroll_and_renew_with_pki(plant, version, &url, (name, *key))
            .with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

fn enroll_and_renew_with_pki(
    plant: &Plant,
    version: &str,
    url: &str,
    (name, key): (&str, DeviceKey),
) -> Result<()> {
    plant.key_and_csr(name, key)?;
    plant.openssl(&format!("req -in {name}.csr -outform DER -out {name}.der"))?;
    let enroll = format!("--est --in {name}.der --cacert root.pem --cacert issuing.pem");
    let (first, second) = (format!("{name}-1"), format!("{name}-2"));
    plant.write(&format!("{first}.pem"), &pki(plant, version, url, &enroll)?)?;
    verify(plant, &format!("{first}.pem"))?;
    let renew = format!("{enroll} --cert {first}.pem --key {name}.key");
    plant.write(&format!("{second}.pem"), &pki(plant, version, url, &renew)?)?;
    verify(plant, &format!("{second}.pem"))?;
    ensure!(plant.serial(&first)? != plant.serial(&second)?);
    Ok(())
}

fn files_beginning_with(plant: &Plant, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&plant.directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The certificate in `file` chains to the root.
fn verify(plant: &Plant, file: &str) -> Result<()> {
    plant.openssl(&format!(
        "verify -CAfile root.pem -untrusted issuing.pem {file}"
    ))?;
    Ok(())
}

/// Runs strongSwan's `pki` against the server, with one TLS version only.
fn pki(plant: &Plant, version: &str, url: &str, arguments: &str) -> Result<String> {
    let settings = format!("libtls {{\n  version_min = {version}\n  version_max = {version}\n}}\n");
    plant.write("strongswan.conf", &settings)?;
    let file = plant.directory.join("strongswan.conf");
    let environment = format!("STRONGSWAN_CONF={}", file.display());
    let mut all = vec![environment.as_str(), "pki"];
    all.extend(arguments.split(' '));
    all.extend(["--url", url, "--cacert", &plant.anchor, "--outform", "pem"]);
    command::run(&plant.directory, "env", &all)
}

/// What it signs handshakes with; it knows no P-224.
const SWAN_KEYS: [(&str, DeviceKey); 4] = [
    ("rsa", DeviceKey::Rsa2048),
    ("p256", DeviceKey::P256),
    ("p384", DeviceKey::P384),
    ("ed25519", DeviceKey::Ed25519),
];

#[test]
fn strongswan_enrolls_and_renews_under_tls_1_2() -> Result<()> {
    strongswan("1.2", &SWAN_KEYS)
}

#[test]
fn strongswan_enrolls_and_renews_under_tls_1_3() -> Result<()> {
    strongswan("1.3", &SWAN_KEYS)
}
