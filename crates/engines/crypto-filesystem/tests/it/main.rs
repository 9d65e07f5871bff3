#![cfg(test)]
//! The engine over a directory: the suite of all engines, and what is its own.

mod configuration;
mod encryption;
mod files;
mod openssl;

use std::path::Path;

use lamassu_crypto_filesystem::{FilesystemConfig, FilesystemEngine, OpenError};
use lamassu_crypto_software::KeyGenerator;
use lamassu_testing::conformance;
use secrecy::SecretString;

/// A configuration without secret.
fn config(directory: &Path) -> FilesystemConfig {
    FilesystemConfig {
        id: "filesystem-1".to_owned(),
        storage_directory: directory.to_owned(),
        metadata: serde_json::Map::new(),
        passphrase: None,
        passphrase_file: None,
        key_encryption_key: None,
    }
}

fn with_passphrase(directory: &Path, passphrase: &str) -> FilesystemConfig {
    FilesystemConfig {
        passphrase: Some(SecretString::from(passphrase)),
        ..config(directory)
    }
}

fn open(config: FilesystemConfig) -> Result<FilesystemEngine, OpenError> {
    FilesystemEngine::open(config, KeyGenerator::new(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_in_clear() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(config(directory.path())).unwrap();
    conformance::conforms(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_with_a_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(with_passphrase(directory.path(), "correct horse")).unwrap();
    conformance::conforms(&engine).await;
}
