//! The configuration of the program: one file, the environment, the command line, in rising order.
//!
//! Each part's keys, defaults and checks are in that part's crate; here they are put together.
//! Loading reads the file and opens nothing else; `lamassu config check` reads the files that it
//! names, too ([`Config::check_files`]), and can so say whether a start would get as far as opening
//! things.

mod file;
mod named_files;
mod needed_clients;
#[cfg(test)]
mod tests;
mod unknown;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use figment::Figment;
use figment::providers::{Env, Serialized};
use figment::value::Value;
use lamassu_auth::AuthConfig;
use lamassu_ca::CaConfig;
use lamassu_client::ClientConfig;
use lamassu_core::query::QueryLimits;
use lamassu_db::create_private_dir;
use lamassu_devices::DevicesConfig;
use lamassu_dms::EstConfig;
use lamassu_gateway::{Environment, GatewayConfig};
use lamassu_http::AdmissionLimits;
use lamassu_kms::CryptoEnginesConfig;
use lamassu_va::{Blobs, S3Config, VaConfig};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::{ConfigCheck, Healthcheck, Installation, Serve};
use crate::engines;
use crate::logging::LogsConfig;
use crate::server::ServerConfig;
use crate::services::{GATEWAY, Services};
use crate::storage::{self, StorageConfig};

/// Keys whose values are never printed.
const SECRET_KEYS: [&str; 8] = [
    "passphrase",
    "key_encryption_key",
    "password",
    "pin",
    "secret",
    "secret_access_key",
    "session_token",
    "shared_secret",
];

/// The configuration of the program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Kind of installation: `development`, `staging` or `production`; none by default. Sets
    /// defaults only.
    pub(crate) environment: Option<Environment>,
    /// Database, keys and certificates.
    pub(crate) data_dir: PathBuf,
    /// Host names of the installation: in the server certificate, and as the place of OCSP and
    /// CRLs in every certificate issued. Empty by default.
    pub(crate) domains: Vec<String>,
    /// Logs.
    pub(crate) logs: LogsConfig,
    /// The file that was read.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
    /// How many keys were given that nobody reads.
    #[serde(skip)]
    pub(crate) n_unknown: usize,
    /// The services that run in this process.
    #[serde(skip)]
    pub(crate) services: Services,
    /// The database.
    pub(crate) storage: StorageConfig,
    /// The listener of a process that runs only some services.
    pub(crate) server: ServerConfig,
    /// Where the key manager is, where it runs elsewhere: needed by `ca`, `va` and `gateway`.
    pub(crate) kms_client: ClientConfig,
    /// Certificate authorities: needed by `dmsmanager`, `va` and `gateway`.
    pub(crate) ca_client: ClientConfig,
    /// The device registry: needed by `dmsmanager` and `gateway`.
    pub(crate) device_manager_client: ClientConfig,
    /// Enrollment: needed by `gateway`.
    pub(crate) dms_manager_client: ClientConfig,
    /// Validation: needed by `gateway`.
    pub(crate) va_client: ClientConfig,
    /// Listeners, TLS, limits, metrics.
    pub(crate) gateway: GatewayConfig,
    /// Who may call. Also read below `gateway`.
    pub(crate) authentication: AuthConfig,
    /// Certificate authorities.
    pub(crate) ca: CaConfig,
    /// Device registry.
    pub(crate) devmanager: DevicesConfig,
    /// Enrollment.
    pub(crate) est: EstConfig,
    /// OCSP and CRLs.
    pub(crate) va: VaConfig,
    /// How many requests are worked on at once.
    pub(crate) requests: AdmissionLimits,
    /// Lists and statistics of every service.
    pub(crate) query: QueryLimits,
    /// PEM file whose first certificate `cacerts` gives where a DMS includes the system's CA. The
    /// trust anchor of the installation's own server certificate by default.
    pub(crate) downstream_cert_file: Option<PathBuf>,
    /// Where CRLs are kept; replicas share it. `crl` in the data directory by default.
    pub(crate) filesystem_storage: BlobConfig,
    /// Where keys are. The engine `filesystem` in the data directory by default.
    #[serde(skip_serializing)]
    pub(crate) crypto_engines: Option<CryptoEnginesConfig>,
}

