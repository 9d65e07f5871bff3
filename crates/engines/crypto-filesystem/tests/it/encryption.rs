//! Encryption at rest.

use std::fs;

use lamassu_core::crypto_engine::{CryptoEngine as _, EngineError};
use lamassu_crypto::pem::{self, PemLabel};
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_crypto_filesystem::{FilesystemConfig, KeyFileError, OpenError};
use secrecy::SecretString;

use crate::conformance::handle;
use crate::{config, open, with_passphrase};

const P256: KeySpec = KeySpec::Ec(Curve::P256);

#[tokio::test]
async fn the_key_is_not_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    let key = PrivateKey::generate(P256).unwrap();
    let clear = key.to_pkcs8_der().unwrap();
    engine.import(&handle("k"), key).await.unwrap();

    let content = fs::read(directory.path().join("k")).unwrap();
    let (label, der) = decode_pem(&content);
    assert_eq!(label, Some(PemLabel::EncryptedPrivateKey));
    // The private scalar of P-256 in PKCS#8 version 1.
    let scalar = &clear[36..68];
    assert!(!der.windows(16).any(|window| scalar.starts_with(window)));
    PrivateKey::from_pem(&content).unwrap_err();
}

fn decode_pem(content: &[u8]) -> (Option<PemLabel>, Vec<u8>) {
    let block = pem::blocks(content).next().unwrap();
    (block.label(), block.der().unwrap())
}

#[tokio::test]
async fn another_passphrase_does_not_open_and_says_which_file() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    engine.generate(&handle("k"), P256).await.unwrap();

    let refused = open(with_passphrase(directory.path(), "battery staple")).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::KeyFile(KeyFileError::WrongPassphrase(_))
    ));
    let expected = format!(
        "the key file {} cannot be read with the configured passphrase",
        directory.path().join("k").display()
    );
    assert_eq!(refused.to_string(), expected);

    let refused = open(config(directory.path())).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::KeyFile(KeyFileError::NoPassphrase(_))
    ));
}

#[tokio::test]
async fn the_same_secret_opens_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let upper = "0F".repeat(32);
    let with_key = |digits: &str| FilesystemConfig {
        key_encryption_key: Some(SecretString::from(digits)),
        ..config(directory.path())
    };
    let engine = open(with_key(&upper)).unwrap();
    let public = engine.generate(&handle("k"), P256).await.unwrap();
    let restarted = open(with_key(&upper.to_lowercase())).unwrap();
    let signer = restarted.signer(&handle("k")).await.unwrap();
    assert_eq!(signer.public_key(), &public);
    // All files of a directory share what the key is derived with, not how it is used.
    restarted.generate(&handle("l"), P256).await.unwrap();
    let content = |name: &str| {
        let content = fs::read(directory.path().join(name)).unwrap();
        decode_pem(&content).1
    };
    assert_eq!(content("k")[..60], content("l")[..60]);
    assert_ne!(content("k")[100..], content("l")[100..]);
}

#[tokio::test]
async fn clear_keys_are_encrypted_when_a_passphrase_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(config(directory.path())).unwrap();
    let public = engine.generate(&handle("k"), P256).await.unwrap();
    fs::write(
        directory.path().join("unusable"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();

    let encrypted = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    let content = fs::read(directory.path().join("k")).unwrap();
    assert_eq!(decode_pem(&content).0, Some(PemLabel::EncryptedPrivateKey));
    let signer = encrypted.signer(&handle("k")).await.unwrap();
    assert_eq!(signer.public_key(), &public);
    let unusable = encrypted.signer(&handle("unusable")).await;
    assert!(matches!(unusable, Err(EngineError::KeyUnreadable(_))));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_of_that_key() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    engine.generate(&handle("a"), P256).await.unwrap();
    engine.generate(&handle("b"), P256).await.unwrap();
    // The first in order, which is tried first at the start.
    let path = directory.path().join("a");
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() / 2]).unwrap();

    let restarted = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    restarted.signer(&handle("b")).await.unwrap();
    let unreadable = restarted.signer(&handle("a")).await;
    assert!(matches!(unreadable, Err(EngineError::KeyUnreadable(_))));
}
