//! A device's key and certificate in their files.
//!
//! Each file changes as a whole, and the pair belongs together again after any crash: a new key waits
//! beside the old one (`KEY.new`) until its certificate is in its file, and takes its place then; whoever
//! comes next finishes what was interrupted. A request waits as well (`CERT.request`), because a
//! server that answers later, or whose answer was lost, wants to see the same one again.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use lamassu_client::est::EstIdentity;
use lamassu_crypto::PrivateKey;
use lamassu_x509::pem::{PemLabel, der_to_pem, pem_to_der};
use lamassu_x509::{Certificate, CertificationRequest};
use zeroize::Zeroizing;

use crate::commands::files;

/// The files of a device; nobody else of ours works on them meanwhile.
#[derive(Debug)]
pub(super) struct Pair {
    key: PathBuf,
    cert: PathBuf,
    _lock: File,
}

/// A key and its certificate.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: PrivateKey,
    /// The chain, end entity first.
    pub(super) chain: Vec<Certificate>,
}

impl Held {
    /// The device's certificate.
    pub(super) fn certificate(&self) -> Result<&Certificate> {
        self.chain.first().context("no certificate")
    }

    pub(super) fn identity(&self) -> Result<EstIdentity> {
        Ok(EstIdentity::new(&self.chain, &self.key)?)
    }
}

impl Pair {
    /// Takes the files, and finishes what a crash left half done.
    ///
    /// # Errors
    /// Another command has them, or one cannot be read.
    pub(super) fn open(key: &Path, cert: &Path) -> Result<Self> {
        ensure!(
            key != cert,
            "key and certificate have a file each: --key and --cert name the same"
        );
        let pair = Self {
            key: key.to_owned(),
            cert: cert.to_owned(),
            _lock: lock(&beside(cert, ".lock"))?,
        };
        pair.settle()?;
        Ok(pair)
    }

    /// The new key belongs to the certificate: then the certificate was the last that was written.
    fn settle(&self) -> Result<()> {
        let new = self.new_key_file();
        if !new.exists() || !self.cert.exists() {
            return Ok(());
        }
        let chain = files::read_certificates(&self.cert)?;
        let certificate = chain.first().context("no certificate")?;
        if belongs(&files::private_key(&new)?, certificate) {
            files::rename(&new, &self.key)?;
            files::remove(&self.request_file())?;
        }
        Ok(())
    }

    /// The key, if there is one.
    pub(super) fn key(&self) -> Result<Option<PrivateKey>> {
        let there = self.key.exists().then(|| files::private_key(&self.key));
        there.transpose()
    }

    /// Key and certificate, if there is one for that key.
    pub(super) fn held(&self) -> Result<Option<Held>> {
        let Some(key) = self.key()? else {
            return Ok(None);
        };
        if !self.cert.exists() {
            return Ok(None);
        }
        let chain = files::read_certificates(&self.cert)?;
        let is_its_own = chain.first().is_some_and(|first| belongs(&key, first));
        ensure!(
            is_its_own,
            "{} is not the certificate of the key in {}",
            self.cert.display(),
            self.key.display()
        );
        Ok(Some(Held { key, chain }))
    }

    /// Puts a key where it belongs, before anybody certifies it.
    pub(super) fn write_key(&self, key: &PrivateKey) -> Result<()> {
        files::replace(&self.key, pem(key)?.as_bytes())
    }

    /// The key that waits for its certificate.
    pub(super) fn new_key(&self) -> Result<Option<PrivateKey>> {
        let path = self.new_key_file();
        path.exists().then(|| files::private_key(&path)).transpose()
    }

    /// Has a key wait for its certificate.
    pub(super) fn write_new_key(&self, key: &PrivateKey) -> Result<()> {
        files::replace_like(&self.new_key_file(), &self.key, pem(key)?.as_bytes())
    }

    /// The request that waits for its answer; one that cannot be read is none.
    pub(super) fn request(&self) -> Option<CertificationRequest> {
        let text = std::fs::read(self.request_file()).ok()?;
        CertificationRequest::from_der(pem_to_der(&text).ok()?).ok()
    }

