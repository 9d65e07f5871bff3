//! Client certificates of every kind that devices in the field have.

use std::fs;
use std::path::Path;
use std::process::Command;

use lamassu_crypto::{Message, PrivateKey};
use lamassu_gateway::config::{ClientCertificateMode, TlsVersion};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, Issuer, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Terms, Validity, prepare,
};
use lamassu_x509::lint::LintPolicy;
use lamassu_x509::pem::{PemLabel, der_to_pem};
use lamassu_x509::{AccessLocations, Extensions, KeyUsageBit, SerialNumber, SubjectFields};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::support::{client_certificate, config, openssl, start, start_with, text};

const RSA: &[&str] = &["-newkey", "rsa:2048"];
const ED25519: &[&str] = &["-newkey", "ed25519"];
const P224: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"];
const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"];
const P521: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"];

#[tokio::test(flavor = "multi_thread")]
async fn every_usual_key_authenticates_under_both_versions() {
    let gateway = start().await;
    let keys = [
        ("rsa", RSA),
        ("p256", P256),
        ("p384", P384),
        ("p521", P521),
        ("ed25519", ED25519),
    ];
    for (name, algorithm) in keys {
        client_certificate(gateway.dir.path(), name, algorithm);
        for version in ["1.2", "1.3"] {
            let (cert, key) = files(gateway.dir.path(), name);
            let options = ["--tls-max", version, "--cert", &cert, "--key", &key];
            let reply = text(&gateway.curl("/whoami", &options).await);
            let expected = format!("client=Some({name:?}) length=1 ");
            assert!(reply.contains(&expected), "{name} under {version}: {reply}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p224_key_authenticates_under_tls_1_2_with_any_hash() {
    let gateway = start().await;
    client_certificate(gateway.dir.path(), "p224", P224);
    let (cert, key) = files(gateway.dir.path(), "p224");
    let options = ["--tls-max", "1.2", "--cert", &cert, "--key", &key];
    let reply = text(&gateway.curl("/whoami", &options).await);
    assert!(reply.contains("client=Some(\"p224\")"), "{reply}");
    for hash in ["SHA256", "SHA384", "SHA512"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-tls1_2", "-ign_eof", "-connect"]);
        command
            .arg(gateway.https.to_string())
            .args(["-cert", &cert, "-key", &key]);
        command.args(["-client_sigalgs", &format!("ECDSA+{hash}")]);
        let reply = text(&with_input(command, "GET /whoami HTTP/1.0\r\n\r\n").await);
        assert!(reply.contains("client=Some(\"p224\")"), "{hash}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_capped_at_tls_1_2_speaks_it_to_clients_that_offer_more() {
    let mut config = config();
    config.tls.max_version = TlsVersion::V1_2;
    let gateway = start_with(config, None).await.unwrap();
    client_certificate(gateway.dir.path(), "p224", P224);
    let (cert, key) = files(gateway.dir.path(), "p224");
    let reply = text(
        &gateway
            .curl("/whoami", &["--cert", &cert, "--key", &key])
            .await,
    );
    assert!(reply.contains("client=Some(\"p224\")"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_certificate_is_served() {
    let gateway = start().await;
    let reply = text(&gateway.curl("/whoami", &[]).await);
    assert!(
        reply.contains(
            "peer=127.0.0.1 target=/whoami scheme=Https sni=Some(\"localhost\") client=None"
        ),
        "{reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_demands_a_certificate_refuses_clients_without() {
    let mut config = config();
    config.tls.client_certificate = ClientCertificateMode::Any;
    let gateway = start_with(config, None).await.unwrap();
    let reply = text(&gateway.curl("/whoami", &[]).await);
    assert!(reply.contains("certificate required"), "{reply}");
    client_certificate(gateway.dir.path(), "p256", P256);
    let (cert, key) = files(gateway.dir.path(), "p256");
    let reply = text(
        &gateway
            .curl("/whoami", &["--cert", &cert, "--key", &key])
            .await,
    );
    assert!(reply.contains("client=Some(\"p256\")"), "{reply}");
}

/// A certificate of `ca` as `NAME.pem` and `NAME.key`.
fn issued(dir: &Path, ca: &str, name: &str, extension: &str) {
    let (ca_pem, ca_key) = (format!("{ca}.pem"), format!("{ca}.key"));
    let (pem, key, subject) = (
        format!("{name}.pem"),
        format!("{name}.key"),
        format!("/CN={name}"),
    );
    let mut arguments = vec!["req", "-x509", "-nodes", "-days", "2", "-subj", &subject];
    arguments.extend([
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        extension,
    ]);
    arguments.extend([
        "-CA", &ca_pem, "-CAkey", &ca_key, "-keyout", &key, "-out", &pem,
    ]);
    arguments.extend(P256);
    openssl(dir, &arguments);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_cas_lets_in_their_clients_alone_and_says_why() {
    let authorities = tempfile::tempdir().unwrap();
    let dir = authorities.path();
    for ca in ["first", "second", "other"] {
        client_certificate(dir, ca, P256);
    }
    // All certificates of the file count, not only its first.
    let both = ["first.pem", "second.pem"].map(|file| fs::read(dir.join(file)).unwrap());
    fs::write(dir.join("cas.pem"), both.concat()).unwrap();
    let mut config = config();
    config.tls.client_ca_file = Some(dir.join("cas.pem"));
    let gateway = start_with(config, None).await.unwrap();
    issued(dir, "second", "peer", "extendedKeyUsage=clientAuth");
    issued(dir, "second", "server", "extendedKeyUsage=serverAuth");
    issued(dir, "other", "stranger", "extendedKeyUsage=clientAuth");
    for (name, expected) in [
        ("peer", "client=Some(\"peer\")"),
        ("server", "unsupported certificate"),
        ("stranger", "unknown ca"),
        ("second", "unsupported certificate"),
    ] {
        for version in ["1.2", "1.3"] {
            let (cert, key) = files(dir, name);
            let options = ["--tls-max", version, "--cert", &cert, "--key", &key];
            let reply = text(&gateway.curl("/whoami", &options).await);
            assert!(reply.contains(expected), "{name} under {version}: {reply}");
        }
    }
    let reply = text(&gateway.curl("/whoami", &[]).await);
    assert!(reply.contains("certificate required"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_readable_cas_a_listener_that_needs_them_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content) in [("empty.pem", ""), ("broken.pem", broken)] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    for (name, reason) in [
        ("empty.pem", "holds no readable certificate"),
        ("broken.pem", "holds no readable certificate"),
        ("absent.pem", "cannot be read"),
    ] {
        let mut config = config();
        config.tls.client_ca_file = Some(dir.path().join(name));
        let error = start_with(config, None).await.err().unwrap().to_string();
        assert!(error.ends_with(reason), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_do_not_matter_in_the_handshake() {
    let gateway = start().await;
    let dir = gateway.dir.path();
    openssl(
        dir,
        &[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            "dated.key",
        ],
    );
    let key = PrivateKey::from_pem(&fs::read(dir.join("dated.key")).unwrap()).unwrap();
    let year_one = datetime!(0001-01-01 0:00 UTC);
    let dates = [
        (year_one, year_one),
        (
            datetime!(2001-01-01 0:00 UTC),
            datetime!(2002-01-01 0:00 UTC),
        ),
    ];
    for (from, to) in dates {
        fs::write(dir.join("dated.pem"), self_signed(&key, from, to)).unwrap();
        for version in ["1.2", "1.3"] {
            let (cert, key) = files(dir, "dated");
            let options = ["--tls-max", version, "--cert", &cert, "--key", &key];
            let reply = text(&gateway.curl("/whoami", &options).await);
            assert!(
                reply.contains("client=Some(\"dated\")"),
                "{from} under {version}: {reply}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_1_certificate_without_extensions_is_taken() {
    let gateway = start().await;
    let dir = gateway.dir.path();
    openssl(
        dir,
        &[
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=v1", "-keyout", "v1.key",
            "-out", "v1.csr",
        ],
    );
    openssl(
        dir,
        &[
            "x509", "-req", "-in", "v1.csr", "-signkey", "v1.key", "-out", "v1.pem", "-days", "2",
        ],
    );
    assert!(openssl(dir, &["x509", "-in", "v1.pem", "-noout", "-text"]).contains("Version: 1 "));
    let (cert, key) = files(dir, "v1");
    let reply = text(
        &gateway
            .curl("/whoami", &["--cert", &cert, "--key", &key])
            .await,
    );
    assert!(reply.contains("client=Some(\"v1\")"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_key_is_refused_with_the_alert_that_says_so() {
    let gateway = start().await;
    client_certificate(gateway.dir.path(), "weak", &["-newkey", "rsa:1024"]);
    let (cert, key) = files(gateway.dir.path(), "weak");
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-tls1_2",
        "-cipher",
        "DEFAULT@SECLEVEL=0",
        "-connect",
    ]);
    command
        .arg(gateway.https.to_string())
        .args(["-cert", &cert, "-key", &key]);
    let reply = text(&with_input(command, "").await);
    assert!(reply.contains("alert unsupported certificate"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ca_names_are_sent_and_no_session_is_resumed() {
    let gateway = start().await;
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", version, "-connect"])
            .arg(gateway.https.to_string());
        let reply = text(&with_input(command, "").await);
        assert!(
            reply.contains("No client certificate CA names sent"),
            "{reply}"
        );
        let mut command = Command::new("openssl");
        command.args(["s_client", version, "-reconnect", "-connect"]);
        command.arg(gateway.https.to_string());
        let reply = text(&with_input(command, "").await);
        assert!(!reply.contains("Reused,"), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_binding_is_what_the_client_exports_under_tls_1_3() {
    let gateway = start().await;
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            version,
            "-ign_eof",
            "-keymatexport",
            "EXPORTER-Channel-Binding",
        ]);
        command
            .args(["-keymatexportlen", "32", "-connect"])
            .arg(gateway.https.to_string());
        let reply = text(&with_input(command, "GET /whoami HTTP/1.0\r\n\r\n").await);
        let exported = reply
            .split("Keying material: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let expected = if version == "-tls1_3" {
            exported.unwrap()
        } else {
            ""
        };
        assert!(reply.contains(&format!("exporter={expected} ")), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_negotiated() {
    let gateway = start().await;
    let reply = text(
        &gateway
            .curl("/whoami", &["--http2", "-w", "%{http_version}"])
            .await,
    );
    assert!(reply.ends_with("body=2"), "{reply}");
}

fn files(dir: &Path, name: &str) -> (String, String) {
    let path = |extension: &str| {
        dir.join(format!("{name}.{extension}"))
            .display()
            .to_string()
    };
    (path("pem"), path("key"))
}

/// A certificate with these dates, PEM.
fn self_signed(key: &PrivateKey, from: OffsetDateTime, to: OffsetDateTime) -> String {
    let profile = Profile {
        validity: Validity::Until(to),
        back_dating: time::Duration::ZERO,
        subject: SubjectRule::Honor,
        key_usage: KeyUsageRule::Replace([KeyUsageBit::DigitalSignature].into_iter().collect()),
        extended_key_usage: ExtendedKeyUsageRule::Replace(Vec::new()),
        subject_alt_name: SubjectAltNameRule::Drop,
        role: CertificateRole::EndEntity,
        key_policy: KeyPolicy::Any,
        further_extensions: Extensions::none(),
    };
    let name = SubjectFields::with_common_name("dated").to_name();
    let subject = Subject::root(name, key.public_key(), vec![1, 2, 3]);
    let terms = Terms {
        profile: &profile,
        serial: &SerialNumber::from_bytes(&[7; 20]).unwrap(),
        now: from,
        locations: &AccessLocations::default(),
        lint: &LintPolicy::default(),
    };
    let issuer = Issuer::Itself {
        scheme: key.default_scheme(),
    };
    let tbs = prepare(&subject, &issuer, &terms).unwrap().to_be_signed;
    let signature = key
        .sign(tbs.scheme(), Message::Raw(tbs.as_bytes()))
        .unwrap();
    der_to_pem(PemLabel::Certificate, &tbs.assemble(&signature))
}

async fn with_input(mut command: Command, input: &'static str) -> std::process::Output {
    use std::io::Write;
    use std::process::Stdio;
    tokio::task::spawn_blocking(move || {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}
