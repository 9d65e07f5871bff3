//! Files and their directory: permissions, atomicity, what is listed, what is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lamassu_core::crypto_engine::{CryptoEngine as _, EngineError};
use lamassu_crypto::{Curve, KeySpec, Message};
use lamassu_crypto_filesystem::OpenError;

use crate::conformance::handle;
use crate::{config, open};

const P256: KeySpec = KeySpec::Ec(Curve::P256);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn only_the_owner_may_read() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/keys");
    let engine = open(config(&directory)).unwrap();
    engine.generate(&handle("k"), P256).await.unwrap();
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("k")), 0o600);
}

#[test]
fn a_directory_open_to_others_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    open(config(directory.path())).unwrap();
    assert_eq!(mode(directory.path()), 0o700);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = open(config(file.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Directory(..)), "{refused:?}");
}

#[tokio::test]
async fn leftovers_of_a_crash_are_swept_and_never_listed() {
    let directory = tempfile::tempdir().unwrap();
    let leftover = directory.path().join(".new-0123");
    fs::write(&leftover, "-----BEGIN PRIVATE KEY-----\nMIG").unwrap();
    let engine = open(config(directory.path())).unwrap();
    assert!(!leftover.exists());
    assert_eq!(engine.list(None, 10).await.unwrap(), []);
}

#[test]
fn files_that_another_process_is_writing_are_spared() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".new-0123");
    let file = fs::File::create(&path).unwrap();
    file.lock().unwrap();
    open(config(directory.path())).unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn nothing_but_the_key_is_left_after_writing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(config(directory.path())).unwrap();
    engine.generate(&handle("k"), P256).await.unwrap();
    let refused = engine.generate(&handle("k"), P256).await;
    assert!(matches!(refused, Err(EngineError::KeyExists)));
    let names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["k"]);
}

#[tokio::test]
async fn many_keys_at_once_are_all_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(config(directory.path())).unwrap();
    let handles: Vec<_> = (0..32).map(|n| handle(&format!("k{n:02}"))).collect();
    let made = futures_util::future::join_all(handles.iter().map(|key| engine.generate(key, P256)));
    let made: Vec<_> = made.await.into_iter().map(Result::unwrap).collect();

    let restarted = open(config(directory.path())).unwrap();
    assert_eq!(restarted.list(None, 100).await.unwrap(), handles);
    for (key, public) in handles.iter().zip(&made) {
        let signer = restarted.signer(key).await.unwrap();
        assert_eq!(signer.public_key(), public);
    }
}

#[tokio::test]
async fn a_key_once_read_signs_without_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(config(directory.path())).unwrap();
    first.generate(&handle("k"), P256).await.unwrap();

    let engine = open(config(directory.path())).unwrap();
    engine.signer(&handle("k")).await.unwrap();
    fs::remove_file(directory.path().join("k")).unwrap();
    let signer = engine.signer(&handle("k")).await.unwrap();
    let scheme = signer.public_key().default_scheme();
    signer.sign(scheme, Message::Raw(b"m")).await.unwrap();

    engine.delete(&handle("k")).await.unwrap();
    let gone = engine.signer(&handle("k")).await;
    assert!(matches!(gone, Err(EngineError::KeyNotFound)));
}

#[tokio::test]
async fn stray_files_are_no_keys() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("README"), "about this directory").unwrap();
    fs::write(
        directory.path().join("notes.txt"),
        "-----BEGIN PRIVATE KEY-----",
    )
    .unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    let engine = open(config(directory.path())).unwrap();
    engine.generate(&handle("k"), P256).await.unwrap();
    // One name at a time, so that pages without keys are met.
    assert_eq!(engine.list(None, 1).await.unwrap(), [handle("k")]);
    assert_eq!(engine.list(Some(&handle("k")), 1).await.unwrap(), []);
    let unreadable = engine.signer(&handle("README")).await;
    assert!(matches!(unreadable, Err(EngineError::KeyUnreadable(_))));
}