/// The block `filesystem_storage`, as the reference's VA has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct BlobConfig {
    /// Read for compatibility: there is one such store.
    #[serde(skip_serializing)]
    id: Option<String>,
    /// `local` (the default) or `s3`.
    #[serde(rename = "type")]
    kind: BlobKind,
    /// Read for compatibility.
    #[serde(skip_serializing)]
    metadata: Option<serde_json::Value>,
    /// With `local`: the directory.
    storage_directory: Option<PathBuf>,
    /// With `s3`: the bucket.
    #[serde(flatten)]
    s3: S3Config,
}

/// Which kind of store CRLs are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlobKind {
    /// A directory.
    #[default]
    Local,
    /// A bucket.
    S3,
}

impl Config {
    /// The configuration of an installation.
    ///
    /// # Errors
    /// One sentence: the file cannot be read, or which key is wrong and why.
    pub(crate) fn load(installation: &Installation) -> Result<Self> {
        Self::layered(installation, Origin::Ours, Figment::new())
    }

    /// The configuration of the server that is asked for its health.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn for_healthcheck(arguments: &Healthcheck) -> Result<Self> {
        let mut config = Self::load(&arguments.installation)?;
        config.services = Services::named(&arguments.services)?;
        Ok(config)
    }

    /// The configuration of a process that runs these services, to be looked at.
    ///
    /// # Errors
    /// As [`load`](Self::load), and what keeps such a process from starting.
    pub(crate) fn for_check(arguments: &ConfigCheck) -> Result<Self> {
        let services = Services::named(&arguments.services)?;
        Self::load(&arguments.installation)?.with_services(services)
    }

    /// The configuration of a start, with what the command line says.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn for_serve(arguments: &Serve) -> Result<Self> {
        let services = Services::named(&arguments.services)?;
        let mut said = Figment::new();
        if let Some(environment) = arguments.environment {
            said = said.merge(Serialized::default(
                "environment",
                Environment::from(environment),
            ));
        }
        if let Some(port) = arguments.http_port {
            said = said.merge(Serialized::default("gateway.http_port", port));
        }
        if let Some(port) = arguments.https_port {
            said = said.merge(Serialized::default("gateway.https_port", port));
        }
        if !arguments.domains.is_empty() {
            said = said.merge(Serialized::default("domains", &arguments.domains));
        }
        let mut installation = arguments.installation.clone();
        if let Some(path) = &arguments.reference_config {
            installation.config.get_or_insert_with(|| path.clone());
        }
        Self::layered(&installation, arguments.origin(), said)?.with_services(services)
    }

    /// The same, of a process that runs these services.
    fn with_services(mut self, services: Services) -> Result<Self> {
        ensure!(
            services.is_all() || self.storage.is_shared(),
            "running only some services needs a database that all of them share: \
             set storage.provider to postgres, or leave --services out"
        );
        self.services = services;
        ensure!(
            self.has_service_listener() || !self.server.has_mutual_tls(),
            "server.authentication.mutual_tls is on, and this process has no listener of services \
             that could ask for certificates: run it with --services, beside a gateway with \
             server.port"
        );
        needed_clients::check(&self)?;
        Ok(self)
    }

    /// File, environment and command line, in rising order, over the defaults of the kind of
    /// installation that they name. Domains add up.
    fn layered(installation: &Installation, origin: Origin, said: Figment) -> Result<Self> {
        let file = match &installation.config {
            Some(path) => file::read(path)?,
            None => Figment::new(),
        };
        let given = without_overridden_password(file)
            .merge(Env::prefixed("LAMASSU__").split("__"))
            .merge(secrets_of_environment());
        let given = hoist_authentication(given)?;
        let under = match origin {
            Origin::Ours => Figment::new(),
            Origin::Reference => reference_defaults(&given),
        };
        let given = under.merge(given).admerge(said);
        let environment = given.extract_inner_lossy("environment").ok();
        let defaults = Self::defaults(environment);
        let n_unknown = unknown::report(&given, &defaults, installation.strict_config)?;
        storage::check_given(&given)?;
        let port_was_chosen = given.find_value("gateway.http_port").is_ok();
        let mut config: Self = Figment::from(Serialized::defaults(defaults))
            .merge(given)
            .extract_lossy()
            .map_err(|error| first_error(&error))?;
        config.file.clone_from(&installation.config);
        config.n_unknown = n_unknown;
        if let Some(data_dir) = &installation.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        config.settle(port_was_chosen);
        config.validate()?;
        Ok(config)
    }

    /// The configuration of an installation that nothing was said about.
    pub(crate) fn embedded() -> Self {
        Self::defaults(None)
    }

    /// The defaults of this kind of installation.
    fn defaults(environment: Option<Environment>) -> Self {
        let est = match environment {
            Some(Environment::Production) => EstConfig::production(),
            Some(Environment::Staging) => EstConfig::staging(),
            Some(Environment::Development) | None => EstConfig::default(),
        };
        Self {
            environment,
            data_dir: default_data_dir(),
            est,
            ..Self::default()
        }
    }

    /// Carries what is said once to the parts that need it.
    fn settle(&mut self, port_was_chosen: bool) {
        self.gateway.environment = self.environment;
        for domain in &self.domains {
            if !self.gateway.domains.contains(domain) {
                self.gateway.domains.push(domain.clone());
            }
        }
        let certificate = &mut self.authentication.client_certificate;
        if certificate.enabled && certificate.ca_cert_files.is_empty() {
            certificate
                .ca_cert_files
                .extend(self.server.client_ca_file().cloned());
        }
        // A port that nobody chose, or that 0 picked, must not get into certificates; 80 needs not.
        let port = self
            .gateway
            .http_port
            .filter(|port| port_was_chosen && !matches!(port, 0 | 80));
        let published = published(&self.domains, port);
        if self.ca.va_server_domains.is_empty() {
            self.ca.va_server_domains = published;
        }
        // What certificates say is what lists of shards must say.
        if self.va.va_domains.is_empty() {
            self.va.va_domains.clone_from(&self.ca.va_server_domains);
        }
    }

    fn validate(&self) -> Result<()> {
        self.storage.validate().context("storage")?;
        self.server.validate().context("server")?;
        for (block, client) in self.clients() {
            ensure!(
                !client.insecure_skip_verify || self.environment != Some(Environment::Production),
                "{block}.insecure_skip_verify is refused in production: name the server's CA in \
                 ca_cert_file"
            );
        }
        self.gateway.validate().context("gateway")?;
        self.requests
            .validate()
            .map_err(|(key, reason)| anyhow::anyhow!("requests.{key}: {reason}"))?;
        self.authentication.validate().context("authentication")?;
        self.ca.validate().context("ca")?;
        self.devmanager.validate().context("devmanager")?;
        self.est.validate()?;
        self.va.validate().context("va")?;
        if self.has_crl_bucket() {
            self.filesystem_storage.s3.validate()?;
        }
        engines::validate(&self.engines()).context("crypto_engines")?;
        Ok(())
    }

    /// Whether the services of this process have a listener of their own.
    pub(crate) fn has_service_listener(&self) -> bool {
        let apart = !self.services.is_all() && !self.services.mounted().is_empty();
        apart && (!self.services.has(GATEWAY) || self.server.is_wanted())
    }

    /// Every block by which a service of another process is reached, with its name.
    fn clients(&self) -> [(&'static str, &ClientConfig); 5] {
        [
            ("kms_client", &self.kms_client),
            ("ca_client", &self.ca_client),
            ("device_manager_client", &self.device_manager_client),
            ("dms_manager_client", &self.dms_manager_client),
            ("va_client", &self.va_client),
        ]
    }

    /// Reads the files that are named, as a start would, and opens nothing else.
    ///
    /// # Errors
    /// Every key whose file cannot be used, with the path and the reason.
    pub(crate) fn check_files(&self) -> Result<()> {
        named_files::check(self)
    }

    /// Says what a start would warn of, as `config check` does.
    pub(crate) fn warn_of_doubts(&self) {
        if let Some(level) = self.logs.unknown_level() {
            warn(&format!("logs.level: {level:?} is no level, info is used"));
        }
        if let Some(path) = storage::unused_sqlite(self) {
            warn(&format!(
                "{} is not used, since storage.provider is postgres; its rows do not come along",
                path.display()
            ));
        }
    }

    /// The crypto engines, configured or embedded.
    pub(crate) fn engines(&self) -> CryptoEnginesConfig {
        self.crypto_engines
            .clone()
            .unwrap_or_else(|| engines::embedded(&self.data_dir))
    }

    /// Where CRLs are kept.
    pub(crate) fn crl_directory(&self) -> PathBuf {
        let configured = self.filesystem_storage.storage_directory.clone();
        configured.unwrap_or_else(|| self.data_dir.join("crl"))
    }

    /// The store that CRLs are kept in; a directory is made where it is missing.
    ///
    /// # Errors
    /// The directory cannot be made, or the bucket cannot be asked as it is configured.
    pub(crate) fn open_crl_store(&self) -> Result<Blobs> {
        if self.filesystem_storage.kind == BlobKind::S3 {
            return Ok(lamassu_va::s3_blobs(&self.filesystem_storage.s3)?);
        }
        let path = self.crl_directory();
        create_private_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(lamassu_va::local_blobs(&path)?)
    }

    /// Whether CRLs are kept in a bucket.
    pub(crate) fn has_crl_bucket(&self) -> bool {
        self.filesystem_storage.kind == BlobKind::S3
    }

    /// Every key with its value, as JSON, which YAML readers read. Of crypto engines only id and
    /// type are told: their blocks hold secrets.
    pub(crate) fn to_text(&self) -> Result<String> {
        let list = self.engines().engines;
        let list = list
            .iter()
            .map(|engine| json!({"id": engine.id, "type": engine.engine_type}));
        self.to_text_with(&list.collect())
    }

    /// The same, with every kind of crypto engine and its keys.
    pub(crate) fn to_schema(&self) -> Result<String> {
        self.to_text_with(&engines::schema())
    }

    fn to_text_with(&self, engines: &serde_json::Value) -> Result<String> {
        let mut value = serde_json::to_value(self)?;
        if let Some(members) = value.as_object_mut() {
            let block = json!({"default_id": self.engines().default_id, "engines": engines});
            members.insert("crypto_engines".to_owned(), block);
        }
        mask(&mut value);
        Ok(serde_json::to_string_pretty(&value)?)
    }
}

