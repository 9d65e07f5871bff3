//! Asking before what cannot be undone.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use clap::Args;

/// Whether to ask.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Question {
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
}

impl Question {
    /// Goes on only if the answer is yes. Where nobody can be asked, `--yes` has to be given.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn ask(self, what: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            bail!("{what} Nothing was done: say --yes to do it without being asked");
        }
        let mut out = std::io::stderr();
        write!(out, "{what} Go on? [y/N] ").and_then(|()| out.flush())?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.context("the answer cannot be read")?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => bail!("nothing was done"),
        }
    }
}
