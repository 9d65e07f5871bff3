//! openssl as the judge of answers and lists.

use std::path::Path;
use std::process::Command;

use lamassu_x509::Certificate;
use lamassu_x509::pem::{PemLabel, der_to_pem};

use crate::support::{Ca, World, url_safe};

/// What openssl printed, on both streams.
#[track_caller]
fn openssl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .output()
        .expect("openssl is installed");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

fn write_pem(dir: &Path, name: &str, certificate: &Certificate) {
    let pem = der_to_pem(PemLabel::Certificate, certificate.as_der());
    std::fs::write(dir.join(name), pem).unwrap();
}

/// openssl asks about `certificate`, with a nonce and by this hash function; we answer; openssl
/// verifies and prints the status.
pub(crate) async fn judged(
    world: &World,
    ca: &Ca,
    certificate: &Certificate,
    hash: &str,
) -> String {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_pem(dir, "ca.pem", &ca.certificate);
    write_pem(dir, "cert.pem", certificate);
    let ask = [
        "ocsp", hash, "-issuer", "ca.pem", "-cert", "cert.pem", "-reqout", "req.der",
    ];
    openssl(dir, &ask);
    let request = std::fs::read(dir.join("req.der")).unwrap();
    let answer = world.post_ocsp(&request).await;
    std::fs::write(dir.join("resp.der"), &answer.body).unwrap();
    let judge = [
        "ocsp",
        hash,
        "-issuer",
        "ca.pem",
        "-cert",
        "cert.pem",
        "-reqin",
        "req.der",
        "-respin",
        "resp.der",
        "-CAfile",
        "ca.pem",
        "-partial_chain",
        "-no_nonce",
    ];
    openssl(dir, &judge)
}

/// What openssl reads in a list, which it believes.
#[track_caller]
pub(crate) fn crl_text(list: &[u8], ca: &Ca) -> String {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_pem(dir, "ca.pem", &ca.certificate);
    std::fs::write(dir.join("list.crl"), list).unwrap();
    let read = [
        "crl", "-inform", "DER", "-in", "list.crl", "-CAfile", "ca.pem", "-text",
    ];
    let text = openssl(dir, &read);
    assert!(text.contains("verify OK"), "{text}");
    text
}

#[tokio::test]
async fn openssl_believes_ocsp_answers() {
    let world = World::new().await;
    let root = world.ca("root", None, "RSA", 2048).await;
    let sub = world.ca("sub", Some("root"), "ECDSA", 384).await;
    for ca in [&root, &sub] {
        let (good, revoked) = (world.issue(ca, "1").await, world.issue(ca, "2").await);
        world.revoke(&revoked, "CertificateHold").await;
        for hash in ["-sha1", "-sha256", "-sha384", "-sha512"] {
            let text = judged(&world, ca, &good, hash).await;
            assert!(text.contains("Response verify OK"), "{text}");
            assert!(text.contains("cert.pem: good"), "{text}");
            assert!(!text.contains("WARNING"), "{text}");
            let text = judged(&world, ca, &revoked, hash).await;
            assert!(text.contains("Response verify OK"), "{text}");
            assert!(text.contains("cert.pem: revoked"), "{text}");
            assert!(text.contains("Reason: certificateHold"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_signed_request_with_a_name_is_answered() {
    let world = World::new().await;
    let ca = world.root("root").await;
    let issued = world.issue(&ca, "1").await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_pem(dir, "ca.pem", &ca.certificate);
    write_pem(dir, "cert.pem", &issued);
    let make_signer = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=requestor",
        "-keyout",
        "key.pem",
        "-out",
        "signer.pem",
    ];
    openssl(dir, &make_signer);
    let ask = [
        "ocsp",
        "-issuer",
        "ca.pem",
        "-cert",
        "cert.pem",
        "-signer",
        "signer.pem",
        "-signkey",
        "key.pem",
        "-reqout",
        "req.der",
    ];
    openssl(dir, &ask);
    let text = openssl(dir, &["ocsp", "-reqin", "req.der", "-req_text"]);
    assert!(text.contains("Requestor Name"), "{text}");
    let request = std::fs::read(dir.join("req.der")).unwrap();
    let answer = world.get(&format!("/ocsp/{}", url_safe(&request))).await;
    std::fs::write(dir.join("resp.der"), &answer.body).unwrap();
    let text = openssl(
        dir,
        &[
            "ocsp",
            "-respin",
            "resp.der",
            "-resp_text",
            "-VAfile",
            "ca.pem",
        ],
    );
    assert!(text.contains("Response verify OK"), "{text}");
    assert!(text.contains("Cert Status: good"), "{text}");
}

#[tokio::test]
async fn openssl_believes_crls() {
    for (kind, bits) in [("RSA", 2048), ("ECDSA", 256), ("Ed25519", 256)] {
        let world = World::running().await;
        let ca = world.ca("root", None, kind, bits).await;
        let (held, compromised) = (world.issue(&ca, "1").await, world.issue(&ca, "2").await);
        world.revoke(&held, "CertificateHold").await;
        world.revoke(&compromised, "KeyCompromise").await;
        world.settle().await;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write_pem(dir, "ca.pem", &ca.certificate);
        write_pem(dir, "cert.pem", &held);
        let answer = world.get(&format!("/crl/{}", ca.ski)).await;
        std::fs::write(dir.join("list.crl"), &answer.body).unwrap();
        let text = crl_text(&answer.body, &ca);
        assert!(text.contains("Version 2 (0x1)"), "{text}");
        assert!(text.contains("Certificate Hold"), "{text}");
        assert!(text.contains("Key Compromise"), "{text}");
        openssl(
            dir,
            &[
                "crl", "-inform", "DER", "-in", "list.crl", "-out", "list.pem",
            ],
        );
        let check = [
            "verify",
            "-crl_check",
            "-CAfile",
            "ca.pem",
            "-CRLfile",
            "list.pem",
            "cert.pem",
        ];
        let output = Command::new("openssl")
            .args(check)
            .current_dir(dir)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("certificate revoked"), "{text}");
    }
}
