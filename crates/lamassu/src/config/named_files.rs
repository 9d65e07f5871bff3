//! The files that a configuration names, read as a start would read them, and nothing else: no
//! directory is made, no port or database opened. Only files that the configuration puts to use
//! are looked at; what is wrong with them is told by key and path, all of it at once. What a file
//! holds is in no message.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_auth::{KeySet, VerificationKey};
use lamassu_client::{AuthMode, ClientConfig, NoAuth, Peer, Protocol};
use lamassu_crypto::PrivateKey;
use lamassu_kms::EngineKind;
use lamassu_x509::{Certificate, pem};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::Config;
use crate::{engines, serve};

/// How a shared library begins.
const ELF: &[u8] = b"\x7fELF";

/// One file.
#[derive(Debug)]
struct NamedFile<'c> {
    key: String,
    place: Place<'c>,
    holds: Holds,
}

/// Where a key has its text.
#[derive(Debug)]
enum Place<'c> {
    File(Cow<'c, Path>),
    /// In the configuration itself.
    Inline(&'c str),
}

/// What a file must hold.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Certificates,
    PrivateKey,
    Secret,
    Jwks,
    PublicKey,
    Library,
}

/// Checks all of them.
///
/// # Errors
/// Every key whose file cannot be used, with the path and the reason.
pub(super) fn check(config: &Config) -> Result<()> {
    let mut problems = Vec::new();
    for file in named(config)? {
        if let Err(problem) = file.check() {
            problems.push(format!("{problem:#}"));
        }
    }
    if problems.is_empty() {
        // Each file is what it should be: do they go together?
        problems.extend(mismatches(config));
    }
    ensure!(problems.is_empty(), problems.join("; "));
    Ok(())
}

fn named(config: &Config) -> Result<Vec<NamedFile<'_>>> {
    let mut files = of_listeners(config);
    files.extend(of_storage(config));
    for (block, client) in clients(config) {
        files.extend(of_client(block, client));
    }
    files.extend(of_client_certificates(config));
    files.extend(of_providers(config));
    files.extend(of_engines(config)?);
    let downstream = config.downstream_cert_file.as_deref();
    files.extend(file(
        "downstream_cert_file",
        downstream,
        Holds::Certificates,
    ));
    Ok(files)
}

fn file<'c>(key: impl Into<String>, path: Option<&'c Path>, holds: Holds) -> Option<NamedFile<'c>> {
    let place = Place::File(Cow::Borrowed(path?));
    let key = key.into();
    Some(NamedFile { key, place, holds })
}

fn of_listeners(config: &Config) -> Vec<NamedFile<'_>> {
    let mut files = Vec::new();
    if config.gateway.https_port.is_some() {
        let tls = &config.gateway.tls;
        let (certificate, key) = (tls.cert_file.as_deref(), tls.key_file.as_deref());
        files.extend(file(
            "gateway.tls.cert_file",
            certificate,
            Holds::Certificates,
        ));
        files.extend(file("gateway.tls.key_file", key, Holds::PrivateKey));
    }
    if let Some((certificate, key)) = config.server.certificate_files() {
        files.extend(file(
            "server.cert_file",
            Some(certificate),
            Holds::Certificates,
        ));
        files.extend(file("server.key_file", Some(key), Holds::PrivateKey));
    }
    let believed = config.server.client_ca_file().map(PathBuf::as_path);
    files.extend(file(
        "server.authentication.mutual_tls.ca_cert_file",
        believed,
        Holds::Certificates,
    ));
    files
}

fn of_client_certificates(config: &Config) -> impl Iterator<Item = NamedFile<'_>> {
    let settings = &config.authentication.client_certificate;
    let anchors = settings.ca_cert_files.iter().filter(|_| settings.enabled);
    anchors.enumerate().filter_map(|(place, path)| {
        let key = format!("authentication.client_certificate.ca_cert_files.{place}");
        file(key, Some(path), Holds::Certificates)
    })
}

fn of_storage(config: &Config) -> Vec<NamedFile<'_>> {
    let Some(files) = config.storage.files() else {
        return Vec::new();
    };
    let all = [
        ("storage.password_file", files.password, Holds::Secret),
        ("storage.ca_cert_file", files.ca_cert, Holds::Certificates),
        (
            "storage.client_cert_file",
            files.client_cert,
            Holds::Certificates,
        ),
        (
            "storage.client_key_file",
            files.client_key,
            Holds::PrivateKey,
        ),
    ];
    let all = all.into_iter();
    all.filter_map(|(key, path, holds)| file(key, path, holds))
        .collect()
}

/// The other processes that somebody may be asked at.
fn clients(config: &Config) -> impl Iterator<Item = (&'static str, &ClientConfig)> {
    let all = config.clients().into_iter();
    all.filter(|(_, client)| !client.hostname.is_empty())
}

