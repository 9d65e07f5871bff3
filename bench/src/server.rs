//! The program under measurement, as a process of its own, on a database of its own.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_testing::PostgresServer;
use rusqlite::types::ValueRef;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::seed;

/// Which database the program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The one in the data directory.
    Sqlite,
    /// A throw-away PostgreSQL server with its default durability.
    Postgres,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// An installation that can be started, stopped and started again; gone when dropped.
pub(crate) struct Installation {
    program: PathBuf,
    directory: TempDir,
    postgres: Option<PostgresServer>,
    /// Where keys and CAs have a process of their own, its port.
    keys_port: Option<u16>,
}

impl Installation {
    /// An empty one, below `directory`.
    pub(crate) fn new(program: &Path, kind: Kind, directory: &Path) -> Result<Self> {
        let postgres = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(PostgresServer::start(&[
                "shared_preload_libraries=pg_stat_statements",
                "pg_stat_statements.track_planning=on",
            ])?),
        };
        let directory = TempDir::new_in(directory)?;
        let mut config = "gateway: {metrics: {listen: null}}\nlogs: {level: warn}\n\
             devmanager: {indexed_metadata: [\"$.site\"]}\n"
            .to_owned();
        if let Some(server) = &postgres {
            config.push_str(&format!(
                "storage: {{provider: postgres, hostname: 127.0.0.1, port: {}, username: lamassu, \
                 database: postgres, schema: bench}}\n",
                server.port()
            ));
        }
        std::fs::write(directory.path().join("config.yml"), config)?;
        Ok(Self {
            program: program.to_path_buf(),
            directory,
            postgres,
            keys_port: None,
        })
    }

    /// The same with keys and CAs in a process of their own, which the other asks over HTTP.
    pub(crate) fn apart(mut self) -> Result<Self> {
        ensure!(
            self.postgres.is_some(),
            "processes share a PostgreSQL server, no SQLite file"
        );
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut config = File::options().append(true).open(self.file("config.yml"))?;
        for client in ["kms_client", "ca_client"] {
            writeln!(
                config,
                "{client}: {{protocol: http, hostname: 127.0.0.1, port: {port}}}"
            )?;
        }
        self.keys_port = Some(port);
        Ok(self)
    }

    /// Starts the process of keys and CAs, and waits until it listens.
    async fn start_keys(&self, port: u16, arguments: &[&str]) -> Result<Child> {
        let errors = self.file("keys-stderr");
        let mut child = self
            .command("serve", "data-keys")
            .args(["--services", "kms,ca", "--http-port", "0"])
            .args(arguments)
            .env("LAMASSU__SERVER__PORT", port.to_string())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .spawn()?;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tick.tick().await;
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(&errors)?;
                bail!("the process of keys ended with {status}: {}", said.trim());
            }
        }
        Ok(child)
    }

    fn command(&self, name: &str, data: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(name)
            .arg("--config")
            .arg(self.directory.path().join("config.yml"))
            .arg("--data-dir")
            .arg(self.directory.path().join(data))
            .stdin(Stdio::null());
        command
    }

    /// Starts the program on free ports and waits for its first answer.
    pub(crate) async fn start(&self) -> Result<Server> {
        self.start_with(&[]).await
    }

    /// The same with these arguments beside the usual ones.
    pub(crate) async fn start_with(&self, arguments: &[&str]) -> Result<Server> {
        let (output, errors) = (self.file("stdout"), self.file("stderr"));
        let beside = match self.keys_port {
            None => None,
            Some(port) => Some(self.start_keys(port, arguments).await?),
        };
        let begun = Instant::now();
        let mut command = self.command("serve", "data");
        if beside.is_some() {
            command.args(["--services", "gateway,devmanager,dmsmanager,va"]);
        }
        let child = command
            .args(["--strict-config", "--http-port", "0", "--https-port", "0"])
            .args(arguments)
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("{} does not start", self.program.display()))?;
        let mut server = Server {
            child,
            beside,
            started_in: Duration::ZERO,
            https_port: 0,
            http_port: 0,
        };
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        loop {
            tick.tick().await;
            let text = std::fs::read_to_string(&output)?;
            if let (Some(https_port), Some(http_port)) = (
                port(&text, "https://localhost:"),
                port(&text, "http://localhost:"),
            ) {
                (server.https_port, server.http_port) = (https_port, http_port);
                drop(tokio::net::TcpStream::connect(("127.0.0.1", http_port)).await?);
                server.started_in = begun.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                let said = std::fs::read_to_string(&errors)?;
                bail!("the program ended with {status}: {}", said.trim());
            }
        }
    }

    /// What the database server was asked since this was last called: per statement how often, and
    /// how many microseconds planning and executing took, the dearest first. Nothing on SQLite.
    pub(crate) fn statements(&self) -> Result<Vec<Asked>> {
        let Some(server) = &self.postgres else {
            return Ok(Vec::new());
        };
        let listed = server.psql(
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; \
             SELECT calls || '|' || CAST(total_plan_time * 1000 AS bigint) || '|' || \
             CAST(total_exec_time * 1000 AS bigint) || '|' || \
             left(regexp_replace(query, '\\s+', ' ', 'g'), 70) \
             FROM pg_stat_statements ORDER BY total_plan_time + total_exec_time DESC LIMIT 16",
        )?;
        server.psql("SELECT pg_stat_statements_reset()")?;
        Ok(listed.lines().filter_map(Asked::read).collect())
    }

    /// Prints how many rows the PostgreSQL server commits durably, alone in a commit and several
    /// together, asked by nobody but itself. Nothing on SQLite, whose limit needs no installation.
    pub(crate) fn print_commit_limit(&self) -> Result<()> {
        let Some(server) = &self.postgres else {
            return Ok(());
        };
        let (one, batched) = (commits(server, 1)?, commits(server, 32)?);
        println!(
            "limit: {one:.0} durable PostgreSQL commits of one 1 KiB row/s in one session; \
             {batched:.0} rows/s by 32 in a commit"
        );
        Ok(())
    }

    /// The trust anchor of the server's certificate, PEM.
    pub(crate) fn anchor(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.file("data/tls/ca.pem"))?)
    }

    /// The server's own certificate chain and key.
    pub(crate) fn server_identity(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = CertificateDer::pem_file_iter(self.file("data/tls/server.pem"))?;
        let key = PrivateKeyDer::from_pem_file(self.file("data/tls/server.key"))?;
        Ok((chain.collect::<Result<_, _>>()?, key))
    }

    /// An administrator's bearer token.
    pub(crate) fn token(&self) -> Result<String> {
        let output = self
            .command("token", "data")
            .args(["--ttl", "12h"])
            .output()?;
        ensure!(
            output.status.success(),
            "no token: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Puts `count` revoked certificates of the CA `bench` into the stopped installation: copies
    /// of the row of `template` (a serial number) under other numbers. What else must know of them
    /// finds them when the program starts.
    pub(crate) fn seed_revoked(&self, template: &str, count: u32) -> Result<()> {
        const ALIKE: &str = "created_at, der, certificate_type, engine_id, metadata, is_ca, \
            subject_common_name, subject_common_name_folded, subject_key_id, authority_key_id, \
            key_type, key_bits, key_strength, key_usage, extended_key_usage, valid_from, valid_to, \
            issuer_ca_id, issuer_serial_number, issuer_level";
        let series = match &self.postgres {
            None => format!(
                "(WITH RECURSIVE counted (n) AS \
                 (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {count}) \
                 SELECT '5e' || lower(hex(randomblob(16))) AS fresh FROM counted)"
            ),
            Some(_) => format!(
                "(SELECT '5e' || md5(n::text || random()::text) AS fresh \
                 FROM generate_series(1, {count}) AS n)"
            ),
        };
        let sql = format!(
            "INSERT INTO certificate (id, serial_number, fingerprint, revision, status, {ALIKE}, \
             revocation_timestamp, revocation_reason, next_due, next_window, expired_by_job) \
             SELECT fresh || '.seed', fresh, fresh, 2, 'REVOKED', {ALIKE}, \
             valid_from, 'KeyCompromise', NULL, NULL, expired_by_job \
             FROM certificate, {series} AS numbers WHERE serial_number = '{template}'"
        );
        match &self.postgres {
            None => {
                let database = self.sqlite_to_fill()?;
                ensure!(
                    database.execute(&sql, [])? == usize::try_from(count)?,
                    "the seed went wrong"
                );
            }
            Some(server) => drop(server.psql(&format!("SET search_path = bench; {sql}"))?),
        }
        Ok(())
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self.postgres {
            None => Kind::Sqlite,
            Some(_) => Kind::Postgres,
        }
    }

    /// The rows of a query as text, whether the program runs or not.
    pub(crate) fn rows(&self, query: &str) -> Result<Vec<Vec<String>>> {
        if let Some(server) = &self.postgres {
            return server.rows("bench", query);
        }
        let database = rusqlite::Connection::open(self.sqlite_file()?)?;
        let mut query = database.prepare(query)?;
        let n_columns = query.column_count();
        let rows = query.query_map([], |row| {
            (0..n_columns)
                .map(|column| {
                    Ok(match row.get_ref(column)? {
                        ValueRef::Integer(number) => number.to_string(),
                        other => other.as_str_or_null()?.unwrap_or_default().to_owned(),
                    })
                })
                .collect()
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Runs a script in one transaction on the stopped installation, fast: whoever seeds may begin
    /// again, so that nothing needs to survive a power cut.
    pub(crate) fn fill(&self, script: &str) -> Result<()> {
        let Some(server) = &self.postgres else {
            let database = self.sqlite_to_fill()?;
            seed::register(&database)?;
            return Ok(database.execute_batch(&format!("BEGIN; {script}; COMMIT;"))?);
        };
        server.psql(&format!(
            "SET search_path = bench; SET maintenance_work_mem = '512MB'; {script}"
        ))?;
        // What autovacuum would do a minute later.
        server.psql("VACUUM (ANALYZE)").map(drop)
    }

    /// With room for all indexes: rows that come in no order touch every page of them.
    fn sqlite_to_fill(&self) -> Result<rusqlite::Connection> {
        let database = rusqlite::Connection::open(self.sqlite_file()?)?;
        database.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000000;",
        )?;
        Ok(database)
    }

    fn sqlite_file(&self) -> Result<PathBuf> {
        let files = std::fs::read_dir(self.file("data"))?;
        files
            .filter_map(|file| Some(file.ok()?.path()))
            .find(|file| file.extension().is_some_and(|extension| extension == "db"))
            .context("no database in the data directory")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Rows per second that the server stores durably, so many in a commit.
fn commits(server: &PostgresServer, rows: u32) -> Result<f64> {
    server.psql("DROP TABLE IF EXISTS commit_limit")?;
    server.psql("CREATE TABLE commit_limit (at timestamptz, body text)")?;
    server.psql(&format!(
        "DO $$ DECLARE begun timestamptz := clock_timestamp(); BEGIN \
         WHILE clock_timestamp() < begun + interval '1 second' LOOP \
         INSERT INTO commit_limit SELECT clock_timestamp(), repeat(md5(n::text), 32) \
         FROM generate_series(1, {rows}) AS n; COMMIT; END LOOP; END $$"
    ))?;
    let rate = server.psql(
        "SELECT count(*) / greatest(extract(epoch FROM max(at) - min(at)), 0.001) FROM commit_limit",
    )?;
    server.psql("DROP TABLE commit_limit")?;
    rate.parse().context("no rate")
}

/// A statement that the database server executed.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) calls: u64,
    pub(crate) planned_micros: u64,
    pub(crate) executed_micros: u64,
    pub(crate) text: String,
}

impl Asked {
    fn read(line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, '|');
        Some(Self {
            calls: parts.next()?.parse().ok()?,
            planned_micros: parts.next()?.parse().ok()?,
            executed_micros: parts.next()?.parse().ok()?,
            text: parts.next()?.to_owned(),
        })
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// The process of keys and CAs, where they are apart.
    beside: Option<Child>,
    /// From the start of the process to the first connection that it takes.
    pub(crate) started_in: Duration,
    pub(crate) https_port: u16,
    pub(crate) http_port: u16,
}

impl Server {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory of the process that is in RAM, in megabytes.
    pub(crate) fn resident_mb(&self) -> Result<u64> {
        self.status_mb("VmRSS:")
    }

    /// The most memory of the process that was ever in RAM, in megabytes.
    pub(crate) fn peak_mb(&self) -> Result<u64> {
        self.status_mb("VmHWM:")
    }

    fn status_mb(&self, name: &'static str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .context(name)?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024)
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(mut self) -> Result<()> {
        for child in self.processes() {
            let id = child.id().to_string();
            Command::new("kill").args(["-TERM", &id]).status()?;
            child.wait()?;
        }
        Ok(())
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Child> {
        std::iter::once(&mut self.child).chain(&mut self.beside)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in self.processes() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The port behind the first `prefix` of a text.
fn port(text: &str, prefix: &str) -> Option<u16> {
    let (_, rest) = text.split_once(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}
