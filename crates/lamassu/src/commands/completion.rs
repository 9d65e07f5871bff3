//! `lamassu completion` and `lamassu man`: what shells and `man` know about the command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;

/// Print a completion script.
#[derive(Clone, Debug, Args)]
pub(crate) struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write manual pages.
#[derive(Clone, Debug, Args)]
pub(crate) struct Man {
    /// The directory to write them to, one file per command.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Prints a completion script.
///
/// # Errors
/// It cannot be printed.
pub(crate) fn completion(asked: &Completion) -> Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(asked.shell, &mut command, "lamassu", &mut script);
    super::output::write_octets(&script)
}

/// Writes a page per command.
///
/// # Errors
/// One of them cannot be written.
pub(crate) fn man(asked: &Man) -> Result<()> {
    std::fs::create_dir_all(&asked.to)
        .and_then(|()| clap_mangen::generate_to(command(), &asked.to))
        .with_context(|| format!("{} cannot be written to", asked.to.display()))
}

/// The command line without what depends on this machine.
fn command() -> Command {
    Cli::command().disable_help_subcommand(true)
}
