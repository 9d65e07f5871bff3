//! The daily commands: keys, CAs, certificates, profiles, DMSs, devices.
//!
//! Each noun is a file with its command line and, beside it, a folder with what the commands do.
//! They are clients of a running server like any other: [`connection`] finds it and logs in,
//! [`output`] prints what comes back, [`failure`] says what to do about a refusal. No request is
//! built here; that is `lamassu-client`'s.
//!
//! [`est`], [`ocsp`] and [`crl`] are for devices and relying parties: their servers are any that speak the
//! protocol, and nobody logs in.

pub(crate) mod approvals;
pub(crate) mod cas;
pub(crate) mod certificates;
pub(crate) mod completion;
mod connection;
pub(crate) mod crl;
pub(crate) mod devices;
pub(crate) mod dms;
pub(crate) mod est;
mod failure;
mod fields;
mod files;
pub(crate) mod groups;
pub(crate) mod keys;
mod listing;
pub(crate) mod login;
mod members;
mod metadata;
pub(crate) mod ocsp;
mod output;
pub(crate) mod profiles;
mod progress;
mod question;
mod relying;
mod values;
pub(crate) mod verdict;

use std::fmt::Debug;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::connection::ConnectionArgs;
use self::output::OutputArgs;

/// The commands of a noun, and what all of them take.
#[derive(Clone, Debug, Args)]
pub(crate) struct Noun<C: Subcommand + Clone + Debug> {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: C,
}

/// The commands of one noun.
pub(crate) trait Commands: Subcommand + Clone + Debug {
    /// Does what the command says.
    ///
    /// # Errors
    /// What was refused, or cannot be read or written.
    async fn run(&self, session: &Session) -> Result<()>;
}

pub(crate) use self::connection::Session;

/// Connects, does what the command says, and says what to do where it was refused.
///
/// # Errors
/// One sentence.
pub(crate) async fn run<C: Commands>(noun: &Noun<C>) -> Result<()> {
    let session = Session::open(&noun.connection, noun.output).await?;
    let outcome = match noun.command.run(&session).await {
        Ok(()) => Ok(()),
        Err(error) => Err(failure::explained(&session, error).await),
    };
    session.close().await;
    outcome
}
