//! Making connections: one way for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use secrecy::ExposeSecret as _;
use tokio::sync::watch;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::connect_error;
use super::options::{PostgresOptions, TlsMode, is_plain_identifier};
use super::tls::client_config;
use crate::error::{DbError, OpenError};

/// How often an idle connection proves that the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long sent bytes may stay unacknowledged before the connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// How often a connection that was used before is used again before it is made anew.
const MAX_AGE: Duration = Duration::from_secs(3_600);

type Wire =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Where the server is and how to get in.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    pub(super) options: PostgresOptions,
    /// Connections made before are to another server than the one that takes writes now.
    current_since: Arc<watch::Sender<Instant>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Checks the options; connects to nothing.
    pub(super) fn new(options: PostgresOptions) -> Result<Self, OpenError> {
        if !is_plain_identifier(&options.schema) {
            return Err(OpenError::Settings(format!(
                "schema {:?} may hold lower-case letters, digits and _ only",
                options.schema
            )));
        }
        let tls =
            client_config(&options.tls).map_err(|error| OpenError::Database(Arc::new(error)))?;
        let mut config = Config::new();
        for (host, port) in &options.hosts {
            config.host(host).port(*port);
        }
        config
            .user(&options.user)
            .dbname(&options.database)
            .application_name("lamassu")
            .connect_timeout(options.connect_timeout)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .keepalives_idle(KEEPALIVE)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .ssl_mode(match options.tls.mode {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
            })
            .options(format!(
                "-c search_path={} -c statement_timeout={} -c lock_timeout={} \
                 -c idle_in_transaction_session_timeout={} -c TimeZone=UTC",
                options.schema,
                options.statement_timeout.as_millis(),
                options.lock_timeout.as_millis(),
                options.statement_timeout.as_millis().saturating_mul(2),
            ));
        if let Some(password) = &options.password {
            config.password(password.expose_secret());
        }
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls),
            options,
            current_since: Arc::new(watch::Sender::new(Instant::now())),
        })
    }

    /// A new connection; its I/O is the caller's to drive.
    pub(super) async fn connect(&self) -> Result<(Client, Wire), DbError> {
        self.in_time(self.config.connect(self.tls.clone())).await
    }

    /// What belongs to making a connection ends in time also where the server takes connections
    /// and says nothing.
    pub(super) async fn in_time<T>(
        &self,
        what: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DbError> {
        match tokio::time::timeout(self.options.reach_within(), what).await {
            Ok(done) => done.map_err(connect_error),
            Err(elapsed) => Err(DbError::Unreachable(Arc::new(elapsed))),
        }
    }

    /// A new connection whose I/O is driven by a task of its own until the client is dropped.
    pub(super) async fn client(&self) -> Result<Client, DbError> {
        let (client, wire) = self.connect().await?;
        tokio::spawn(async move {
            if let Err(error) = wire.await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "database connection ended"
                );
            }
        });
        Ok(client)
    }

    /// Another server takes the writes now. Whoever has a connection from before makes a new one when
    /// it is next needed: the old server may go on answering from its past.
    pub(super) fn leave_the_old_one(&self) {
        self.current_since.send_replace(Instant::now());
    }

    /// Changes whenever another server takes over.
    pub(super) fn current_since(&self) -> watch::Receiver<Instant> {
        self.current_since.subscribe()
    }

    /// A pool of connections for reading; it makes them when they are needed.
    pub(super) fn pool(&self) -> Result<Pool, OpenError> {
        let current_since = self.current_since.subscribe();
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        Pool::builder(manager)
            .max_size(self.options.max_connections.max(1))
            .wait_timeout(Some(self.options.acquire_timeout))
            .create_timeout(Some(self.options.reach_within()))
            .recycle_timeout(Some(self.options.connect_timeout))
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                if metrics.age() > MAX_AGE {
                    return Err(HookError::message("old enough"));
                }
                if metrics.created < *current_since.borrow() {
                    return Err(HookError::message("of a server that was left"));
                }
                Ok(())
            }))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| OpenError::Database(Arc::new(error)))
    }
}
