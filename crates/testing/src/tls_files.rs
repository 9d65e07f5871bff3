//! Certificates of a server and a client, made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// A CA, a server's certificate for `localhost` and a client's for the user `lamassu`, and a CA
/// that issued none of them; all PEM files, gone with this value.
#[derive(Debug)]
pub struct TlsFiles {
    directory: TempDir,
}

impl TlsFiles {
    /// Makes them; keys are P-256.
    ///
    /// # Errors
    ///
    /// What `openssl` says.
    pub fn make() -> Result<Self> {
        let files = Self {
            directory: tempfile::tempdir()?,
        };
        files.ca("ca")?;
        files.ca("other-ca")?;
        files.issue("server", "/CN=server", "subjectAltName=DNS:localhost")?;
        files.issue("client", "/CN=lamassu", "extendedKeyUsage=clientAuth")?;
        files.for_the_server("server")?;
        Ok(files)
    }

    /// The certificate `ca`, `other-ca`, `server`, `client` or one that was issued since.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.path(name, "crt")
    }

    /// The key of a certificate.
    pub fn key(&self, name: &str) -> PathBuf {
        self.path(name, "key")
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.{kind}"))
    }

    fn ca(&self, name: &str) -> Result<()> {
        openssl(
            Command::new("openssl")
                // They outlive what they issue.
                .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"])
                .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
                .arg(format!("/CN={name}"))
                .arg("-keyout")
                .arg(self.key(name))
                .arg("-out")
                .arg(self.certificate(name)),
        )
    }

    /// A further certificate of `ca`, with one extension more.
    ///
    /// # Errors
    ///
    /// What `openssl` says.
    pub fn issue(&self, name: &str, subject: &str, extension: &str) -> Result<()> {
        self.issue_by("ca", name, subject, extension)
    }

    /// The same of another CA.
    ///
    /// # Errors
    ///
    /// What `openssl` says.
    pub fn issue_by(&self, ca: &str, name: &str, subject: &str, extension: &str) -> Result<()> {
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
                .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .args(["-addext", extension, "-CA"])
                .arg(self.certificate(ca))
                .arg("-CAkey")
                .arg(self.key(ca))
                .arg("-keyout")
                .arg(self.key(name))
                .arg("-out")
                .arg(self.certificate(name)),
        )
    }

    /// The server's own user reads its key, and everybody the certificates.
    fn for_the_server(&self, name: &str) -> Result<()> {
        let mode = |mode: &str, path: &Path| done(Command::new("chmod").arg(mode).arg(path));
        mode("755", self.directory.path())?;
        let key = self.key(name);
        // Without the right to do so there is no other user either.
        drop(
            Command::new("chown")
                .arg("postgres")
                .arg(&key)
                .stderr(Stdio::null())
                .status(),
        );
        mode("600", &key)
    }
}

fn openssl(command: &mut Command) -> Result<()> {
    done(command).context("openssl")
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
