//! Where rows are: configuration of the database, and opening it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_core::clock::SharedClock;
use lamassu_core::duration::WireDuration;
use lamassu_db::{
    DataDir, Db, LogLimits, MigrateOnStart, OpenError, PostgresOptions, SqliteOptions, TlsMode,
    TlsOptions,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::whereabouts;

/// The SQLite database in a data directory.
const DATABASE: &str = "lamassu.db";

/// Pause between attempts to reach a database that is down at start.
const PAUSE: Duration = Duration::from_secs(1);

/// Which database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// A file in the data directory; for one process.
    #[default]
    Sqlite,
    /// A server; for any number of processes.
    Postgres,
}

/// What a start does to tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Migrate {
    /// Brings them up to date.
    #[default]
    Auto,
    /// Refuses a database that is not; `lamassu migrate` is run beforehand.
    Never,
}

/// How the connection to the server is protected, by libpq's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SslMode {
    #[default]
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The block `storage`. Everything but `provider`, `migrate_on_start` and the logs is for PostgreSQL.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StorageConfig {
    /// `sqlite` by default.
    pub(crate) provider: Provider,
    /// Log level of the database layer, as the reference has it; `logs` decides here.
    #[serde(skip_serializing)]
    log_level: Option<String>,
    /// Host, or several separated by commas, of which the one that takes writes is used. A name
    /// that begins with `/` is the directory of a Unix socket.
    hostname: String,
    port: u16,
    username: String,
    #[serde(skip_serializing, deserialize_with = "weak_secret")]
    password: Option<SecretString>,
    /// File that holds the password; a line end behind it is not part of it.
    password_file: Option<PathBuf>,
    /// It must exist.
    database: String,
    /// Schema of all tables; made on first use.
    schema: String,
    sslmode: SslMode,
    /// PEM file of the CAs of the server's certificate.
    ca_cert_file: Option<PathBuf>,
    /// PEM files of a certificate and its key to log in with.
    client_cert_file: Option<PathBuf>,
    client_key_file: Option<PathBuf>,
    /// Most connections for reading.
    max_connections: u16,
    /// How long a read waits for a free connection.
    acquire_timeout: WireDuration,
    /// How long making a connection may take.
    connect_timeout: WireDuration,
    /// How long one statement may take.
    statement_timeout: WireDuration,
    /// How long a change waits for a row that another process is changing.
    lock_timeout: WireDuration,
    migrate_on_start: Migrate,
    event_log: EventLogConfig,
    audit_log: AuditLogConfig,
}

/// How much of the event log is kept.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
struct EventLogConfig {
    /// How long events are kept that everybody has handled.
    keep: WireDuration,
    /// When events go that a subscription has not handled; the log warns from half of it on.
    max_age: WireDuration,
    /// How many events there may be, handled or not; the log warns when half as many wait.
    max_events: u32,
}

/// How much of the audit log is kept. What was done always is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
struct AuditLogConfig {
    /// How many refused calls are kept.
    max_refusals: u32,
}

impl Default for EventLogConfig {
    fn default() -> Self {
        let limits = LogLimits::default();
        Self {
            keep: WireDuration::from_secs(limits.keep.whole_seconds()),
            max_age: WireDuration::from_secs(limits.max_age.whole_seconds()),
            max_events: limits.max_events,
        }
    }
}

impl Default for AuditLogConfig {
    fn default() -> Self {
        Self {
            max_refusals: LogLimits::default().max_refusals,
        }
    }
}

/// Files of the block `storage`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StorageFiles<'c> {
    pub(crate) password: Option<&'c Path>,
    pub(crate) ca_cert: Option<&'c Path>,
    pub(crate) client_cert: Option<&'c Path>,
    pub(crate) client_key: Option<&'c Path>,
}

/// A password as text, or as the number or truth value that an unquoted one looks like; what does not
/// fit is not repeated in the error.
fn weak_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Weak {
        Text(String),
        Flag(bool),
        Unsigned(u64),
        Signed(i64),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Option::<Weak>::deserialize(deserializer)? {
        None => None,
        Some(Weak::Text(text)) => Some(text.into()),
        Some(Weak::Flag(flag)) => Some(flag.to_string().into()),
        Some(Weak::Unsigned(number)) => Some(number.to_string().into()),
        Some(Weak::Signed(number)) => Some(number.to_string().into()),
        Some(Weak::Other(_)) => {
            return Err(serde::de::Error::custom(
                "a password is text: quote it, or use password_file",
            ));
        }
    })
}

/// Keys that say something about a PostgreSQL server.
const OF_POSTGRES: [&str; 8] = [
    "hostname",
    "port",
    "username",
    "password",
    "password_file",
    "database",
    "schema",
    "sslmode",
];

