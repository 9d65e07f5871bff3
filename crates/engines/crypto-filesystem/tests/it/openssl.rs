//! Files as the `openssl` program sees them.

use std::path::Path;
use std::process::Command;

use lamassu_core::crypto_engine::CryptoEngine as _;
use lamassu_crypto::{Curve, KeySpec, PublicKey};

use crate::conformance::handle;
use crate::{config, open, with_passphrase};

/// Runs `openssl` and gives what it printed.
fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    output.stdout
}

fn public_key_by_openssl(file: &Path, passphrase: &str) -> PublicKey {
    let passphrase = format!("pass:{passphrase}");
    let file = file.to_str().unwrap();
    let der = openssl(&[
        "pkey",
        "-in",
        file,
        "-passin",
        &passphrase,
        "-pubout",
        "-outform",
        "DER",
    ]);
    PublicKey::from_spki_der(&der).unwrap()
}

#[tokio::test]
async fn openssl_reads_what_the_engine_wrote() {
    for passphrase in [None, Some("correct horse")] {
        let directory = tempfile::tempdir().unwrap();
        let config = passphrase.map_or_else(
            || config(directory.path()),
            |passphrase| with_passphrase(directory.path(), passphrase),
        );
        let engine = open(config).unwrap();
        let specs = [
            KeySpec::Rsa(2048),
            KeySpec::Ec(Curve::P224),
            KeySpec::Ec(Curve::P521),
            KeySpec::Ed25519,
        ];
        for (n, spec) in specs.into_iter().enumerate() {
            let name = format!("k{n}");
            let public = engine.generate(&handle(&name), spec).await.unwrap();
            let file = directory.path().join(&name);
            let read = public_key_by_openssl(&file, passphrase.unwrap_or_default());
            assert_eq!(read, public, "{spec:?}");
        }
    }
}

#[tokio::test]
async fn the_engine_reads_what_openssl_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-out",
        &path("sec1"),
    ]);
    openssl(&["genrsa", "-traditional", "-out", &path("pkcs1"), "2048"]);
    openssl(&[
        "genpkey",
        "-algorithm",
        "ED25519",
        "-aes-256-cbc",
        "-pass",
        "pass:correct horse",
        "-out",
        &path("encrypted"),
    ]);
    let expected: Vec<_> = ["sec1", "pkcs1", "encrypted"]
        .map(|name| {
            (
                name,
                public_key_by_openssl(&directory.path().join(name), "correct horse"),
            )
        })
        .into();

    let engine = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    for (name, public) in expected {
        let signer = engine.signer(&handle(name)).await.unwrap();
        assert_eq!(signer.public_key(), &public, "{name}");
    }
}
