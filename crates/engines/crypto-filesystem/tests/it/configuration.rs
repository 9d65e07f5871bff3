//! What may be configured, and what is shown of it.

use std::fs;

use lamassu_core::crypto_engine::CryptoEngine as _;
use lamassu_crypto::KeySpec;
use lamassu_crypto_filesystem::{ConfigError, FilesystemConfig, OpenError};
use secrecy::SecretString;

use crate::conformance::handle;
use crate::{config, open, with_passphrase};

#[test]
fn what_cannot_work_is_refused_without_touching_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let secret = |text: &str| Some(SecretString::from(text));
    let cases = [
        (config(std::path::Path::new("")), ConfigError::NoDirectory),
        (with_passphrase(&missing, ""), ConfigError::EmptyPassphrase),
        (
            FilesystemConfig {
                key_encryption_key: secret(&"0f".repeat(31)),
                ..config(&missing)
            },
            ConfigError::KeyEncryptionKey,
        ),
        (
            FilesystemConfig {
                key_encryption_key: secret(&"0f".repeat(32)),
                ..with_passphrase(&missing, "p")
            },
            ConfigError::SeveralSecrets,
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(config.validate(), Err(expected));
        let refused = open(config).unwrap_err();
        assert!(matches!(refused, OpenError::Config(error) if error == expected));
    }
    assert!(!missing.exists());
}

#[tokio::test]
async fn a_passphrase_file_is_read_without_its_line_end() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys");
    let passphrase_file = directory.path().join("passphrase");
    let from_file = || FilesystemConfig {
        passphrase_file: Some(passphrase_file.clone()),
        ..config(&keys)
    };
    let refused = open(from_file()).unwrap_err();
    assert!(matches!(refused, OpenError::PassphraseFile(..)));

    fs::write(&passphrase_file, "correct horse \r\n").unwrap();
    let engine = open(from_file()).unwrap();
    engine
        .generate(&handle("k"), KeySpec::Ed25519)
        .await
        .unwrap();
    open(with_passphrase(&keys, "correct horse ")).unwrap();
}

#[test]
fn nothing_secret_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_passphrase(directory.path(), "correct horse");
    assert!(!format!("{config:?}").contains("horse"));
    let engine = open(config).unwrap();
    let printed = format!("{engine:?}");
    assert!(printed.contains("filesystem-1"), "{printed}");
    assert!(!printed.contains("horse"), "{printed}");
}

#[test]
fn reads_the_names_of_the_documentation() {
    let config: FilesystemConfig = serde_json::from_value(serde_json::json!({
        "id": "filesystem-1",
        "storage_directory": "/var/lib/lamassu/keys",
        "passphrase_file": "/run/secrets/lamassu-keys",
        "metadata": {"site": "lab"},
    }))
    .unwrap();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.metadata["site"], "lab");
}
