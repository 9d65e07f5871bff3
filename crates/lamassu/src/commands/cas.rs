//! `lamassu cas`: certificate authorities, and requests for those that somebody else certifies.

mod below;
mod change;
mod create;
mod request;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use lamassu_core::ca::Member;
use lamassu_core::duration::WireDuration;
use lamassu_core::va::CrlShards;

pub(super) use self::show::{CHAIN, Link};
use super::certificates::{ReasonArg, StatusArg};
use super::files::CertificateFormat;
use super::listing::ListArgs;
use super::metadata::{MetadataChanges, NewMetadata};
use super::question::Question;
use super::values::{KeyArgs, Lifetime, SubjectArg};
use super::{Commands, Session};
use request::RequestCommand;

/// Certificate authorities.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CasCommand {
    /// List CAs.
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: lamassu cas list --status active --issuer root")]
    List(ListCas),
    /// Show a CA.
    #[command(after_help = "Example: lamassu cas show plant-a")]
    Show {
        /// The CA's id.
        ca: String,
    },
    /// Make a root CA, or with --issuer one below another CA.
    #[command(
        after_help = "Example: lamassu cas create --id plant-a --issuer root --subject 'CN=Plant A,O=Example' --profile Devices --validity 5y"
    )]
    Create(Box<CreateCa>),
    /// Take in a CA that was made elsewhere: with its private key, without it, or for a key that is
    /// here already because a request was made for it.
    #[command(
        after_help = "Example: lamassu cas import legacy.pem --private-key legacy.key --id legacy --profile Devices"
    )]
    Import(ImportCa),
    /// Requests for CAs that somebody else certifies.
    #[command(subcommand)]
    Request(RequestCommand),
    /// Change the default profile, delta CRLs or the metadata.
    #[command(after_help = "Example: lamassu cas update plant-a --profile Line --set owner=jane")]
    Update(UpdateCa),
    /// Give a CA a new certificate for the same key.
    #[command(after_help = "Example: lamassu cas reissue plant-a")]
    Reissue {
        /// The CA's id.
        ca: String,
        /// Profile of the CA certificate, by id or name; as the old one when not said.
        #[arg(long, value_name = "PROFILE")]
        ca_profile: Option<String>,
    },
    /// Revoke a CA and everything that it issued, for good.
    #[command(after_help = "Example: lamassu cas revoke plant-a --reason CessationOfOperation")]
    Revoke {
        /// The CA's id.
        ca: String,
        /// Why.
        #[arg(long, value_name = "REASON", default_value = "Unspecified")]
        reason: ReasonArg,
        #[command(flatten)]
        question: Question,
    },
    /// Put a CA and everything that it issued on hold.
    #[command(after_help = "Example: lamassu cas hold plant-a")]
    Hold {
        /// The CA's id.
        ca: String,
    },
    /// Release a CA from hold, and what was held because of it.
    #[command(after_help = "Example: lamassu cas release plant-a")]
    Release {
        /// The CA's id.
        ca: String,
    },
    /// Delete a revoked or expired CA, or one without key here. What it issued is revoked.
    #[command(visible_alias = "rm")]
    #[command(after_help = "Example: lamassu cas delete plant-a")]
    Delete {
        /// The CA's id.
        ca: String,
        /// Delete the CAs below it, too, where the configuration allows that.
        #[arg(long)]
        cascade: bool,
        #[command(flatten)]
        question: Question,
    },
    /// List the certificates from a CA up to its root.
    #[command(after_help = "Example: lamassu cas chain plant-a")]
    Chain {
        /// The CA's id.
        ca: String,
    },
    /// Write the CA's certificate, or its chain.
    #[command(after_help = "Example: lamassu cas export plant-a --chain --out plant-a.chain.pem")]
    Export(ExportCa),
    /// Count CAs and certificates, or the certificates that one CA issued.
    #[command(after_help = "Example: lamassu cas stats plant-a")]
    Stats {
        /// The CA's id; all when left out.
        ca: Option<String>,
    },
}

