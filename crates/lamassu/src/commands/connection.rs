//! Which server a command talks to, and as whom.
//!
//! Without a word it is the one of this machine's installation: its data directory says where it
//! listens, and a token of its own issuer, which whoever may read the directory can make, says that
//! the caller may do everything. Elsewhere a URL and a token are needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use lamassu_auth::LocalIssuer;
use lamassu_client::{
    CaClient, ClientConfig, Credentials, DeviceClient, DmsClient, FixedToken, KmsClient, Peer,
    ServiceToken, VaClient,
};
use lamassu_core::caller::{Caller, Principal};
use lamassu_core::clock::{Clock as _, SharedClock, SystemClock};
use lamassu_core::permission::Role;
use lamassu_db::{Db, system_caller};
use secrecy::SecretString;
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::login::{self, LoggedIn};
use super::output::OutputArgs;
use crate::address;
use crate::cli::Installation;
use crate::config::Config;
use crate::own_tokens::OwnTokens;
use crate::whereabouts::{Whereabouts, trust_anchor};
use crate::{serve, storage};

/// How often a request that never arrived is sent again.
const RETRIES: u32 = 2;

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ConnectionArgs {
    /// Configuration file of the installation on this machine.
    #[arg(long, value_name = "FILE", env = "LAMASSU_CONFIG_FILE", global = true)]
    config: Option<PathBuf>,
    /// Data directory of the installation on this machine; ~/.local/share/lamassu when not said.
    #[arg(long, value_name = "DIR", env = "LAMASSU_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Another server, for example https://pki.example:8443; it needs a token.
    #[arg(long, value_name = "URL", env = "LAMASSU_URL", global = true)]
    url: Option<String>,
    /// Bearer token. Others on this machine see command lines: prefer the variable LAMASSU_TOKEN.
    #[arg(long, value_name = "TOKEN", value_parser = secret, global = true)]
    token: Option<SecretString>,
    /// File with the bearer token; also LAMASSU_TOKEN_FILE.
    #[arg(long, value_name = "FILE", conflicts_with = "token", global = true)]
    token_file: Option<PathBuf>,
    /// PEM file that vouches for the server's certificate, beside what this machine trusts; the
    /// installation's own when not said.
    #[arg(long, value_name = "FILE", env = "LAMASSU_CA_FILE", global = true)]
    ca_file: Option<PathBuf>,
}

/// A connection, and what a command needs beside it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) kms: KmsClient,
    pub(super) ca: CaClient,
    pub(super) devices: DeviceClient,
    pub(super) dms: DmsClient,
    pub(super) va: VaClient,
    pub(super) caller: Caller,
    pub(super) output: OutputArgs,
    /// Where the server is, as people read it.
    pub(super) place: String,
    /// The installation whose issuer makes the tokens.
    issuer_db: Option<Db>,
}

impl Session {
    /// Finds the server and prepares the credentials. Nothing is sent yet.
    ///
    /// # Errors
    /// One sentence: there is no server, or nothing to log in with.
    pub(super) async fn open(arguments: &ConnectionArgs, output: OutputArgs) -> Result<Self> {
        let config = Config::load(&arguments.installation())?;
        let server = ClientConfig {
            base_path: String::new(),
            retries: RETRIES,
            ..arguments.server(&config)?
        };
        let (credentials, issuer_db) = arguments.credentials(&config).await?;
        let place = address::origin(&server);
        let peer = Peer::new(&server, "", credentials).with_context(|| place.clone())?;
        let caller = Caller {
            principal: Principal::Anonymous,
            request_id: Uuid::new_v4().to_string().into(),
            ..system_caller("")
        };
        Ok(Self {
            kms: KmsClient::new(&peer),
            ca: CaClient::new(&peer),
            devices: DeviceClient::new(&peer),
            dms: DmsClient::new(&peer),
            va: VaClient::new(&peer),
            caller,
            output,
            place,
            issuer_db,
        })
    }

    /// The time, for what is told relative to it.
    pub(super) fn now() -> OffsetDateTime {
        SystemClock.now()
    }

