//! A PostgreSQL server that a test starts and that ends with the test's process.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use lamassu_db::PostgresOptions;
use uuid::Uuid;

/// Where Debian puts the programs of the server.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Ends the server and removes its directory once the test's process is gone: the pipe on its
/// standard input closes then, however it ended.
const WATCH: &str = "cat >/dev/null; kill -QUIT $(head -n 1 \"$0\"/data/postmaster.pid) 2>/dev/null; \
     rm -rf \"$0\"";

/// A running server.
#[derive(Debug)]
pub struct PostgresServer {
    directory: PathBuf,
    programs: PathBuf,
    port: u16,
    _watched: ChildStdin,
}

impl PostgresServer {
    /// The server that all tests of this process share; without durability, for speed.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[expect(clippy::panic, reason = "for tests, which end so")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(
            || match Self::start(&["fsync=off", "full_page_writes=off"]) {
                Ok(server) => server,
                Err(error) => panic!("no PostgreSQL server for the tests: {error:#}"),
            },
        )
    }

    /// A server of one's own with these settings (`name=value`).
    ///
    /// # Errors
    ///
    /// What does not work, for example because the server is not installed.
    pub fn start(settings: &[&str]) -> Result<Self> {
        let server = Self::prepare()?;
        // A language whose order is not that of bytes, so that nothing depends on it.
        run(server
            .command("initdb")?
            .args([
                "--auth=trust",
                "--username=lamassu",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .args([
                "--locale=C.UTF-8",
                "--locale-provider=icu",
                "--icu-locale=en",
            ])
            .arg("-D")
            .arg(server.data()))?;
        server.configure(settings)?;
        server.resume()?;
        Ok(server)
    }

    /// A server of one's own that syncs, but by default confirms long before it does: what is
    /// confirmed is lost in a crash of the next seconds unless whoever commits asks for more.
    ///
    /// # Errors
    ///
    /// As [`PostgresServer::start`].
    pub fn start_lazy() -> Result<Self> {
        Self::start(&["synchronous_commit=off", "wal_writer_delay=10s"])
    }

    /// A server that follows this one by streaming replication and takes reads only.
    ///
    /// # Errors
    ///
    /// What does not work.
    pub fn standby(&self) -> Result<Self> {
        let standby = Self::prepare()?;
        run(standby
            .command("pg_basebackup")?
            .args(["-h", "127.0.0.1", "-U", "lamassu", "-R", "-X", "stream"])
            .args(["--checkpoint=fast", "--no-sync", "-p"])
            .arg(self.port.to_string())
            .arg("-D")
            .arg(standby.data()))?;
        standby.configure(&[])?;
        standby.resume()?;
        Ok(standby)
    }

    /// Makes a standby take writes.
    ///
    /// # Errors
    ///
    /// What `pg_ctl` says.
    pub fn promote(&self) -> Result<()> {
        run(self
            .command("pg_ctl")?
            .arg("-D")
            .arg(self.data())
            .args(["-w", "promote"]))
    }

    /// Says who may connect and how they prove who they are (lines of `pg_hba.conf`); the
    /// superuser on the server's socket always may.
    ///
    /// # Errors
    ///
    /// What does not work.
    pub fn set_access(&self, lines: &[&str]) -> Result<()> {
        let text = format!("local all all trust\n{}\n", lines.join("\n"));
        std::fs::write(self.data().join("pg_hba.conf"), text)?;
        self.psql("SELECT pg_reload_conf()").map(drop)
    }

    /// A directory and a port, with someone who cleans up.
    fn prepare() -> Result<Self> {
        let programs = programs()?;
        let directory =
            std::env::temp_dir().join(format!("lamassu-pg-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&directory)?;
        if is_root()? {
            run(Command::new("chown").arg("postgres").arg(&directory))?;
        }
        let mut watch = Command::new("sh")
            .args(["-c", WATCH])
            .arg(&directory)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let watched = watch.stdin.take().context("a pipe")?;
        Ok(Self {
            port: free_port()?,
            directory,
            programs,
            _watched: watched,
        })
    }

    fn configure(&self, settings: &[&str]) -> Result<()> {
        let file = self.data().join("postgresql.conf");
        let mut text = std::fs::read_to_string(&file)?;
        text.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             max_connections = 400\nshared_buffers = 128MB\nlogging_collector = off\n",
            self.port,
            self.directory.display()
        ));
        for setting in settings {
            text.push_str(setting);
            text.push('\n');
        }
        Ok(std::fs::write(file, text)?)
    }

    /// Options for a schema of one's own on this server.
    pub fn fresh_schema(&self) -> PostgresOptions {
        PostgresOptions {
            hosts: vec![("127.0.0.1".to_owned(), self.port)],
            database: "postgres".to_owned(),
            schema: format!("t{}", Uuid::new_v4().simple()),
            max_connections: 6,
            ..PostgresOptions::default()
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's files, the log `server.log` among them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a statement as a superuser; gives what `psql` prints, unaligned.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn psql(&self, sql: &str) -> Result<String> {
        let output = self
            .client("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// All rows of a query on this schema, as text; nothing is empty.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn rows(&self, schema: &str, sql: &str) -> Result<Vec<Vec<String>>> {
        let output = self
            .client("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-F", "\u{1f}", "-R", "\u{1e}"])
            .args(["-c", &format!("SET search_path = {schema}"), "-c", sql])
            .output()?;
        ensure!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let rows = text.split('\u{1e}').filter(|row| !row.is_empty());
        Ok(rows
            .map(|row| row.split('\u{1f}').map(str::to_owned).collect())
            .collect())
    }

    /// Dumps a schema into a file, while it is in use.
    ///
    /// # Errors
    ///
    /// What `pg_dump` says.
    pub fn dump(&self, schema: &str, file: &Path) -> Result<()> {
        run(self
            .client("pg_dump")
            .args(["--format=custom", "--schema", schema, "--file"])
            .arg(file))
    }

    /// Puts a dumped schema in the place of what it is now.
    ///
    /// # Errors
    ///
    /// What `pg_restore` says.
    pub fn restore(&self, schema: &str, file: &Path) -> Result<()> {
        self.psql(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))?;
        run(self.client("pg_restore").arg(file))
    }

    /// A program that connects to the server.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .args(["-h", "127.0.0.1", "-U", "lamassu", "-d", "postgres"])
            .args(["-p", &self.port.to_string()]);
        command
    }

    /// Stops the server as a crash does; [`PostgresServer::resume`] starts it again.
    ///
    /// # Errors
    ///
    /// What `pg_ctl` says.
    pub fn crash(&self) -> Result<()> {
        self.stop("immediate")
    }

    /// Shuts the server down, breaking its connections.
    ///
    /// # Errors
    ///
    /// What `pg_ctl` says.
    pub fn shut_down(&self) -> Result<()> {
        self.stop("fast")
    }

    fn stop(&self, mode: &str) -> Result<()> {
        run(self
            .command("pg_ctl")?
            .arg("-D")
            .arg(self.data())
            .args(["-m", mode, "-w", "stop"]))
    }

    /// Starts a stopped server.
    ///
    /// # Errors
    ///
    /// What `pg_ctl` says.
    pub fn resume(&self) -> Result<()> {
        let log = self.directory.join("server.log");
        run(self
            .command("pg_ctl")?
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(&log)
            .args(["-w", "-t", "60", "start"]))
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A program of the server. The server refuses to run as root; its own user runs it then.
    fn command(&self, program: &str) -> Result<Command> {
        let path = self.programs.join(program);
        let mut command = if is_root()? {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.directory);
        Ok(command)
    }
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output()?;
    Ok(id.stdout.trim_ascii() == b"0")
}

fn programs() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir(DEBIAN)
        .with_context(|| format!("{DEBIAN}: install the package postgresql"))?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions
        .pop()
        .context("no initdb: install the package postgresql")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn run(command: &mut Command) -> Result<()> {
    // A file and no pipe: the server inherits what its starter prints to, and a pipe would stay
    // open as long as the server runs.
    let log = tempfile::NamedTempFile::new()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(log.reopen()?)
        .stderr(log.reopen()?)
        .status()
        .with_context(|| format!("{command:?}"))?;
    ensure!(
        status.success(),
        "{command:?}: {status}: {}",
        std::fs::read_to_string(log.path())?
    );
    Ok(())
}
