//! The openssl program as a judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use lamassu_x509::pem::{PemLabel, der_to_pem};

/// A directory for the files of one run.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn der(&self, name: &str, der: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, der).unwrap();
        path
    }

    pub(crate) fn pem(&self, name: &str, label: PemLabel, der: &[u8]) -> PathBuf {
        self.der(name, der_to_pem(label, der).as_bytes())
    }
}

/// Runs openssl and gives what it said; fails when it failed.
pub(crate) fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "openssl {args:?}: {text}");
    text
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
