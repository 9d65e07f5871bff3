//! Private keys in the forms that the `openssl` program writes.

use std::fs;

use lamassu_crypto::{KeyError, Message, PrivateKey};

use crate::openssl::{OpensslKey, openssl};

/// Reads, signs and compares the public half.
fn check(pem: &[u8], key: &OpensslKey) {
    let private = PrivateKey::from_pem(pem).unwrap();
    assert_eq!(private.public_key(), &key.public());
    let scheme = private.default_scheme();
    let signature = private.sign(scheme, Message::Raw(b"message")).unwrap();
    key.public()
        .verify(scheme, Message::Raw(b"message"), &signature)
        .unwrap();
}

fn converted(key: &OpensslKey, arguments: &str) -> Vec<u8> {
    let arguments = format!("{arguments} -in {}", key.path("key.pem").display());
    openssl(arguments.split_whitespace())
}

#[test]
fn pkcs8_of_every_kind() {
    for arguments in [
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        "-algorithm RSA -pkeyopt rsa_keygen_bits:2056",
        "-algorithm EC -pkeyopt ec_paramgen_curve:secp224r1",
        "-algorithm EC -pkeyopt ec_paramgen_curve:prime256v1",
        "-algorithm EC -pkeyopt ec_paramgen_curve:secp384r1",
        "-algorithm EC -pkeyopt ec_paramgen_curve:secp521r1",
        "-algorithm ED25519",
    ] {
        let key = OpensslKey::generate(arguments);
        check(&key.pem(), &key);
    }
}

#[test]
fn traditional_forms() {
    let rsa = OpensslKey::generate("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let pkcs1 = converted(&rsa, "pkey -traditional");
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
    check(&pkcs1, &rsa);
    for curve in ["secp224r1", "prime256v1", "secp384r1", "secp521r1"] {
        let arguments = format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}");
        let key = OpensslKey::generate(&arguments);
        let sec1 = converted(&key, "pkey -traditional");
        assert!(sec1.starts_with(b"-----BEGIN EC PRIVATE KEY-----"));
        check(&sec1, &key);
        // As `openssl ecparam -genkey` writes it.
        let parameters = openssl(["ecparam", "-name", curve]);
        check(&[parameters, sec1].concat(), &key);
        let without_public_half = converted(&key, "ec -no_public");
        check(&without_public_half, &key);
    }
}

#[test]
fn labels_and_line_ends_of_any_kind() {
    let key = OpensslKey::generate("-algorithm EC -pkeyopt ec_paramgen_curve:prime256v1");
    let text = String::from_utf8(key.pem()).unwrap();
    check(text.replace('\n', "\r\n").as_bytes(), &key);
    check(
        text.replace("PRIVATE KEY", "EC PRIVATE KEY").as_bytes(),
        &key,
    );
    check(
        text.replace("PRIVATE KEY", "SOMETHING ELSE").as_bytes(),
        &key,
    );
    check(
        format!("Bag Attributes\n  name: x\n{text}\ntrailing").as_bytes(),
        &key,
    );
    let one_line = text.replace('\n', "").replace("KEY-----M", "KEY-----\nM");
    check(one_line.replace("-----END", "\n-----END").as_bytes(), &key);
}

#[test]
fn what_cannot_be_used_says_why() {
    let weak = OpensslKey::generate("-algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    assert_eq!(refusal(&weak.pem()), KeyError::RsaSize { bits: 1024 });

    let x25519 = OpensslKey::generate("-algorithm X25519");
    assert!(matches!(
        refusal(&x25519.pem()),
        KeyError::UnknownAlgorithm(_)
    ));

    let koblitz = OpensslKey::generate("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1");
    assert_eq!(refusal(&koblitz.pem()), KeyError::UnknownCurve);

    let key = OpensslKey::generate("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    let encrypted = converted(&key, "pkey -aes256 -passout pass:x");
    assert_eq!(refusal(&encrypted), KeyError::Encrypted);
    let old_style = converted(&key, "pkey -traditional -aes256 -passout pass:x");
    assert_eq!(refusal(&old_style), KeyError::Encrypted);

    assert_eq!(refusal(b""), KeyError::NoPemBlock);
    assert_eq!(refusal(b"\xff"), KeyError::NoPemBlock);
    let broken = b"-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----";
    assert_eq!(refusal(broken), KeyError::NoPemBlock);
    let empty = b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----";
    assert_eq!(refusal(empty), KeyError::Malformed);
    let certificate = fs::read(key.path("key.pem")).unwrap();
    let certificate = String::from_utf8(certificate).unwrap();
    let certificate = certificate.replace("PRIVATE KEY", "CERTIFICATE");
    assert_eq!(refusal(certificate.as_bytes()), KeyError::NoPemBlock);
}

fn refusal(pem: &[u8]) -> KeyError {
    PrivateKey::from_pem(pem).unwrap_err()
}