fn of_client<'c>(block: &str, client: &'c ClientConfig) -> Vec<NamedFile<'c>> {
    let mut files = Vec::new();
    if client.protocol == Protocol::Https && !client.insecure_skip_verify {
        let key = format!("{block}.ca_cert_file");
        files.extend(file(
            key,
            client.ca_cert_file.as_deref(),
            Holds::Certificates,
        ));
    }
    match client.auth_mode {
        AuthMode::Mtls => {
            let options = &client.mtls_options;
            let (certificate, key) = (&options.cert_file, options.key_file.expose_secret());
            for (name, text, holds) in [
                ("cert_file", certificate.as_str(), Holds::Certificates),
                ("key_file", key, Holds::PrivateKey),
            ] {
                files.push(NamedFile {
                    key: format!("{block}.mtls_options.{name}"),
                    place: Place::file_or_text(text),
                    holds,
                });
            }
        }
        AuthMode::Apikey => {
            let key = format!("{block}.apikey_options.key_file");
            let path = client.apikey_options.key_file.as_deref();
            files.extend(file(key, path, Holds::Secret));
        }
        AuthMode::Internal | AuthMode::Noauth | AuthMode::Jwt => {}
    }
    files
}

fn of_providers(config: &Config) -> Vec<NamedFile<'_>> {
    let mut files = Vec::new();
    for (n, provider) in config.authentication.jwt.providers.iter().enumerate() {
        let block = format!("authentication.jwt.providers.{n}");
        let key = format!("{block}.jwks_file");
        files.extend(file(key, provider.jwks_file.as_deref(), Holds::Jwks));
        for path in &provider.public_key_files {
            let key = format!("{block}.public_key_files");
            files.extend(file(key, Some(path), Holds::PublicKey));
        }
    }
    files
}

fn of_engines(config: &Config) -> Result<Vec<NamedFile<'static>>> {
    let mut files = Vec::new();
    for engine in config.engines().engines {
        let named = match engine.kind() {
            Ok(EngineKind::Filesystem) => {
                let options = engines::filesystem_options(&engine)?;
                vec![("passphrase_file", options.passphrase_file, Holds::Secret)]
            }
            Ok(EngineKind::Pkcs11) => {
                let options = engines::pkcs11_options(&engine)?;
                // A name without directory is the loader's to find.
                let module = Some(options.module_path).filter(|path| path.is_absolute());
                vec![
                    ("module_path", module, Holds::Library),
                    ("pin_file", options.pin_file, Holds::Secret),
                ]
            }
            Ok(EngineKind::Software) | Err(_) => Vec::new(),
        };
        for (name, path, holds) in named {
            files.extend(path.map(|path| NamedFile {
                key: format!("crypto_engines.{}.{name}", engine.id),
                place: Place::File(Cow::Owned(path)),
                holds,
            }));
        }
    }
    Ok(files)
}

/// Files that are readable each and of no use together, as those who use them say.
fn mismatches(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut listeners = vec![("gateway.tls", config.gateway.clone())];
    let server = config.server.certificate_files();
    listeners.extend(server.map(|_| ("server", serve::services_listener(config))));
    for (block, listener) in listeners {
        if let Err(error) = listener.check_certificate_files() {
            let error = anyhow::Error::new(error);
            problems.push(format!("{block}: {error:#}"));
        }
    }
    if let Err(error) = config.storage.check_files() {
        problems.push(format!("storage: {error:#}"));
    }
    for (block, client) in clients(config) {
        // No connection is opened by it.
        if let Err(error) = Peer::new(client, "", std::sync::Arc::new(NoAuth)) {
            let error = anyhow::Error::new(error);
            problems.push(format!("{block}: {error:#}"));
        }
    }
    problems
}

impl<'c> Place<'c> {
    fn file_or_text(value: &'c str) -> Self {
        if value.contains("-----BEGIN ") {
            Self::Inline(value)
        } else {
            Self::File(Cow::Owned(PathBuf::from(value)))
        }
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>> {
        let text = match self {
            Self::File(path) => {
                std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?
            }
            Self::Inline(text) => text.as_bytes().to_vec(),
        };
        Ok(Zeroizing::new(text))
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Inline(_) => "the text".to_owned(),
        }
    }
}

impl NamedFile<'_> {
    fn check(&self) -> Result<()> {
        let text = self.place.read().with_context(|| self.key.clone())?;
        let used = self.holds.check(&text);
        used.with_context(|| format!("{}: {}", self.key, self.place.name()))
    }
}

impl Holds {
    fn check(self, text: &[u8]) -> Result<()> {
        match self {
            Self::Certificates => {
                let mut n = 0_usize;
                for der in pem::certificate_ders(text) {
                    Certificate::from_der(der?)?;
                    n += 1;
                }
                ensure!(n > 0, "it holds no certificate in PEM");
            }
            Self::PrivateKey => {
                PrivateKey::from_pem(text)?;
            }
            Self::Secret => {
                let Ok(text) = std::str::from_utf8(text) else {
                    bail!("it is no text");
                };
                let secret = text.trim_end_matches(['\r', '\n']);
                ensure!(!secret.is_empty(), "it is empty");
            }
            Self::Jwks => {
                KeySet::from_jwks(text, 0)?;
            }
            Self::Library => ensure!(text.starts_with(ELF), "it is no shared library"),
            Self::PublicKey => {
                VerificationKey::from_pem(text)?;
            }
        }
        Ok(())
    }
}
