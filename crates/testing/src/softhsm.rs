//! Tokens of SoftHSM2, each with a directory of its own, and a server in front of them.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The variable by which SoftHSM2 finds its configuration.
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Tokens, gone with this value.
#[derive(Debug)]
pub struct SoftHsm {
    directory: TempDir,
}

impl SoftHsm {
    /// The PIN of every token.
    pub const PIN: &str = "1234";

    /// A place for tokens, without any.
    ///
    /// # Errors
    ///
    /// What does not work, for example because SoftHSM2 is not installed.
    pub fn new() -> Result<Self> {
        ensure!(
            Path::new(MODULE).exists(),
            "{MODULE} does not exist: install softhsm2"
        );
        let directory = tempfile::tempdir()?;
        let tokens = directory.path().join("tokens");
        std::fs::create_dir(&tokens)?;
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        let hsm = Self { directory };
        std::fs::write(hsm.configuration(), configuration)?;
        Ok(hsm)
    }

    /// The module.
    pub fn module() -> PathBuf {
        PathBuf::from(MODULE)
    }

    /// What a process needs in its environment to find the tokens: a name and a value.
    pub fn environment(&self) -> (&'static str, PathBuf) {
        (CONFIGURATION, self.configuration())
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// What `softhsm2-util` says.
    pub fn add_token(&self, label: &str) -> Result<()> {
        let (name, value) = self.environment();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label])
            .args(["--pin", Self::PIN, "--so-pin", "12345678"])
            .env(name, value)
            .output()
            .context("softhsm2-util is not installed (package softhsm2)")?;
        ensure!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Ok(())
    }

    /// Runs the body of a test in a process of its own, with one token. A module reads its
    /// configuration from the environment of the process, which tests share.
    ///
    /// `test` is the path of the test that calls this, as `cargo test -- --list` shows it.
    ///
    /// # Panics
    ///
    /// When the test fails.
    #[expect(clippy::panic, reason = "for tests, which end so")]
    pub fn with_token<F: Future<Output = ()>>(test: &str, body: impl FnOnce(String) -> F) {
        if let Err(error) = Self::try_with_token(test, body) {
            panic!("{test}: {error:#}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the environment is the subject")]
    fn try_with_token<F: Future<Output = ()>>(
        test: &str,
        body: impl FnOnce(String) -> F,
    ) -> Result<()> {
        /// Says to the process that it is the one of its own.
        const TOKEN: &str = "LAMASSU_TEST_TOKEN";
        if let Ok(label) = std::env::var(TOKEN) {
            let runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = { runtime }.enable_all().build()?;
            runtime.block_on(body(label));
            return Ok(());
        }
        let hsm = Self::new()?;
        hsm.add_token("test")?;
        let (name, value) = hsm.environment();
        let run = Command::new(std::env::current_exe()?)
            .args([test, "--exact", "--nocapture"])
            .env(name, value)
            .env(TOKEN, "test")
            .output()?;
        let text = String::from_utf8_lossy(&run.stdout);
        ensure!(
            run.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&run.stderr)
        );
        Ok(())
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }
}
