//! `lamassu certificates`: certificates of every kind, and the jobs that revoke many of them.

mod bulk;
mod doubts;
mod issue;
mod reason;
mod show;
mod status;
mod status_arg;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use lamassu_core::ca::{AlternativeName, CertificateRef, SanType};
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::Certificate as Read;

use self::bulk::BulkRevoke;
pub(super) use self::doubts::tell_doubts;
pub(super) use self::reason::ReasonArg;
pub(super) use self::show::{fingerprint, key_id, key_kind, left_of, status};
pub(super) use self::status_arg::StatusArg;
use super::files::{self, CertificateFormat};
use super::listing::ListArgs;
use super::metadata::{MetadataChanges, NewMetadata};
use super::question::Question;
use super::values::{KeyArgs, SubjectArg};
use super::{Commands, Session};

/// Certificates. SERIAL is a serial number, hexadecimal, or a file with the certificate, PEM or DER.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CertificatesCommand {
    /// List certificates, those of CAs included.
    #[command(visible_alias = "ls")]
    #[command(
        after_help = "Example: lamassu certificates list --ca plant-a --expires-within 30d --sort valid_to"
    )]
    List(ListCertificates),
    /// Show a certificate.
    #[command(after_help = "Example: lamassu certificates show 43:26:FF:64")]
    Show(One),
    /// Issue a certificate from a request (CSR).
    #[command(
        after_help = "Example: lamassu certificates issue device-1.csr --ca plant-a --out device-1.pem --chain"
    )]
    Issue(Issue),
    /// Make a certificate for a key of this installation.
    #[command(
        after_help = "Example: lamassu certificates create --ca plant-a --subject 'CN=gateway-7,O=Example' --dns gateway-7.example.com"
    )]
    Create(Box<CreateCertificate>),
    /// Issue a successor: by the same CA, for the same subject, with the same key or a request.
    #[command(
        after_help = "Example: lamassu certificates renew 4326ff64 --csr device-1.csr --out device-1.pem --revoke-old"
    )]
    Renew(Renew),
    /// Revoke certificates, for good.
    #[command(after_help = "Example: lamassu certificates revoke 4326ff64 --reason KeyCompromise")]
    Revoke {
        /// Their serial numbers, or files with them.
        #[arg(required = true, value_name = "SERIAL")]
        serials: Vec<String>,
        /// The CA that issued them, where several used such a serial number.
        #[arg(long, value_name = "CA")]
        ca: Option<String>,
        /// The SHA-256 of the one, where several whose issuers are not here used this serial number.
        #[arg(long, value_name = "HEX")]
        fingerprint: Option<String>,
        /// Why.
        #[arg(long, value_name = "REASON", default_value = "Unspecified")]
        reason: ReasonArg,
        #[command(flatten)]
        question: Question,
    },
    /// Put a certificate on hold: revoked until it is released.
    #[command(after_help = "Example: lamassu certificates hold 4326ff64")]
    Hold(One),
    /// Release a certificate from hold.
    #[command(after_help = "Example: lamassu certificates release 4326ff64")]
    Release(One),
    /// Revoke all certificates that fulfil some conditions, for good.
    #[command(
        after_help = "Example: lamassu certificates bulk-revoke --ca plant-a --filter 'subject.common_name[contains]line-3' --reason CessationOfOperation"
    )]
    BulkRevoke(BulkRevoke),
    /// Take in certificates that were made elsewhere.
    #[command(after_help = "Example: lamassu certificates import foreign.pem --set owner=jane")]
    Import(ImportCertificates),
    /// Change the metadata.
    #[command(after_help = "Example: lamassu certificates update 4326ff64 --set owner=jane")]
    Update {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        metadata: MetadataChanges,
    },
    /// Delete a certificate whose CA is gone.
    #[command(visible_alias = "rm")]
    #[command(after_help = "Example: lamassu certificates delete 4326ff64")]
    Delete {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        question: Question,
    },
    /// List the certificates from this one up to its root.
    #[command(after_help = "Example: lamassu certificates chain 4326ff64")]
    Chain(One),
    /// Write a certificate, or its chain.
    #[command(
        after_help = "Example: lamassu certificates export 4326ff64 --format pkcs7 --chain --out device-1.p7b"
    )]
    Export(Export),
    /// List long work: bulk revocations, and what follows the status of a CA.
    #[command(after_help = "Example: lamassu certificates jobs --filter 'status[equal]RUNNING'")]
    Jobs {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a job.
    #[command(
        after_help = "Example: lamassu certificates job 0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21 --wait"
    )]
    Job {
        /// Its id.
        job: String,
        /// Wait for its end; exit code 1 when something failed.
        #[arg(long)]
        wait: bool,
    },
}