    pub(super) async fn close(self) {
        if let Some(db) = self.issuer_db {
            db.close().await;
        }
    }
}

impl ConnectionArgs {
    fn installation(&self) -> Installation {
        Installation {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            strict_config: false,
        }
    }

    fn server(&self, config: &Config) -> Result<ClientConfig> {
        let own = trust_anchor(&config.data_dir);
        if let Some(url) = &self.url {
            let said = self.ca_file.clone();
            let anchor = said.map_or_else(|| login::anchor(url), |said| Ok(Some(said)))?;
            return address::at(
                url,
                anchor.or_else(|| Some(own).filter(|path| path.exists())),
            );
        }
        let running = Whereabouts::running(&config.data_dir);
        // Of processes on one database, the others listen where the configuration says.
        let configured = || {
            config
                .storage
                .is_shared()
                .then(|| Whereabouts::configured(config, &serve::listeners(config)))
                .flatten()
        };
        let found = running.or_else(configured);
        let found = found.and_then(|whereabouts| whereabouts.trusted(&config.data_dir));
        found.with_context(|| {
            let directory = config.data_dir.display();
            format!(
                "no server runs on {directory}: start it with `lamassu serve --data-dir {directory}`, \
                 or name the server by --url"
            )
        })
    }

    async fn credentials(&self, config: &Config) -> Result<(Arc<dyn Credentials>, Option<Db>)> {
        if let Some(token) = self.given_token()? {
            let token = FixedToken::new(&token).map_err(|_| {
                anyhow::anyhow!("the token has characters that no token has: was it copied whole?")
            })?;
            return Ok((Arc::new(token), None));
        }
        // A token of this installation is not shown to another server.
        if let Some(url) = &self.url {
            let place = address::origin(&address::at(url, None)?);
            let login = LoggedIn::find(&place)?;
            let login = login.with_context(|| {
                format!(
                    "--url needs a token: run `lamassu login --url {url}`, or set LAMASSU_TOKEN or \
                     --token-file; `lamassu token` on the server's machine prints one"
                )
            })?;
            return Ok((Arc::new(login), None));
        }
        let clock: SharedClock = Arc::new(SystemClock);
        let db = storage::open_beside(config, Arc::clone(&clock))
            .await
            .context("no token")?;
        let issuer = Arc::new(LocalIssuer::open_existing(&db, Arc::clone(&clock)).await?);
        let tokens = OwnTokens::new(&issuer, &clock, operator(), Role::Admin);
        Ok((Arc::new(ServiceToken(Arc::new(tokens))), Some(db)))
    }

    /// What the command line says goes before what the environment says.
    fn given_token(&self) -> Result<Option<SecretString>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        if let Some(path) = &self.token_file {
            return read_token(path).map(Some);
        }
        if let Some(token) = variable("LAMASSU_TOKEN") {
            return Ok(Some(SecretString::from(token.trim())));
        }
        let file = variable("LAMASSU_TOKEN_FILE").map(PathBuf::from);
        file.map(|path| read_token(&path)).transpose()
    }
}

fn read_token(path: &Path) -> Result<SecretString> {
    read_secret("token", path)
}

/// The secret in a file; white space around it is none of it.
pub(super) fn read_secret(what: &str, path: &Path) -> Result<SecretString> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .with_context(|| format!("{what} file {} cannot be read", path.display()))?;
    let secret = text.trim();
    ensure!(
        !secret.is_empty(),
        "{what} file {} is empty",
        path.display()
    );
    Ok(SecretString::from(secret))
}

/// A variable of the environment that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    // Names and values of others need be no text.
    let mut all = std::env::vars_os();
    let (_, value) = all.find(|(known, _)| known == name)?;
    let value = value.into_string().ok()?;
    (!value.trim().is_empty()).then_some(value)
}

/// A value that is not printed.
fn secret(text: &str) -> Result<SecretString, &'static str> {
    match text.trim() {
        "" => Err("it is empty"),
        text => Ok(SecretString::from(text)),
    }
}

/// Who the audit log says it was: the user's name on this machine.
fn operator() -> String {
    variable("USER").unwrap_or_else(|| "admin".to_owned())
}
