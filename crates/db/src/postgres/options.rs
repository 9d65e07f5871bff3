//! How a PostgreSQL server is reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::tls::client_config;
use crate::error::OpenError;
use crate::migrate::MigrateOnStart;

/// How long the server may be silent beyond its own time limit.
const SILENCE: Duration = Duration::from_secs(5);

/// How the connection to the server is protected, by libpq's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// `disable`: no TLS.
    #[default]
    Disable,
    /// `require`: TLS, whoever the server is.
    Require,
    /// `verify-ca`: TLS to a server whose certificate a given CA issued, by whatever name.
    VerifyCa,
    /// `verify-full`: the same, and the certificate has the name that was connected to.
    VerifyFull,
}

/// TLS to the server.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// What is demanded of the server.
    pub mode: TlsMode,
    /// PEM file of the CAs that may have issued the server's certificate; needed by the two modes
    /// that verify.
    pub ca_cert_file: Option<PathBuf>,
    /// PEM files of a certificate and its key to log in with, both or none.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How a PostgreSQL database is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Host names, addresses, or directories of Unix sockets, each with its port. Of several, the
    /// first that takes writes is used, so that a fail-over is followed.
    pub hosts: Vec<(String, u16)>,
    /// Name to log in with.
    pub user: String,
    /// Password to log in with, if the server asks for one.
    pub password: Option<SecretString>,
    /// Database; it must exist.
    pub database: String,
    /// Schema of all tables; made if it does not exist. Lower-case letters, digits and `_`.
    pub schema: String,
    /// TLS to the server.
    pub tls: TlsOptions,
    /// Whether tables are made and changed, or only looked at.
    pub migrate_on_start: MigrateOnStart,
    /// Most connections for reading; writing, listening and start take three more. Default 20.
    pub max_connections: usize,
    /// How many write sets may wait for the writer; more are refused as overload. Default 4096.
    pub write_queue: usize,
    /// How long a read waits for a free connection. Default 10 s.
    pub acquire_timeout: Duration,
    /// How long making a connection may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long one statement may take on the server; streams may take longer. Default 30 s.
    pub statement_timeout: Duration,
    /// How long a write waits for a row that another process is changing. Default 5 s.
    pub lock_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            hosts: vec![("localhost".to_owned(), 5432)],
            user: "lamassu".to_owned(),
            password: None,
            database: "lamassu".to_owned(),
            schema: "lamassu".to_owned(),
            tls: TlsOptions::default(),
            migrate_on_start: MigrateOnStart::Auto,
            max_connections: 20,
            write_queue: 4096,
            acquire_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

impl PostgresOptions {
    /// Reads the files of `tls` and sees whether they go together, without reaching the server.
    ///
    /// # Errors
    ///
    /// [`OpenError::Database`], with the file and the reason behind it.
    pub fn check_files(&self) -> Result<(), OpenError> {
        let built = client_config(&self.tls);
        built.map_err(|error| OpenError::Database(Arc::new(error)))?;
        Ok(())
    }

    /// How long all attempts to connect may take together: a host that is gone without a word
    /// must not keep us from the next one.
    pub(super) fn reach_within(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        self.connect_timeout.saturating_mul(hosts.saturating_add(1))
    }

    /// How long an answer may take before the server counts as gone: it would have ended the
    /// statement itself by then.
    pub(super) fn answer_within(&self) -> Duration {
        if self.statement_timeout.is_zero() {
            return Duration::MAX;
        }
        self.statement_timeout.saturating_add(SILENCE)
    }
}

/// Whether a name can stand in SQL as it is.
pub(crate) fn is_plain_identifier(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= 63
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && name.bytes().all(plain)
}