/// One certificate.
#[derive(Clone, Debug, Args)]
pub(crate) struct One {
    /// Its serial number, or a file with it (PEM or DER; its chain may be behind it).
    serial: String,
    /// The CA that issued it, where several used this serial number.
    #[arg(long, value_name = "CA")]
    ca: Option<String>,
    /// Its SHA-256, where several whose issuers are not here used this serial number.
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
}

impl One {
    /// As the CA service is asked for it. What is no number is a file, which says its fingerprint, too.
    fn named(&self) -> Result<CertificateRef> {
        let ca = self.ca.as_deref().map(CaId::from);
        if let Some(serial_number) = SerialNumber::parse(&self.serial) {
            return Ok(CertificateRef {
                serial_number,
                ca,
                fingerprint: self.fingerprint.clone(),
            });
        }
        let path = Path::new(&self.serial);
        ensure!(
            path == Path::new("-") || path.exists(),
            "{:?} is no serial number, which is hexadecimal, and no file",
            self.serial
        );
        let (certificate, _chain) = files::certificate(path)?;
        let serial = Read::from_der(certificate.der().clone())?.serial().to_hex();
        let fingerprint = hex::encode(HashAlgorithm::Sha256.digest(certificate.der()));
        Ok(CertificateRef {
            serial_number: SerialNumber::parse(&serial).context("no serial number")?,
            ca,
            fingerprint: Some(fingerprint),
        })
    }
}

/// List certificates.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListCertificates {
    /// Which this CA issued.
    #[arg(long, value_name = "CA")]
    ca: Option<String>,
    /// With this status.
    #[arg(long, value_name = "STATUS", ignore_case = true)]
    status: Option<StatusArg>,
    /// Which end within this time, for example 30d; active ones only.
    #[arg(long, value_name = "DURATION")]
    expires_within: Option<lamassu_core::duration::WireDuration>,
    /// Whose common name contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// With this subject alternative name.
    #[arg(long, value_name = "NAME")]
    san: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Where an issued certificate is written.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// Write the certificate here; - is standard output, and then nothing else is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// In which form it is written.
    #[arg(long, value_enum, default_value_t, requires = "out")]
    format: CertificateFormat,
    /// Write the certificates of the CAs above it behind it.
    #[arg(long, requires = "out")]
    chain: bool,
}

/// Issue from a request.
#[derive(Clone, Debug, Args)]
pub(crate) struct Issue {
    /// The request (PKCS#10), PEM or DER; - is standard input.
    #[arg(value_name = "FILE")]
    csr: PathBuf,
    /// The CA that issues.
    #[arg(long, value_name = "CA")]
    ca: String,
    /// Profile, by id or name; the CA's own when not said.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Issue although a certificate for the same key was revoked for KeyCompromise.
    #[arg(long)]
    allow_compromised_key: bool,
    #[command(flatten)]
    target: Target,
}