/// Refuses a block that describes a server and does not choose it: the rows would go elsewhere.
///
/// # Errors
/// One sentence.
pub(crate) fn check_given(given: &figment::Figment) -> Result<()> {
    let provider = given.extract_inner_lossy::<String>("storage.provider");
    if provider.is_ok_and(|provider| provider == "postgres") {
        return Ok(());
    }
    for key in OF_POSTGRES {
        ensure!(
            given.find_value(&format!("storage.{key}")).is_err(),
            "storage.{key} is for a PostgreSQL server: set storage.provider to postgres, or leave it out"
        );
    }
    Ok(())
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            provider: Provider::Sqlite,
            log_level: None,
            hostname: "localhost".to_owned(),
            port: 5432,
            username: "lamassu".to_owned(),
            password: None,
            password_file: None,
            database: "lamassu".to_owned(),
            schema: "lamassu".to_owned(),
            sslmode: SslMode::Disable,
            ca_cert_file: None,
            client_cert_file: None,
            client_key_file: None,
            max_connections: 20,
            acquire_timeout: WireDuration::from_secs(10),
            connect_timeout: WireDuration::from_secs(5),
            statement_timeout: WireDuration::from_secs(30),
            lock_timeout: WireDuration::from_secs(5),
            migrate_on_start: Migrate::Auto,
            event_log: EventLogConfig::default(),
            audit_log: AuditLogConfig::default(),
        }
    }
}

impl StorageConfig {
    /// Whether other processes may work on the same rows.
    pub(crate) fn is_shared(&self) -> bool {
        self.provider == Provider::Postgres
    }

    /// Checks what can be checked without reading or reaching anything.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn validate(&self) -> Result<()> {
        if !self.is_shared() {
            return Ok(());
        }
        ensure!(!self.hostname.trim().is_empty(), "hostname is empty");
        ensure!(!self.username.is_empty(), "username is empty");
        ensure!(!self.database.is_empty(), "database is empty");
        ensure!(
            self.max_connections > 0,
            "max_connections must be above zero"
        );
        ensure!(
            self.password.is_none() || self.password_file.is_none(),
            "password and password_file are given; one of them is enough"
        );
        ensure!(
            self.client_cert_file.is_some() == self.client_key_file.is_some(),
            "client_cert_file and client_key_file are given together or not at all"
        );
        let verifies = matches!(self.sslmode, SslMode::VerifyCa | SslMode::VerifyFull);
        ensure!(
            !verifies || self.ca_cert_file.is_some(),
            "sslmode verify-ca and verify-full need ca_cert_file"
        );
        for (name, timeout) in [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
        ] {
            ensure!(
                !timeout.is_negative() && !timeout.is_zero(),
                "{name} must be above zero"
            );
        }
        Ok(())
    }

    /// The files that are named, where they are used.
    pub(crate) fn files(&self) -> Option<StorageFiles<'_>> {
        self.is_shared().then_some(StorageFiles {
            password: self.password_file.as_deref(),
            ca_cert: self.ca_cert_file.as_deref(),
            client_cert: self.client_cert_file.as_deref(),
            client_key: self.client_key_file.as_deref(),
        })
    }

    /// Whether the files go together, without reaching the server.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn check_files(&self) -> Result<()> {
        if self.is_shared() {
            self.postgres()?.check_files()?;
        }
        Ok(())
    }

    /// How much is kept of the event log and of refusals.
    pub(crate) fn log_limits(&self) -> LogLimits {
        LogLimits {
            keep: self.event_log.keep.into(),
            max_age: self.event_log.max_age.into(),
            max_events: self.event_log.max_events,
            max_refusals: self.audit_log.max_refusals,
            ..LogLimits::default()
        }
    }

    /// The server.
    ///
    /// # Errors
    /// The password cannot be read.
    pub(crate) fn postgres(&self) -> Result<PostgresOptions> {
        let password = match &self.password_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("password_file {} cannot be read", path.display()))?;
                Some(SecretString::from(text.trim_end_matches(['\r', '\n'])))
            }
            None => self.password.clone(),
        };
        // The reference's chart writes an empty password where there is none.
        let password = password.filter(|password| !password.expose_secret().is_empty());
        let hosts = self.hostname.split(',').map(str::trim);
        Ok(PostgresOptions {
            hosts: hosts.map(|host| (host.to_owned(), self.port)).collect(),
            user: self.username.clone(),
            password,
            database: self.database.clone(),
            schema: self.schema.clone(),
            tls: TlsOptions {
                mode: match self.sslmode {
                    SslMode::Disable => TlsMode::Disable,
                    SslMode::Require => TlsMode::Require,
                    SslMode::VerifyCa => TlsMode::VerifyCa,
                    SslMode::VerifyFull => TlsMode::VerifyFull,
                },
                ca_cert_file: self.ca_cert_file.clone(),
                client: self
                    .client_cert_file
                    .clone()
                    .zip(self.client_key_file.clone()),
            },
            migrate_on_start: match self.migrate_on_start {
                Migrate::Auto => MigrateOnStart::Auto,
                Migrate::Never => MigrateOnStart::Never,
            },
            max_connections: usize::from(self.max_connections),
            acquire_timeout: duration(self.acquire_timeout),
            connect_timeout: duration(self.connect_timeout),
            statement_timeout: duration(self.statement_timeout),
            lock_timeout: duration(self.lock_timeout),
            ..PostgresOptions::default()
        })
    }
}