/// Secrets in the environment, letter by letter: elsewhere what looks like a number is one.
fn secrets_of_environment() -> Figment {
    let mut secrets = Figment::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        let Some(path) = name.strip_prefix("LAMASSU__") else {
            continue;
        };
        let path = path.to_ascii_lowercase().replace("__", ".");
        let last = path.rsplit('.').next().unwrap_or_default();
        if SECRET_KEYS.contains(&last) {
            secrets = secrets.merge(Serialized::default(&path, value));
        }
    }
    secrets
}

/// A file without its way to the database's password, where the environment has the other way.
fn without_overridden_password(file: Figment) -> Figment {
    let environment = Figment::from(Env::prefixed("LAMASSU__").split("__"));
    let is_given = |key: &str| environment.find_value(key).is_ok();
    let (word, path) = ("storage.password", "storage.password_file");
    let overridden = match (is_given(word), is_given(path)) {
        (true, false) => path,
        (false, true) => word,
        (true, true) | (false, false) => return file,
    };
    if file.find_value(overridden).is_err() {
        return file;
    }
    file.merge(Serialized::default(overridden, None::<String>))
}

/// Whose defaults a configuration file was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Those of this program.
    Ours,
    /// Those of the reference: the program was called by one of its names.
    Reference,
}

/// What a program of the reference does where its file says nothing. Without any word about
/// authentication there is none, as there; a warning at start says so.
fn reference_defaults(given: &Figment) -> Figment {
    let mut defaults = json!({
        "ca": {"certificate_monitoring_job": {"enabled": false}},
        "va": {"crl_monitoring_job": {"enabled": false}},
        "server": {"listen_address": "0.0.0.0"},
    });
    if given.find_value("authentication").is_err()
        && let Some(members) = defaults.as_object_mut()
    {
        members.insert("authentication".to_owned(), json!({"mode": "passthrough"}));
    }
    Figment::from(Serialized::defaults(defaults))
}

