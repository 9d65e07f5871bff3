//! A passphrase from a file: command lines and environments are seen by others.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// The passphrase in a file; the line end behind it is not part of it.
///
/// # Errors
/// The file cannot be read, or is empty.
pub(crate) fn read(path: &Path) -> Result<SecretString> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .with_context(|| format!("passphrase file {} cannot be read", path.display()))?;
    let passphrase = text.trim_end_matches(['\r', '\n']);
    ensure!(
        !passphrase.is_empty(),
        "passphrase file {} is empty",
        path.display()
    );
    Ok(SecretString::from(passphrase))
}
