//! Tokens of SoftHSM2, each with a directory of its own, and a server in front of them.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

/// The variable by which SoftHSM2 finds its configuration.
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Says to a process that runs one test where its token is.
const DIRECTORY: &str = "LAMASSU_TEST_TOKENS";

/// Whether a module takes wrapped keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapped {
    /// It does.
    Taken,
    /// It does not.
    Refused,
}

/// Tokens, gone with the value that made them.
#[derive(Debug)]
pub struct SoftHsm {
    directory: PathBuf,
    _owned: Option<TempDir>,
}

impl SoftHsm {
    /// The PIN of every token.
    pub const PIN: &str = "1234";

    /// The label of the token that [`with_token`](Self::with_token) makes.
    pub const TOKEN: &str = "test";

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
        let hsm = Self {
            directory: directory.path().to_owned(),
            _owned: Some(directory),
        };
        let tokens = hsm.tokens();
        std::fs::create_dir(&tokens)?;
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(hsm.configuration(), configuration)?;
        Ok(hsm)
    }

    /// The module.
    pub fn module() -> PathBuf {
        PathBuf::from(MODULE)
    }

    /// A module in front of [`module`](Self::module) that takes no private keys as they are once it is
    /// told so by [`refuse`](Self::refuse). It is built in `directory`.
    ///
    /// # Errors
    ///
    /// It does not build.
    pub fn refusing_module(directory: &Path) -> Result<PathBuf> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("refusing-module/refusing.c");
        let library = directory.join("refusing.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"])
            .arg(format!("-DBASE=\"{MODULE}\""))
            .arg("-o")
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .context("there is no C compiler")?;
        ensure!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        Ok(library)
    }

    /// Lets the [`refusing_module`](Self::refusing_module) refuse private keys with this answer of
    /// PKCS#11, and take them wrapped or not even so.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub fn refuse(&self, answer: u64, wrapped: Wrapped) -> Result<()> {
        let also = match wrapped {
            Wrapped::Taken => "",
            Wrapped::Refused => "wrapped",
        };
        let told = format!("{answer:x} {also}\n");
        Ok(std::fs::write(self.directory.join("refusal"), told)?)
    }

    /// What a process needs in its environment to find the tokens: a name and a value.
    pub fn environment(&self) -> (&'static str, String) {
        (CONFIGURATION, self.configuration().display().to_string())
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

    /// Takes a token away, as one pulls out a card; [`bring_back`](Self::bring_back) puts it in again.
    ///
    /// # Errors
    ///
    /// There is no such token.
    pub fn take_away(&self, label: &str) -> Result<()> {
        for token in std::fs::read_dir(self.tokens())? {
            let token = token?.path();
            let about = std::fs::read(token.join("token.object"))?;
            // Its label, filled up with blanks.
            let padded = format!("{label:32}");
            let mut texts = about.windows(padded.len());
            if texts.any(|text| text == padded.as_bytes()) {
                std::fs::rename(&token, self.away(label))?;
                // Its directory has its name from inside.
                std::fs::write(self.away_name(label), token.as_os_str().as_encoded_bytes())?;
                return Ok(());
            }
        }
        bail!("no token is labelled {label}")
    }

    /// Puts a token in again.
    ///
    /// # Errors
    ///
    /// It was not taken away.
    pub fn bring_back(&self, label: &str) -> Result<()> {
        let place = std::fs::read_to_string(self.away_name(label))?;
        std::fs::rename(self.away(label), place)?;
        Ok(())
    }

    fn tokens(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    fn away(&self, label: &str) -> PathBuf {
        self.directory.join(format!("away-{label}"))
    }

    fn away_name(&self, label: &str) -> PathBuf {
        self.directory.join(format!("name-{label}"))
    }

    /// The labels of the private keys in a token, as `p11tool` (GnuTLS) lists them.
    ///
    /// # Errors
    ///
    /// What `p11tool` says.
    pub fn private_keys(&self, label: &str) -> Result<BTreeSet<String>> {
        self.listed(label, "Private key")
    }

    /// The labels of the public keys in a token.
    ///
    /// # Errors
    ///
    /// What `p11tool` says.
    pub fn public_keys(&self, label: &str) -> Result<BTreeSet<String>> {
        self.listed(label, "Public key")
    }

    /// The labels of the objects of a type.
    fn listed(&self, label: &str, wanted: &str) -> Result<BTreeSet<String>> {
        let (name, value) = self.environment();
        let listed = Command::new("p11tool")
            .args(["--provider", MODULE, "--login", "--set-pin", Self::PIN])
            .args(["--list-all", &format!("pkcs11:token={label}")])
            .env(name, value)
            .output()
            .context("p11tool is not installed (package gnutls-bin)")?;
        let error = String::from_utf8_lossy(&listed.stderr);
        // No keys at all is a failure to the tool.
        let is_empty = error.contains("No matching objects found");
        ensure!(listed.status.success() || is_empty, "{error}");
        let text = String::from_utf8_lossy(&listed.stdout);
        let mut labels = BTreeSet::new();
        let mut is_wanted = false;
        for line in text.lines().map(str::trim) {
            if let Some(found) = line.strip_prefix("Type: ") {
                is_wanted = found.starts_with(wanted);
            } else if let Some(found) = line.strip_prefix("Label: ")
                && is_wanted
            {
                labels.insert(found.to_owned());
            }
        }
        Ok(labels)
    }

    /// Runs the body of a test in a process of its own, with one token, which has no server yet. A
    /// module reads its configuration from the environment of the process, which tests share.
    ///
    /// `test` is the path of the test that calls this, as `cargo test -- --list` shows it.
    ///
    /// # Panics
    ///
    /// When the test fails.
    #[expect(clippy::panic, reason = "for tests, which end so")]
    pub fn with_token<F: Future<Output = ()>>(test: &str, body: impl FnOnce(Self) -> F) {
        if let Err(error) = Self::try_with_token(test, body) {
            panic!("{test}: {error:#}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the environment is the subject")]
    fn try_with_token<F: Future<Output = ()>>(
        test: &str,
        body: impl FnOnce(Self) -> F,
    ) -> Result<()> {
        if let Some(directory) = std::env::var_os(DIRECTORY) {
            let hsm = Self {
                directory: PathBuf::from(directory),
                _owned: None,
            };
            let runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = { runtime }.enable_all().build()?;
            runtime.block_on(body(hsm));
            return Ok(());
        }
        let hsm = Self::new()?;
        hsm.add_token(Self::TOKEN)?;
        let run = Command::new(std::env::current_exe()?)
            .args([test, "--exact", "--nocapture"])
            .envs([hsm.environment(), hsm.server_environment()])
            .env(DIRECTORY, &hsm.directory)
            .output()?;
        let text = String::from_utf8_lossy(&run.stdout);
        ensure!(
            run.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&run.stderr)
        );
        Ok(())
    }

    /// What a process needs in its environment to find the server in front of a token, where there is
    /// one: a name and a value.
    pub fn server_environment(&self) -> (&'static str, String) {
        let address = format!("unix:path={}", self.socket().display());
        ("P11_KIT_SERVER_ADDRESS", address)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("server")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }
}

/// `p11-kit server` in front of a token, and what a process needs to find it.
#[derive(Debug)]
pub struct TokenServer<'a> {
    hsm: &'a SoftHsm,
    label: String,
    running: Option<Child>,
}

