//! The program under test, as one process or as several.
//!
//! `LAMASSU_TEST_DATABASE=postgres` runs it on a PostgreSQL schema of its own, and
//! `LAMASSU_TEST_LAYOUT=apart` as three processes on one: gateway and DMS manager, keys and CAs,
//! devices and validation. A test that says by itself what runs where is left alone.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_db::PostgresOptions;
use lamassu_testing::PostgresServer;
use tempfile::TempDir;

use crate::support::command;
use crate::support::load::Dice;
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
    /// Whether it runs as three processes; it needs a schema then.
    pub(crate) apart: bool,
    /// Variables of its environment.
    pub(crate) environment: Vec<(String, OsString)>,
}

/// Which services run beside the gateway's process when they run apart, and the folders of their
/// processes.
const BESIDE: [(&str, &str); 2] = [("kms,ca", "data-keys"), ("devmanager,va", "data-devices")];

/// What the gateway's process runs then.
const IN_FRONT: &str = "gateway,dmsmanager";

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// Processes beside the first, and the ports that the others find them at.
    beside: Vec<(Child, u16)>,
    directory: TempDir,
    options: Options,
    /// Where its rows are, if not in the data directory.
    storage: Option<Box<PostgresOptions>>,
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
        Self::start_at(directory, options, chosen_storage())
    }

    /// The same with rows in this schema, or in the data directory.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_on(
        options: Options,
        storage: Option<Box<PostgresOptions>>,
    ) -> Result<Self> {
        Self::start_at(TempDir::new()?, options, storage)
    }

    /// The same in such a directory and with such rows.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn start_at(
        directory: TempDir,
        options: Options,
        storage: Option<Box<PostgresOptions>>,
    ) -> Result<Self> {
        let launched = launch(directory.path(), &options, storage.as_deref())?;
        Ok(Self {
            child: launched.child,
            beside: launched.beside,
            directory,
            options,
            storage,
            https_port: launched.https_port,
            http_port: launched.http_port,
        })
    }

    /// The schema of the server's rows, where they are not in the data directory.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.storage.as_ref().map(|storage| storage.schema.as_str())
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

    /// Where the metrics are, as the server says at its start; a picked port of its own is asked for by
    /// the configuration.
    ///
    /// # Errors
    /// They are nowhere.
    pub(crate) fn metrics(&self) -> Result<String> {
        let said = std::fs::read_to_string(self.directory.path().join("data.stdout"))?;
        let mut lines = said.lines();
        let url = lines.find_map(|line| line.trim().strip_prefix("metrics "));
        Ok(url.context("no metrics")?.trim().to_owned())
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
        let config = self.directory.path().join("config.yml");
        let arguments = [
            "token",
            "--config",
            &config.to_string_lossy(),
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
        self.restart()
    }

    /// Starts another server on the data directory of one that ended.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn restart(&mut self) -> Result<()> {
        let path = self.directory.path();
        let launched = launch(path, &self.options, self.storage.as_deref())?;
        self.child = launched.child;
        self.beside = launched.beside;
        self.https_port = launched.https_port;
        self.http_port = launched.http_port;
        Ok(())
    }

    /// Kills the server without warning, and the next one on the same data directory `after` its
    /// start, ready or not.
    ///
    /// # Errors
    /// It cannot be started or waited for.
    pub(crate) fn kill_and_kill_while_starting(&mut self, after: Duration) -> Result<()> {
        self.kill()?;
        let storage = self.storage.as_deref();
        let (child, beside) = spawn(self.directory.path(), &self.options, storage)?;
        self.child = child;
        self.beside = beside;
        std::thread::sleep(after);
        self.kill()
    }

    /// How many processes the server has.
    pub(crate) fn n_processes(&self) -> usize {
        1 + self.beside.len()
    }

    /// Kills one process without warning while the others go on, that of the gateway for 0; gives
    /// its process id.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn kill_one(&mut self, n: usize) -> Result<u32> {
        let child = self.processes().nth(n).context("no such process")?;
        child.kill()?;
        child.wait()?;
        Ok(child.id())
    }

    /// Starts a process again that was killed, where the others look for it, and does not wait.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn spawn_one(&mut self, n: usize) -> Result<()> {
        let path = self.directory.path();
        let child = match n.checked_sub(1) {
            None => spawn_front(path, &self.options, !self.beside.is_empty())?,
            Some(n) => spawn_beside(path, &self.options, n, self.beside[n].1)?,
        };
        *self.processes().nth(n).context("no such process")? = child;
        Ok(())
    }

    /// The same, and waits until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn restart_one(&mut self, n: usize) -> Result<()> {
        self.spawn_one(n)?;
        let path = self.directory.path();
        match n.checked_sub(1) {
            None => {
                let text = ready(path, "data", &mut self.child)?;
                (self.https_port, self.http_port) = ports(&text)?;
            }
            Some(n) => {
                ready(path, BESIDE[n].1, &mut self.beside[n].0)?;
            }
        }
        Ok(())
    }

    /// Kills the server without warning (SIGKILL).
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn kill(&mut self) -> Result<()> {
        for child in self.processes() {
            child.kill()?;
        }
        for child in self.processes() {
            child.wait()?;
        }
        Ok(())
    }

    /// Every process of the server, that of the gateway first.
    fn processes(&mut self) -> impl Iterator<Item = &mut Child> {
        let beside = self.beside.iter_mut().map(|(child, _)| child);
        std::iter::once(&mut self.child).chain(beside)
    }

    /// Asks the server to stop (SIGTERM) and gives its exit status.
    ///
    /// # Errors
    /// It does not stop in time.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        let pids: Vec<_> = self
            .processes()
            .map(|child| child.id().to_string())
            .collect();
        for pid in pids {
            command::run(self.directory.path(), "kill", &["-TERM", &pid])?;
        }
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
        drop(self.kill());
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