fn duration(text: WireDuration) -> Duration {
    Duration::from_nanos(u64::try_from(text.as_nanos()).unwrap_or_default())
}

/// The database of a configuration, whose data directory this process owns.
///
/// # Errors
/// One sentence: what cannot be reached or used, and why.
pub(crate) async fn open(config: &Config, directory: DataDir, clock: &SharedClock) -> Result<Db> {
    let clock = Arc::clone(clock);
    Ok(match config.storage.provider {
        Provider::Sqlite => Db::open_sqlite(directory, SqliteOptions::default(), clock).await?,
        Provider::Postgres => open_postgres(config, clock).await?,
    })
}

/// The same, waiting for a server that is down. The log tells that once, and once that it is over.
///
/// # Errors
/// As [`open`], unless time alone may mend it.
pub(crate) async fn open_patiently(
    config: &Config,
    directory: DataDir,
    clock: &SharedClock,
) -> Result<Db> {
    let mut waiting = None;
    loop {
        let error = match open(config, directory.clone(), clock).await {
            Ok(db) => {
                if let Some(since) = waiting.map(|since: Instant| since.elapsed()) {
                    info!(elapsed_ms = since.as_millis(), "database reachable");
                }
                return Ok(db);
            }
            Err(error) => error,
        };
        let is_temporary = error
            .downcast_ref::<OpenError>()
            .is_some_and(OpenError::is_temporary);
        if !is_temporary {
            return Err(error);
        }
        if waiting.is_none() {
            warn!(error = format!("{error:#}"), "waiting for the database");
            waiting = Some(Instant::now());
        } else {
            debug!(
                error = format!("{error:#}"),
                "still waiting for the database"
            );
        }
        tokio::time::sleep_until(tokio::time::Instant::now() + PAUSE).await;
    }
}

/// The SQLite database in the data directory of an installation whose rows are elsewhere: whoever
/// goes over to a server expects to find them there.
pub(crate) fn unused_sqlite(config: &Config) -> Option<PathBuf> {
    let path = config.data_dir.join(DATABASE);
    (config.storage.is_shared() && path.exists()).then_some(path)
}

/// Refuses a data directory without installation, where there is one to look at, change or copy.
///
/// # Errors
/// One sentence: there is none, or the system does not let us see it.
pub(crate) fn require_installation(config: &Config) -> Result<()> {
    let data_dir = config.data_dir.display();
    let owned = match config.storage.provider {
        Provider::Sqlite => config.data_dir.join(DATABASE),
        Provider::Postgres => config.data_dir.clone(),
    };
    match std::fs::metadata(owned) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no installation in {data_dir}: `lamassu serve` makes one, --data-dir names \
             another directory, --config one on PostgreSQL"
        ),
        Err(error) => Err(error).with_context(|| format!("{data_dir} cannot be read")),
    }
}

/// The database of an installation that another process may be running on, for commands that look
/// at it; nothing is made or migrated.
///
/// # Errors
/// One sentence: there is no installation, or it cannot be reached.
pub(crate) async fn open_beside(config: &Config, clock: SharedClock) -> Result<Db> {
    match config.storage.provider {
        Provider::Sqlite => {
            require_installation(config)?;
            Db::open_sqlite_beside(&config.data_dir, clock)
                .with_context(|| format!("{} cannot be read", config.data_dir.display()))
        }
        Provider::Postgres => {
            let mut config = config.clone();
            config.storage.migrate_on_start = Migrate::Never;
            open_postgres(&config, clock).await
        }
    }
}

/// The database of an installation for whoever changes it, alone: of an SQLite database as its owner,
/// so that nobody else may run.
///
/// # Errors
/// As [`open`]; another process owns it, or there is no installation.
pub(crate) async fn open_owned(config: &Config, clock: &SharedClock) -> Result<Db> {
    require_installation(config)?;
    let directory = whereabouts::own(config.data_dir.clone())?;
    open(config, directory, clock).await
}

/// The database for whoever brings its tables up to date, whatever a start may do to them. The data
/// directory is locked where the database is in it; a server needs none.
///
/// # Errors
/// As [`open`]; there is no installation in the data directory.
pub(crate) async fn open_for_migration(config: &Config, clock: &SharedClock) -> Result<Db> {
    match config.storage.provider {
        Provider::Sqlite => open_owned(config, clock).await,
        Provider::Postgres => {
            let mut config = config.clone();
            config.storage.migrate_on_start = Migrate::Auto;
            open_postgres(&config, Arc::clone(clock)).await
        }
    }
}

async fn open_postgres(config: &Config, clock: SharedClock) -> Result<Db> {
    let options = config.storage.postgres().context("storage")?;
    // Migrations make it large; it is awaited once.
    Ok(Box::pin(Db::open_postgres(options, clock)).await?)
}
