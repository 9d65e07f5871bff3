//! `lamassu keys`: key pairs and the engines that hold them.

mod change;
mod delete;
mod show;
mod signature;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(super) use self::show::known_engine;
use self::signature::MessageArgs;
use super::files::KeyFormat;
use super::listing::ListArgs;
use super::metadata::{MetadataChanges, NewMetadata};
use super::question::Question;
use super::values::KeyType;
use super::{Commands, Session};

/// Keys and the engines that hold them. KEY is a key's id, one of its aliases, or its pkcs11: URI.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List keys.
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: lamassu keys list --engine filesystem-1 --tag production")]
    List(ListKeys),
    /// Show a key, how often it was used, and what uses it.
    #[command(after_help = "Example: lamassu keys show firmware")]
    Show {
        /// The key.
        key: String,
    },
    /// Make a key pair.
    #[command(
        after_help = "Example: lamassu keys create --name 'Firmware signing' --alias firmware --key-type ecdsa-384"
    )]
    Create(CreateKey),
    /// Take in a private key that was made elsewhere.
    #[command(
        after_help = "Example: lamassu keys import old.key --name 'Partner gateway' --alias partner"
    )]
    Import(ImportKey),
    /// Change name, tags, aliases or metadata.
    #[command(
        after_help = "Example: lamassu keys update firmware --name 'Firmware signing, hall 2' --add-alias fw"
    )]
    Update(UpdateKey),
    /// Stop a key from signing, until it is enabled again.
    #[command(after_help = "Example: lamassu keys disable firmware")]
    Disable {
        /// The key.
        key: String,
    },
    /// Let a disabled key sign again.
    #[command(after_help = "Example: lamassu keys enable firmware")]
    Enable {
        /// The key.
        key: String,
    },
    /// Move a key into another engine. It keeps its id, its names and what uses it.
    #[command(after_help = "Example: lamassu keys move firmware --to hsm-1")]
    Move {
        /// The key.
        key: String,
        /// The other engine.
        #[arg(long, value_name = "ENGINE")]
        to: String,
    },
    /// Sign a file.
    #[command(after_help = "Example: lamassu keys sign firmware firmware.bin --out firmware.sig")]
    Sign(Sign),
    /// Verify the signature of a file; exit code 1 when it is not valid.
    #[command(
        after_help = "Example: lamassu keys verify firmware firmware.bin --signature firmware.sig"
    )]
    Verify(Verify),
    /// Write the public half.
    #[command(after_help = "Example: lamassu keys export firmware --out firmware.pub")]
    Export(Export),
    /// Destroy a key pair whose certificates, if there are any, are expired or revoked. What it signed stays
    /// valid, but nothing is signed with it again.
    #[command(visible_alias = "rm")]
    #[command(after_help = "Example: lamassu keys delete firmware")]
    Delete {
        /// The keys.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        question: Question,
    },
    /// List the engines, which kinds of keys they take, and whether they work.
    #[command(after_help = "Example: lamassu keys engines")]
    Engines,
    /// Count keys per engine and kind.
    #[command(after_help = "Example: lamassu keys stats --filter 'tags[contains]production'")]
    Stats {
        /// Only those that fulfil this; repeatable.
        #[arg(long, value_name = "FIELD[OPERAND]VALUE")]
        filter: Vec<String>,
    },
}

/// List keys.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListKeys {
    /// In this engine.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Of this kind.
    #[arg(
        long,
        value_name = "NAME",
        ignore_case = true,
        value_parser = ["RSA", "ECDSA", "Ed25519", "ML-DSA"]
    )]
    algorithm: Option<String>,
    /// With this status.
    #[arg(
        long,
        value_name = "STATUS",
        ignore_case = true,
        value_parser = ["ACTIVE", "DISABLED"]
    )]
    status: Option<String>,
    /// Whose name contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// With this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Make a key pair.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateKey {
    /// What it is called; need not be unique.
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// ecdsa-256, ecdsa-384, rsa-3072, ed25519, ml-dsa-65, …; `lamassu keys engines` lists them.
    #[arg(long, value_name = "TYPE-SIZE", default_value = "ecdsa-256")]
    key_type: KeyType,
    #[command(flatten)]
    place: Place,
}

/// Where a new key goes, and what is noted of it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The engine; the default one when not said.
    #[arg(long, value_name = "ENGINE", default_value = "")]
    engine: String,
    /// Another name, which no other key has; repeatable.
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// A tag; repeatable.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    metadata: NewMetadata,
}

/// Take in a private key.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportKey {
    /// The private key, PEM or DER (PKCS#8, PKCS#1, SEC 1), not encrypted; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is called; need not be unique.
    #[arg(long, value_name = "TEXT")]
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Change what is noted of a key.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateKey {
    /// The key.
    key: String,
    /// Call it so.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Give it these tags instead of those that it has; repeatable.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Take all tags away.
    #[arg(long, conflicts_with = "tags")]
    no_tags: bool,
    /// Another name, which no other key has; repeatable.
    #[arg(long, value_name = "NAME")]
    add_alias: Vec<String>,
    /// Take this alias away; repeatable.
    #[arg(long, value_name = "NAME")]
    remove_alias: Vec<String>,
    #[command(flatten)]
    metadata: MetadataChanges,
}

/// Sign a file.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sign {
    #[command(flatten)]
    message: MessageArgs,
    /// Write the signature's octets here; base64 goes to standard output when not said.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Verify a signature.
#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    message: MessageArgs,
    /// The signature, its octets or their base64.
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
}

/// Write the public half.
#[derive(Clone, Debug, Args)]
pub(crate) struct Export {
    /// The key.
    key: String,
    /// PEM or DER.
    #[arg(long, value_enum, default_value_t)]
    format: KeyFormat,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

impl Commands for KeysCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => show::list(session, asked).await,
            Self::Show { key } => show::one(session, key).await,
            Self::Create(asked) => change::create(session, asked).await,
            Self::Import(asked) => change::import(session, asked).await,
            Self::Update(asked) => change::update(session, asked).await,
            Self::Disable { key } => change::disable(session, key).await,
            Self::Enable { key } => change::enable(session, key).await,
            Self::Move { key, to } => change::relocate(session, key, to).await,
            Self::Sign(asked) => signature::sign(session, asked).await,
            Self::Verify(asked) => signature::verify(session, asked).await,
            Self::Export(asked) => show::export(session, asked).await,
            Self::Delete { keys, question } => delete::delete(session, keys, *question).await,
            Self::Engines => show::engines(session).await,
            Self::Stats { filter } => show::stats(session, filter).await,
        }
    }
}