impl<'a> TokenServer<'a> {
    /// Starts a server for one token.
    ///
    /// # Errors
    ///
    /// It does not start, for example because p11-kit is not installed.
    pub fn start(hsm: &'a SoftHsm, label: &str) -> Result<Self> {
        let mut server = Self {
            hsm,
            label: label.to_owned(),
            running: None,
        };
        server.resume()?;
        Ok(server)
    }

    /// The module that speaks to a server.
    ///
    /// # Errors
    ///
    /// It is not installed.
    pub fn module() -> Result<PathBuf> {
        let folders = std::fs::read_dir("/usr/lib")?;
        let modules = folders
            .flatten()
            .map(|folder| folder.path().join("pkcs11/p11-kit-client.so"));
        let mut found = modules.filter(|module| module.exists());
        found
            .next()
            .context("p11-kit-client.so is not installed (package p11-kit-modules)")
    }

    /// Starts the server again that was killed.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn resume(&mut self) -> Result<()> {
        let socket = self.hsm.socket();
        if socket.exists() {
            std::fs::remove_file(&socket)?;
        }
        let (name, value) = self.hsm.environment();
        let mut server = Command::new("p11-kit")
            .args(["server", "--foreground", "--provider", MODULE, "--name"])
            .arg(&socket)
            .arg(format!("pkcs11:token={}", self.label))
            .env(name, value)
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .context("p11-kit is not installed (package p11-kit)")?;
        // It tells its address once it listens.
        let output = server.stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        self.running = Some(server);
        ensure!(socket.exists(), "p11-kit server does not listen: {line}");
        Ok(())
    }

    /// Kills the server and whoever serves a connection for it, without warning.
    ///
    /// # Errors
    ///
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut server) = self.running.take() {
            let group = format!("-{}", server.id());
            let killed = Command::new("kill")
                .args(["-KILL", "--", &group])
                .status()?;
            ensure!(killed.success(), "{killed}");
            server.wait()?;
        }
        Ok(())
    }

    /// Lets the server stand still (`STOP`), or go on (`CONT`).
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let server = self.running.as_ref().context("the server runs")?;
        let group = format!("-{}", server.id());
        let signal = format!("-{signal}");
        let sent = Command::new("kill")
            .args([&signal, "--", &group])
            .status()?;
        ensure!(sent.success(), "{sent}");
        Ok(())
    }
}

impl Drop for TokenServer<'_> {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
