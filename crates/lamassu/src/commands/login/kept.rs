//! The file with the logins of a person: one per server, readable by nobody else.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lamassu_client::{LoginClient, LoginTokens};
use lamassu_core::clock::{Clock as _, SystemClock};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use tempfile::NamedTempFile;

/// A token is renewed so many seconds before its end: clocks differ, and requests take time.
const MARGIN: i64 = 30;

/// Mode of the directory: nobody else sees who is logged in where.
const OWNER_ONLY: u32 = 0o700;

/// One login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptLogin {
    provider: String,
    client_id: String,
    scopes: Vec<String>,
    resource: Option<String>,
    ca_file: Option<PathBuf>,
    server_ca_file: Option<PathBuf>,
    #[serde(serialize_with = "exposed")]
    token: SecretString,
    /// Unix time.
    expires_at: i64,
    #[serde(serialize_with = "exposed_if_any")]
    refresh_token: Option<SecretString>,
}

impl KeptLogin {
    /// What this client was given; `server_ca_file` vouches for the server's certificate.
    pub(super) fn new(
        client: LoginClient,
        tokens: LoginTokens,
        server_ca_file: Option<PathBuf>,
    ) -> Self {
        let LoginClient {
            provider,
            client_id,
            scopes,
            resource,
            ca_file,
        } = client;
        let lifetime = i64::try_from(tokens.lifetime.as_secs()).unwrap_or(i64::MAX);
        Self {
            provider,
            client_id,
            scopes,
            resource,
            ca_file,
            server_ca_file,
            token: tokens.token,
            expires_at: now().saturating_add(lifetime),
            refresh_token: tokens.refresh_token,
        }
    }

    /// The same login with its next tokens.
    pub(super) fn renewed(&self, tokens: LoginTokens) -> Self {
        Self::new(self.client(), tokens, self.server_ca_file.clone())
    }

    pub(super) fn into_server_anchor(self) -> Option<PathBuf> {
        self.server_ca_file
    }

    pub(super) const fn can_renew(&self) -> bool {
        self.refresh_token.is_some()
    }

    pub(super) const fn refresh_token(&self) -> Option<&SecretString> {
        self.refresh_token.as_ref()
    }

    pub(super) const fn token(&self) -> &SecretString {
        &self.token
    }

    /// Whether the token is good for a request now.
    pub(super) fn is_good(&self) -> bool {
        now().saturating_add(MARGIN) < self.expires_at
    }

    /// The client that the login was made with.
    pub(super) fn client(&self) -> LoginClient {
        LoginClient {
            provider: self.provider.clone(),
            client_id: self.client_id.clone(),
            scopes: self.scopes.clone(),
            resource: self.resource.clone(),
            ca_file: self.ca_file.clone(),
        }
    }
}

fn now() -> i64 {
    SystemClock.now().unix_timestamp()
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct KeptLogins {
    directory: PathBuf,
}

/// Nobody else changes the file while this is held.
#[derive(Debug)]
pub(super) struct Held {
    logins: KeptLogins,
    _lock: File,
}

impl KeptLogins {
    /// The file of this user: `lamassu/logins.json` below `$XDG_CONFIG_HOME`, or `~/.config`.
    ///
    /// # Errors
    /// The user has no home.
    pub(super) fn at_home() -> Result<Self> {
        let config = super::super::connection::variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || super::super::connection::variable("HOME");
        let config = config.or_else(|| home().map(|home| Path::new(&home).join(".config")));
        let config = config.context("neither XDG_CONFIG_HOME nor HOME is set")?;
        Ok(Self {
            directory: config.join("lamassu"),
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.join("logins.json")
    }

    /// The login to a server, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn find(&self, place: &str) -> Result<Option<KeptLogin>> {
        Ok(self.read()?.remove(place))
    }

    /// Waits until no other command changes the file.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn hold(&self) -> Result<Held> {
        let name = self.directory.display();
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| {
                std::fs::set_permissions(&self.directory, Permissions::from_mode(OWNER_ONLY))
            })
            .and_then(|()| File::create(self.directory.join("logins.lock")))
            .and_then(|lock| lock.lock().map(|()| lock))
            .map(|lock| Held {
                logins: self.clone(),
                _lock: lock,
            })
            .with_context(|| format!("{name} cannot be written"))
    }

    /// Keeps a login; gives the file it is in.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn keep(&self, place: &str, login: KeptLogin) -> Result<PathBuf> {
        self.hold()?.keep(place, login)
    }

    /// Forgets a login; false if there is none.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn forget(&self, place: &str) -> Result<bool> {
        let held = self.hold()?;
        let mut logins = self.read()?;
        let was_there = logins.remove(place).is_some();
        if was_there {
            held.write(&logins)?;
        }
        Ok(was_there)
    }

    fn read(&self) -> Result<BTreeMap<String, KeptLogin>> {
        let path = self.path();
        let octets = match std::fs::read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        };
        serde_json::from_slice(&octets)
            .with_context(|| format!("{} holds no logins: remove it and log in", path.display()))
    }
}

impl Held {
    /// The login to a server as it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn find(&self, place: &str) -> Result<Option<KeptLogin>> {
        self.logins.find(place)
    }

    /// Keeps a login.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, place: &str, login: KeptLogin) -> Result<PathBuf> {
        let mut logins = self.logins.read()?;
        logins.insert(place.to_owned(), login);
        self.write(&logins)?;
        Ok(self.logins.path())
    }

    /// The file is replaced whole. Temporary files are for their owner only, and stay so.
    fn write(&self, logins: &BTreeMap<String, KeptLogin>) -> Result<()> {
        let path = self.logins.path();
        let text = serde_json::to_vec_pretty(logins)?;
        let written = NamedTempFile::new_in(&self.logins.directory).and_then(|mut file| {
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        });
        written.with_context(|| format!("{} cannot be written", path.display()))
    }
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn exposed_if_any<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose_secret()),
        None => serializer.serialize_none(),
    }
}