/// Make a certificate for a key here.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateCertificate {
    /// The CA that issues.
    #[arg(long, value_name = "CA")]
    ca: String,
    /// Subject, for example 'CN=gateway-7,O=Example', or only a common name.
    #[arg(long, value_name = "NAME")]
    subject: SubjectArg,
    #[command(flatten)]
    names: NameArgs,
    /// Profile, by id or name; the CA's own when not said.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
    /// Issue although a certificate for the same key was revoked for KeyCompromise.
    #[arg(long, requires = "key")]
    allow_compromised_key: bool,
    #[command(flatten)]
    metadata: NewMetadata,
    #[command(flatten)]
    target: Target,
}

/// Subject alternative names; the profile has to honour those that are asked for.
#[derive(Clone, Debug, Args)]
pub(crate) struct NameArgs {
    /// A DNS name that it is for; repeatable.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// An IP address that it is for; repeatable.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
    /// A mail address that it is for; repeatable.
    #[arg(long, value_name = "ADDRESS")]
    email: Vec<String>,
    /// A URI that it is for; repeatable.
    #[arg(long, value_name = "URI")]
    uri: Vec<String>,
}

impl NameArgs {
    /// All of them.
    fn names(&self) -> Vec<AlternativeName> {
        let named = |san_type, values: &[String]| {
            let names = values.iter().map(|value| AlternativeName {
                san_type,
                value: value.clone(),
            });
            names.collect::<Vec<_>>()
        };
        let addresses: Vec<_> = self.ip.iter().map(IpAddr::to_string).collect();
        [
            named(SanType::Dns, &self.dns),
            named(SanType::Ip, &addresses),
            named(SanType::Email, &self.email),
            named(SanType::Uri, &self.uri),
        ]
        .concat()
    }
}

/// Take in certificates.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportCertificates {
    /// The certificate, PEM, DER or PKCS#7; - is standard input.
    file: PathBuf,
    /// Take in all certificates of the file, not only the first one.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    metadata: NewMetadata,
}

/// Issue a successor.
#[derive(Clone, Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    one: One,
    /// A request for the successor (PKCS#10), PEM or DER; needed where the key is not here.
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Profile, by id or name; the CA's own when not said.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Issue although a certificate for the same key was revoked for KeyCompromise.
    #[arg(long)]
    allow_compromised_key: bool,
    /// Revoke the old certificate (Superseded) once the new one is there.
    #[arg(long)]
    revoke_old: bool,
    #[command(flatten)]
    target: Target,
}

/// Write a certificate.
#[derive(Clone, Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    one: One,
    /// With the certificates of the CAs above it, up to the root.
    #[arg(long)]
    chain: bool,
    /// In which form.
    #[arg(long, value_enum, default_value_t)]
    format: CertificateFormat,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

impl Commands for CertificatesCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => show::list(session, asked).await,
            Self::Show(one) => show::one(session, one).await,
            Self::Issue(asked) => issue::issue(session, asked).await,
            Self::Create(asked) => issue::create(session, asked).await,
            Self::Renew(asked) => issue::renew(session, asked).await,
            Self::Revoke {
                serials,
                ca,
                fingerprint,
                reason,
                question,
            } => {
                let named = |serial: &String| One {
                    serial: serial.clone(),
                    ca: ca.clone(),
                    fingerprint: fingerprint.clone(),
                };
                let all: Vec<One> = serials.iter().map(named).collect();
                status::revoke(session, &all, *reason, *question).await
            }
            Self::Hold(one) => status::hold(session, one).await,
            Self::Release(one) => status::release(session, one).await,
            Self::BulkRevoke(asked) => bulk::revoke(session, asked).await,
            Self::Import(asked) => issue::import(session, asked).await,
            Self::Update { one, metadata } => status::update(session, one, metadata).await,
            Self::Delete { one, question } => status::delete(session, one, *question).await,
            Self::Chain(one) => show::chain(session, one).await,
            Self::Export(asked) => show::export(session, asked).await,
            Self::Jobs { list } => bulk::jobs(session, list).await,
            Self::Job { job, wait: false } => bulk::job(session, job).await,
            Self::Job { job, wait: true } => bulk::wait(session, job).await,
        }
    }
}
