//! The program under test, as a process.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::support::command;
use crate::support::wait::wait_for;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The path of the program, built first if it is not there.
pub(crate) fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "-p", "lamassu"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the program does not build");
        let test = std::env::current_exe().expect("a test has a path");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("a test is in target/PROFILE/deps");
        profile.join("lamassu")
    })
}

/// Options of a start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Further arguments of `serve`.
    pub(crate) arguments: Vec<String>,
    /// A configuration file's text (YAML).
    pub(crate) config: Option<String>,
    /// Variables of its environment.
    pub(crate) environment: Vec<(String, OsString)>,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    directory: TempDir,
    options: Options,
    /// Port of HTTPS.
    pub(crate) https_port: u16,
    /// Port of plain HTTP.
    pub(crate) http_port: u16,
}

impl Program {
    /// Starts a server on an empty data directory and free ports.
    ///
    /// # Errors
    /// It does not get ready; the error holds what it printed.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_with(options: Options) -> Result<Self> {
        Self::start_in(TempDir::new()?, options)
    }

    /// The same in a directory that the test has prepared.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_in(directory: TempDir, options: Options) -> Result<Self> {
        let (child, https_port, http_port) = launch(directory.path(), &options)?;
        Ok(Self {
            child,
            directory,
            options,
            https_port,
            http_port,
        })
    }

    /// The server's data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A directory for the test's own files.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    /// The trust anchor of the server's certificate.
    pub(crate) fn anchor(&self) -> PathBuf {
        self.data_dir().join("tls/ca.pem")
    }

    /// `https://localhost:PORT`
    pub(crate) fn https(&self) -> String {
        format!("https://localhost:{}", self.https_port)
    }

    /// `http://localhost:PORT`
    pub(crate) fn http(&self) -> String {
        format!("http://localhost:{}", self.http_port)
    }

    /// Everything that the server printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A bearer token of the local issuer, made by the program itself.
    ///
    /// # Errors
    /// The program refuses.
    pub(crate) fn token(&self, role: &str) -> Result<String> {
        let data_dir = self.data_dir();
        let arguments = [
            "token",
            "--data-dir",
            &data_dir.to_string_lossy(),
            "--role",
            role,
        ];
        let token = command::run(
            self.directory.path(),
            &executable().to_string_lossy(),
            &arguments,
        )?;
        Ok(token.trim().to_owned())
    }

    /// Kills the server without warning and starts another one on the same data directory.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        let (child, https_port, http_port) = launch(self.directory.path(), &self.options)?;
        self.child = child;
        self.https_port = https_port;
        self.http_port = http_port;
        Ok(())
    }

    /// Kills the server without warning, and the next one on the same data directory `after` its
    /// start, ready or not.
    ///
    /// # Errors
    /// It cannot be started or waited for.
    pub(crate) fn kill_and_kill_while_starting(&mut self, after: Duration) -> Result<()> {
        self.kill()?;
        self.child = spawn(self.directory.path(), &self.options)?;
        std::thread::sleep(after);
        self.kill()
    }

    /// Kills the server without warning (SIGKILL).
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the server to stop (SIGTERM) and gives its exit status.
    ///
    /// # Errors
    /// It does not stop in time.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        let pid = self.child.id().to_string();
        command::run(self.directory.path(), "kill", &["-TERM", &pid])?;
        let child = &mut self.child;
        wait_for("the server to stop", Duration::from_secs(40), || {
            child.try_wait().ok().flatten()
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(6000);
            let tail = (tail..=log.len())
                .find(|at| log.is_char_boundary(*at))
                .unwrap_or(0);
            eprintln!(
                "--- the server's log ends so:\n{}",
                log.get(tail..).unwrap_or_default()
            );
        }
    }
}

fn spawn(directory: &Path, options: &Options) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))?;
    let mut command = Command::new(executable());
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--http-port", "0", "--https-port", "0"])
        .args(&options.arguments)
        .envs(options.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(File::create(directory.join("stdout"))?)
        .stderr(log);
    let config = options.config.as_deref().unwrap_or(
        "gateway: {metrics: {listen: null}}\nlogs: {level: \"info,lamassu_dms=debug,lamassu_http=debug\"}\n",
    );
    std::fs::write(directory.join("config.yml"), config)?;
    command.arg("--config").arg(directory.join("config.yml"));
    command.spawn().context("the program does not start")
}

fn launch(directory: &Path, options: &Options) -> Result<(Child, u16, u16)> {
    let mut child = spawn(directory, options)?;
    let output = directory.join("stdout");
    let ready = wait_for("the server to be ready", START, || {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(Err(anyhow::anyhow!("the server ended with {status}")));
        }
        let text = std::fs::read_to_string(&output).ok()?;
        Some(Ok((
            port(&text, "https://localhost:")?,
            port(&text, "http://localhost:")?,
        )))
    });
    let ports = ready
        .and_then(|ready| ready)
        .with_context(|| std::fs::read_to_string(directory.join("log")).unwrap_or_default())?;
    ensure!(ports.0 != ports.1, "one port for both listeners");
    Ok((child, ports.0, ports.1))
}

/// The port behind the first `prefix` of a text.
fn port(text: &str, prefix: &str) -> Option<u16> {
    let (_, rest) = text.split_once(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}