/// Processes that are ready.
struct Launched {
    child: Child,
    beside: Vec<(Child, u16)>,
    https_port: u16,
    http_port: u16,
}

/// The place of rows that the environment asks for.
fn chosen_storage() -> Option<Box<PostgresOptions>> {
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    let wanted = is("LAMASSU_TEST_DATABASE", "postgres") || runs_apart();
    wanted.then(|| Box::new(PostgresServer::shared().fresh_schema()))
}

/// Whether the environment asks for several processes.
pub(crate) fn runs_apart() -> bool {
    std::env::var("LAMASSU_TEST_LAYOUT").is_ok_and(|layout| layout == "apart")
}

/// The block `storage` for these options.
pub(crate) fn storage_block(options: &PostgresOptions) -> String {
    let (host, port) = options.hosts.first().cloned().unwrap_or_default();
    format!(
        "storage: {{provider: postgres, hostname: {host}, port: {port}, username: {}, \
         database: {}, schema: {}, max_connections: 8}}\n",
        options.user, options.database, options.schema
    )
}

fn launch(
    directory: &Path,
    options: &Options,
    storage: Option<&PostgresOptions>,
) -> Result<Launched> {
    let (mut child, mut beside) = spawn(directory, options, storage)?;
    let text = ready(directory, "data", &mut child)?;
    for ((child, _), (_, data)) in beside.iter_mut().zip(BESIDE) {
        ready(directory, data, child)?;
    }
    let (https_port, http_port) = ports(&text)?;
    Ok(Launched {
        child,
        beside,
        https_port,
        http_port,
    })
}