    /// Has a request wait for its answer.
    pub(super) fn write_request(&self, der: &Bytes) -> Result<()> {
        let text = der_to_pem(PemLabel::CertificateRequest, der);
        files::replace(&self.request_file(), text.as_bytes())
    }

    /// Forgets a request that was refused, and the key that was made for it.
    pub(super) fn give_up(&self) -> Result<()> {
        files::remove(&self.request_file())?;
        files::remove(&self.new_key_file())
    }

    /// Puts a certificate, end entity first, in its place, and the key that waited for it.
    pub(super) fn install(&self, chain: &[Certificate]) -> Result<()> {
        let pems = chain
            .iter()
            .map(|one| der_to_pem(PemLabel::Certificate, one.as_der()));
        files::replace(&self.cert, pems.collect::<String>().as_bytes())?;
        if self.new_key_file().exists() {
            files::rename(&self.new_key_file(), &self.key)?;
        }
        files::remove(&self.request_file())
    }

    pub(super) fn key_file(&self) -> &Path {
        &self.key
    }

    pub(super) fn cert_file(&self) -> &Path {
        &self.cert
    }

    /// That a hook has to run: for a start after a crash.
    pub(super) fn hook_file(&self) -> PathBuf {
        beside(&self.cert, ".hook")
    }

    fn new_key_file(&self) -> PathBuf {
        beside(&self.key, ".new")
    }

    fn request_file(&self) -> PathBuf {
        beside(&self.cert, ".request")
    }
}

fn belongs(key: &PrivateKey, certificate: &Certificate) -> bool {
    certificate.spki_der().as_ref() == key.public_key().spki_der()
}

fn pem(key: &PrivateKey) -> Result<Zeroizing<String>> {
    let der = key.to_pkcs8_der()?;
    Ok(Zeroizing::new(der_to_pem(PemLabel::PrivateKey, &der)))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another command works on these files now: it has {}",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use lamassu_crypto::{Curve, KeySpec, PrivateKey};
    use lamassu_x509::Certificate;
    use lamassu_x509::pem::{PemLabel, der_to_pem, pem_to_der};

    use super::{Pair, files};

    /// A self-signed certificate of this key.
    pub(in super::super::super) fn certificate(directory: &Path, key: &PrivateKey) -> Certificate {
        let der = pem_to_der(&certificate_file(directory, key)).unwrap();
        Certificate::from_der(der).unwrap()
    }

    /// The same as a file, by openssl.
    pub(in super::super) fn certificate_file(directory: &Path, key: &PrivateKey) -> Vec<u8> {
        let path = directory.join("signing.key");
        let text = der_to_pem(PemLabel::PrivateKey, &key.to_pkcs8_der().unwrap());
        std::fs::write(&path, text).unwrap();
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-subj", "/CN=x", "-days", "1", "-key"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(made.status.success());
        made.stdout
    }

    #[test]
    fn a_crash_between_certificate_and_key_is_finished_by_whoever_comes_next() {
        let directory = tempfile::tempdir().unwrap();
        let (key, cert) = (
            directory.path().join("a.key"),
            directory.path().join("a.pem"),
        );
        let old = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let new = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let pair = Pair::open(&key, &cert).unwrap();
        pair.write_key(&old).unwrap();
        files::replace(&cert, &certificate_file(directory.path(), &old)).unwrap();
        assert!(pair.held().unwrap().is_some());
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Pair::open(&key, &cert).is_err(), "it is locked");

        // Nothing came for the new key yet: it waits.
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        pair.write_new_key(&new).unwrap();
        drop(pair);
        let pair = Pair::open(&key, &cert).unwrap();
        assert!(pair.new_key().unwrap().is_some() && pair.held().unwrap().is_some());
        // The certificate came, and then the power went.
        files::replace(&cert, &certificate_file(directory.path(), &new)).unwrap();
        pair.held().unwrap_err();
        drop(pair);
        let pair = Pair::open(&key, &cert).unwrap();
        let held = pair.held().unwrap().unwrap();
        let spki = held.key.public_key().spki_der();
        assert_eq!(spki, new.public_key().spki_der());
        assert!(pair.new_key().unwrap().is_none());
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
