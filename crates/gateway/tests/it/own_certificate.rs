//! The certificate that an installation makes for itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use lamassu_gateway::self_tls::{OwnTls, ServerNames};
use lamassu_gateway::tls::server_config::provider;
use rustls::sign::CertifiedKey;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::support::{config, openssl, start_with, text};

const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn at(dir: &Path, names: &ServerNames, now: OffsetDateTime) -> Arc<CertifiedKey> {
    OwnTls::in_data_dir(dir)
        .server_certificate(&provider(), names, now)
        .unwrap()
}

fn names(domains: &[&str]) -> ServerNames {
    let domains: Vec<String> = domains.iter().map(|&domain| domain.to_owned()).collect();
    ServerNames::of_this_host(&domains)
}

#[test]
fn openssl_accepts_the_chain_for_every_name() {
    let dir = tempfile::tempdir().unwrap();
    let now = lamassu_core::clock::Clock::now(&lamassu_core::clock::SystemClock);
    at(dir.path(), &names(&["pki.example"]), now);
    let tls = dir.path().join("tls");
    let verify = [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        "ca.pem",
    ];
    for name in [
        ["-verify_hostname", "localhost"],
        ["-verify_hostname", "pki.example"],
        ["-verify_ip", "127.0.0.1"],
        ["-verify_ip", "::1"],
    ] {
        let arguments: Vec<_> = verify
            .into_iter()
            .chain(name)
            .chain(["server.pem"])
            .collect();
        assert_eq!(openssl(&tls, &arguments), "server.pem: OK\n");
    }
    let server = openssl(&tls, &["x509", "-in", "server.pem", "-noout", "-text"]);
    for part in [
        "TLS Web Server Authentication",
        "Authority Key Identifier",
        "Subject Key Identifier",
        "Digital Signature",
    ] {
        assert!(server.contains(part), "{part} in {server}");
    }
    let ca = openssl(&tls, &["x509", "-in", "ca.pem", "-noout", "-text"]);
    assert!(ca.contains("CA:TRUE, pathlen:0"), "{ca}");
}

#[test]
fn keys_are_for_the_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    at(dir.path(), &names(&[]), START);
    let expected = [
        ("ca.pem", 0o644),
        ("ca.key", 0o600),
        ("server.pem", 0o644),
        ("server.key", 0o600),
    ];
    for (file, mode) in expected {
        let metadata = fs::metadata(dir.path().join("tls").join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
    }
    assert_eq!(
        fs::read_dir(dir.path().join("tls")).unwrap().count(),
        expected.len()
    );
}

#[test]
fn the_certificate_is_kept_and_renewed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(&[]);
    let first = at(dir.path(), &names, START);
    let anchor = fs::read(dir.path().join("tls/ca.pem")).unwrap();
    assert_eq!(
        at(dir.path(), &names, START + Duration::days(300)).cert,
        first.cert
    );
    let second = at(dir.path(), &names, START + Duration::days(340));
    assert_ne!(second.cert, first.cert);
    assert_eq!(fs::read(dir.path().join("tls/ca.pem")).unwrap(), anchor);
}

#[test]
fn new_names_get_a_new_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let first = at(dir.path(), &names(&[]), START);
    let second = at(dir.path(), &names(&["pki.example"]), START);
    assert_ne!(second.cert, first.cert);
    assert_eq!(
        at(dir.path(), &names(&["pki.example"]), START).cert,
        second.cert
    );
    assert_ne!(at(dir.path(), &names(&[]), START).cert, second.cert);
}

#[test]
fn a_new_address_of_an_interface_waits_until_the_certificate_is_an_hour_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = names(&[]);
    host.interfaces.clear();
    let first = at(dir.path(), &host, START);
    host.interfaces.insert("192.0.2.250".parse().unwrap());
    let early = START + Duration::minutes(59);
    assert_eq!(at(dir.path(), &host, early).cert, first.cert);
    let second = at(dir.path(), &host, START + Duration::hours(1));
    assert_ne!(second.cert, first.cert);
    let text = openssl(
        &dir.path().join("tls"),
        &["x509", "-in", "server.pem", "-noout", "-text"],
    );
    assert!(text.contains("IP Address:192.0.2.250"), "{text}");
}

#[test]
fn an_old_ca_gets_a_new_certificate_that_old_trust_still_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(&[]);
    at(dir.path(), &names, START);
    let tls = dir.path().join("tls");
    fs::copy(tls.join("ca.pem"), tls.join("trusted.pem")).unwrap();
    let late = START + Duration::days(3_400);
    at(dir.path(), &names, late);
    assert_ne!(
        fs::read(tls.join("ca.pem")).unwrap(),
        fs::read(tls.join("trusted.pem")).unwrap()
    );
    let late = late.unix_timestamp().to_string();
    openssl(
        &tls,
        &[
            "verify",
            "-attime",
            &late,
            "-CAfile",
            "trusted.pem",
            "server.pem",
        ],
    );
    openssl(
        &tls,
        &[
            "verify",
            "-attime",
            &late,
            "-CAfile",
            "ca.pem",
            "server.pem",
        ],
    );
}

#[test]
fn a_crash_between_key_and_certificate_heals() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(&[]);
    let first = at(dir.path(), &names, START);
    openssl(
        &dir.path().join("tls"),
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "server.key",
        ],
    );
    assert_ne!(at(dir.path(), &names, START).cert, first.cert);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_certificate_of_year_one_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    at(path, &names(&[]), datetime!(0002-01-01 0:00 UTC));
    let mut config = config();
    config.tls.cert_file = Some(path.join("tls/server.pem"));
    config.tls.key_file = Some(path.join("tls/server.key"));
    let gateway = start_with(config, None).await.unwrap();
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sSk", "--max-time", "20"])
        .arg(format!("https://{}/livez", gateway.https));
    assert_eq!(text(&crate::support::run(curl).await), "ok\n");
}