/// Starts the processes, that of the gateway first in the answer, and waits for none.
fn spawn(
    directory: &Path,
    options: &Options,
    storage: Option<&PostgresOptions>,
) -> Result<(Child, Vec<(Child, u16)>)> {
    let mut config = options.config.clone().unwrap_or_else(|| {
        "gateway: {metrics: {listen: null}}\nlogs: {level: \"info,lamassu_dms=debug,lamassu_http=debug\"}\n"
            .to_owned()
    });
    let says_where = options
        .arguments
        .iter()
        .any(|argument| argument == "--services");
    let apart = (options.apart || runs_apart()) && storage.is_some() && !says_where;
    let mut ports = Vec::new();
    if let Some(storage) = storage {
        config.push_str(&storage_block(storage));
    }
    if apart {
        for _ in BESIDE {
            ports.push(lasting_port()?);
        }
        let [keys, devices] = ports[..] else {
            bail!("a port for each process");
        };
        for (name, port) in [
            ("kms_client", keys),
            ("ca_client", keys),
            ("device_manager_client", devices),
            ("va_client", devices),
        ] {
            config.push_str(&format!(
                "{name}: {{protocol: http, hostname: 127.0.0.1, port: {port}}}\n"
            ));
        }
    }
    std::fs::write(directory.join("config.yml"), config)?;
    let mut beside = Vec::new();
    for (n, port) in ports.into_iter().enumerate() {
        beside.push((spawn_beside(directory, options, n, port)?, port));
    }
    let child = spawn_front(directory, options, apart)?;
    Ok((child, beside))
}

/// Starts the process of the gateway, which is the only one unless services run apart.
fn spawn_front(directory: &Path, options: &Options, apart: bool) -> Result<Child> {
    let mut command = serve(directory, "data", options)?;
    if apart {
        command.args(["--services", IN_FRONT]);
    }
    command.spawn().context("the program does not start")
}

/// Starts one of the processes beside it.
fn spawn_beside(directory: &Path, options: &Options, n: usize, port: u16) -> Result<Child> {
    let (services, data) = BESIDE[n];
    let mut command = serve(directory, data, options)?;
    command
        .args(["--services", services])
        .env("LAMASSU__SERVER__PORT", port.to_string());
    command.spawn().context("the program does not start")
}

/// A free port below those that the system gives to connections, so that it is still free when the
/// process that listens there is started again.
///
/// # Errors
/// There is none.
pub(crate) fn lasting_port() -> Result<u16> {
    const LOWEST: u16 = 12_000;
    const N: u64 = 18_000;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut dice = Dice::new(now.as_secs() ^ u64::from(now.subsec_nanos()));
    for _ in 0..100 {
        let port = LOWEST + u16::try_from(dice.below(N))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// A start with its own data directory; what it prints goes beside that.
fn serve(directory: &Path, data: &str, options: &Options) -> Result<Command> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))?;
    let mut command = Command::new(executable());
    command
        .arg("serve")
        .arg("--config")
        .arg(directory.join("config.yml"))
        .arg("--data-dir")
        .arg(directory.join(data))
        .args(["--http-port", "0", "--https-port", "0"])
        .args(&options.arguments)
        .envs(options.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(File::create(directory.join(format!("{data}.stdout")))?)
        .stderr(log);
    Ok(command)
}

/// Waits until a process says that it is ready; gives what it printed.
fn ready(directory: &Path, data: &str, child: &mut Child) -> Result<String> {
    let output = directory.join(format!("{data}.stdout"));
    let ready = wait_for("the server to be ready", START, || {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(Err(anyhow::anyhow!("the server ended with {status}")));
        }
        let text = std::fs::read_to_string(&output).ok()?;
        text.contains("  log in   ").then_some(Ok(text))
    });
    ready
        .and_then(|ready| ready)
        .with_context(|| std::fs::read_to_string(directory.join("log")).unwrap_or_default())
}

/// The ports of HTTPS and HTTP in what a process printed.
fn ports(text: &str) -> Result<(u16, u16)> {
    let https = port(text, "https://localhost:").or_else(|| port(text, "services 127.0.0.1:"));
    let http = port(text, "http://localhost:").unwrap_or_default();
    let https = https.context("no port in what the server printed")?;
    ensure!(https != http, "one port for both listeners");
    Ok((https, http))
}

/// The port behind the first `prefix` of a text.
fn port(text: &str, prefix: &str) -> Option<u16> {
    let (_, rest) = text.split_once(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}