/// List CAs.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListCas {
    /// With this status.
    #[arg(long, value_name = "STATUS", ignore_case = true)]
    status: Option<StatusArg>,
    /// Whose key is in this engine.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Whose common name contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Which this CA issued.
    #[arg(long, value_name = "CA")]
    issuer: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Make a CA.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateCa {
    /// Id, as commands and DMSs name it; a UUID is made when not said.
    #[arg(long, value_name = "ID", default_value = "")]
    id: String,
    /// Subject, for example 'CN=Plant CA,O=Example,C=DE', or only a common name.
    #[arg(long, value_name = "NAME")]
    subject: SubjectArg,
    /// The CA that issues it; a root when not said.
    #[arg(long, value_name = "CA")]
    issuer: Option<String>,
    /// How long it is valid, for example 10y (a y is 364 days), or until when.
    #[arg(long, value_name = "DURATION|TIME", default_value = "10y")]
    validity: Lifetime,
    /// Profile of what the CA will issue, by id or name.
    #[arg(long, value_name = "PROFILE")]
    profile: String,
    /// Profile of the CA certificate itself, by id or name; a plain CA when not said.
    #[arg(long, value_name = "PROFILE")]
    ca_profile: Option<String>,
    /// Into how many shards, each with a CRL of its own, what it issues is divided, for good: 2 to 1024. One CRL
    /// when not said.
    #[arg(long, value_name = "N")]
    crl_shards: Option<CrlShards>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    metadata: NewMetadata,
}

/// Take in a CA.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportCa {
    /// Its certificate, PEM or DER; - is standard input.
    #[arg(value_name = "FILE")]
    certificate: PathBuf,
    /// Its private key, PEM or DER, not encrypted.
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// Id, as commands and DMSs name it; a UUID is made when not said.
    #[arg(long, value_name = "ID", default_value = "")]
    id: String,
    /// Profile of what the CA will issue, by id or name.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Engine for the private key; the default one when not said.
    #[arg(long, value_name = "ENGINE", requires = "private_key")]
    engine: Option<String>,
    /// The CA that issued it, where several might have.
    #[arg(long, value_name = "CA")]
    issuer: Option<String>,
    /// Into how many shards, each with a CRL of its own, what it issues is divided, for good: 2 to 1024. One CRL
    /// when not said.
    #[arg(long, value_name = "N")]
    crl_shards: Option<CrlShards>,
    #[command(flatten)]
    question: Question,
}

/// Change a CA.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateCa {
    /// The CA's id.
    ca: String,
    /// Profile of what it will issue, by id or name.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Make delta CRLs that are valid for so long, for example 1d: a revocation makes one, and the complete CRL
    /// waits for its interval. `off`: make none.
    #[arg(long, value_name = "DURATION", value_parser = delta_crls)]
    delta_crls: Option<Member<WireDuration>>,
    #[command(flatten)]
    metadata: MetadataChanges,
}

fn delta_crls(text: &str) -> Result<Member<WireDuration>, String> {
    match text {
        "off" => Ok(Member::Cleared),
        text => text
            .parse()
            .map(Member::Set)
            .map_err(|_| "it is a duration like 1d, or off".to_owned()),
    }
}

/// Write a CA's certificate.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportCa {
    /// The CA's id.
    ca: String,
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

impl Commands for CasCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => show::list(session, asked).await,
            Self::Show { ca } => show::one(session, ca).await,
            Self::Create(asked) => create::create(session, asked).await,
            Self::Import(asked) => create::import(session, asked).await,
            Self::Request(command) => request::run(session, command).await,
            Self::Update(asked) => change::update(session, asked).await,
            Self::Reissue { ca, ca_profile } => {
                change::reissue(session, ca, ca_profile.as_deref()).await
            }
            Self::Revoke {
                ca,
                reason,
                question,
            } => change::revoke(session, ca, *reason, *question).await,
            Self::Hold { ca } => change::hold(session, ca).await,
            Self::Release { ca } => change::release(session, ca).await,
            Self::Delete {
                ca,
                cascade,
                question,
            } => {
                let cascade = change::cascade(*cascade);
                change::delete(session, ca, cascade, *question).await
            }
            Self::Chain { ca } => show::chain(session, ca).await,
            Self::Export(asked) => show::export(session, asked).await,
            Self::Stats { ca: Some(ca) } => show::stats_of(session, ca).await,
            Self::Stats { ca: None } => show::stats(session).await,
        }
    }
}