/// Where certificates say that their status can be asked for.
fn published(domains: &[String], port: Option<u16>) -> Vec<String> {
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    domains
        .iter()
        .map(|domain| format!("{domain}{port}/api/va"))
        .collect()
}

/// The places of `authentication` in files for the single process and for one service of the
/// reference. Below `server`, `mutual_tls` is the listener's own and stays there.
fn hoist_authentication(mut given: Figment) -> Result<Figment> {
    for place in ["gateway", "server"] {
        let (tag, mut block) = match given.find_value(&format!("{place}.authentication")) {
            Ok(Value::Dict(tag, block)) => (tag, block),
            Ok(_) => bail!("{place}.authentication is no block"),
            Err(_absent) => continue,
        };
        if place == "server" {
            block.remove("mutual_tls");
            if block.is_empty() {
                continue;
            }
        }
        ensure!(
            given.find_value("authentication").is_err(),
            "authentication is configured twice: below {place} and elsewhere"
        );
        given = given.merge(Serialized::default(
            "authentication",
            Value::Dict(tag, block),
        ));
    }
    Ok(given)
}

/// Says something about the configuration; logging is configured by the very file that is read.
fn warn(text: &str) {
    drop(writeln!(std::io::stderr(), "warning: {text}"));
}

/// What the names of number types mean to those who do not write Rust.
const NUMBERS: [(&str, &str); 5] = [
    ("u8", "a number up to 255"),
    ("u16", "a number up to 65535"),
    ("u32", "a number up to 4294967295"),
    ("u64", "a whole number, not below 0"),
    ("usize", "a whole number, not below 0"),
];

fn first_error(error: &figment::Error) -> anyhow::Error {
    let path = error.path.join(".");
    // Lists of words come in quotes of their own.
    let mut text = error.kind.to_string().replace("``", "`");
    for (name, meaning) in NUMBERS {
        if let Some(found) = text.strip_suffix(&format!("expected {name}")) {
            text = format!("{found}expected {meaning}");
        }
    }
    if path.is_empty() {
        anyhow::anyhow!("{text}")
    } else {
        anyhow::anyhow!("{path}: {text}")
    }
}

#[expect(clippy::disallowed_methods, reason = "configuration is read here")]
fn default_data_dir() -> PathBuf {
    match std::env::var_os("HOME") {
        Some(home) if !home.is_empty() => PathBuf::from(home).join(".local/share/lamassu"),
        _ => PathBuf::from("/var/lib/lamassu"),
    }
}

fn mask(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                if SECRET_KEYS.contains(&name.as_str()) && !member.is_null() {
                    *member = serde_json::Value::from("*************");
                } else {
                    mask(member);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(mask),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}
