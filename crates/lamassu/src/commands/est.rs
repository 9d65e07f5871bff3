//! `lamassu est`: a client of EST servers, for devices and whoever tries one out.
//!
//! It needs no installation on its machine: the server is any that speaks EST, and its operator one
//! of a device. Files change as a whole ([`pair`]), what is asked for is in [`request`], asking and waiting
//! in [`server`].

mod enroll;
mod pair;
mod renew;
mod request;
mod schedule;
mod server;
mod service;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use lamassu_core::duration::WireDuration;

#[cfg(test)]
pub(super) use self::pair::tests::certificate;

use self::request::San;
use self::schedule::Share;
use self::server::ServerArgs;
use super::files::CertificateFormat;
use super::output::OutputArgs;
use super::values::{KeyType, SubjectArg};

/// Enroll a device by EST (RFC 7030), and keep its certificate valid.
#[derive(Clone, Debug, Args)]
pub(crate) struct Est {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: EstCommand,
}

/// Enroll a device by EST, and keep its certificate valid.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum EstCommand {
    /// Write the CA certificates that the server gives.
    Cacerts(CaCerts),
    /// Show what the server wants to see in requests.
    Csrattrs,
    /// Get a first certificate. The key is made here, or is the one that is in its file already.
    Enroll(Box<Enroll>),
    /// Get the successor of a certificate; the certificate itself is what proves who asks.
    Renew(Box<Renew>),
    /// Get a key that the server makes, and its certificate.
    Serverkeygen(Box<Serverkeygen>),
}

/// Write the CA certificates that the server gives.
#[derive(Clone, Debug, Args)]
pub(crate) struct CaCerts {
    /// In which form.
    #[arg(long, value_enum, default_value_t)]
    format: CertificateFormat,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

/// The files of a device, and what is written to them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// File of the device's private key (PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File of its certificate (PEM).
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Write the certificates of the CAs above it behind it, up to the one below the root.
    #[arg(long)]
    chain: bool,
    /// Write the CA certificates that the server gives to this file, too.
    #[arg(long, value_name = "FILE")]
    cacerts_out: Option<PathBuf>,
    /// How long to wait while the server is busy, or somebody has to approve; 0s: not at all.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    wait: WireDuration,
}

/// Whom the certificate is for.
#[derive(Clone, Debug, Args)]
pub(crate) struct Who {
    /// Subject, for example 'CN=device-1,O=Example', or only a common name: the id of the device.
    #[arg(long, value_name = "NAME")]
    subject: SubjectArg,
    /// Alternative name, for example device-1.plant.example, 10.0.0.7, or with its kind in front
    /// (dns: ip: email: uri:); repeatable.
    #[arg(long, value_name = "NAME")]
    san: Vec<San>,
}

/// Get a first certificate.
#[derive(Clone, Debug, Args)]
pub(crate) struct Enroll {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    files: Files,
    /// Make a key of this kind: ecdsa-256, rsa-3072, ed25519, …; what the server wants when not said.
    #[arg(long, value_name = "TYPE-SIZE")]
    key_type: Option<KeyType>,
    /// Enroll although the device has a certificate.
    #[arg(long)]
    force: bool,
}

/// Get the successor of a certificate.
#[derive(Clone, Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    files: Files,
    /// Keep the key; a new one of the same kind is made when not said.
    #[arg(long)]
    same_key: bool,
    /// Make a new key of this kind.
    #[arg(long, value_name = "TYPE-SIZE", conflicts_with = "same_key")]
    key_type: Option<KeyType>,
    /// Do nothing before it is time.
    #[arg(long, conflicts_with = "service")]
    if_due: bool,
    /// Go on, and renew by itself whenever it is time. SIGTERM ends it, SIGHUP renews at once.
    #[arg(long)]
    service: bool,
    /// When it is time: after so many percent of the lifetime.
    #[arg(long, value_name = "PERCENT", default_value = "67")]
    at: Share,
    /// Later by up to so many percent of the lifetime, so that devices that were made together do not come
    /// together. How much later is drawn from the certificate: looking again changes nothing.
    #[arg(long, value_name = "PERCENT", default_value = "5")]
    jitter: Share,
    /// Run this by sh once the new certificate is in its file. LAMASSU_EST_CERT and LAMASSU_EST_KEY name
    /// the files. A hook that failed runs again with the next run, or look of the service; until then
    /// certificates are renewed all the same.
    #[arg(long, value_name = "COMMAND")]
    hook: Option<String>,
    /// End a hook that takes longer than this; it has failed then.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    hook_timeout: WireDuration,
}

/// Get a key that the server makes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serverkeygen {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    files: Files,
    /// Replace the key and the certificate that are there.
    #[arg(long)]
    force: bool,
}

/// Does what the command says.
///
/// # Errors
/// One sentence.
pub(crate) async fn run(est: &Est) -> Result<()> {
    let Est {
        server,
        output,
        command,
    } = est;
    let outcome = match command {
        EstCommand::Cacerts(asked) => show::ca_certs(server, asked).await,
        EstCommand::Csrattrs => show::csr_attrs(server, *output).await,
        EstCommand::Enroll(asked) => enroll::enroll(server, *output, asked).await,
        EstCommand::Serverkeygen(asked) => enroll::generated(server, *output, asked).await,
        EstCommand::Renew(asked) if asked.service => service::run(server, asked).await,
        EstCommand::Renew(asked) => renew::run(server, *output, asked).await,
    };
    outcome.map_err(server::explained)
}
