//! The environment that the modules of tokens want to find.
//!
//! It is the process's own, and to change that while threads run is not safe. So the program starts once
//! more in its own place, with the same arguments and the same process id, before it has done anything.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::config::Config;
use crate::engines;

/// Returns if the environment is right; starts the program again otherwise.
///
/// # Errors
/// It cannot be started again.
pub(crate) fn enter(config: &Config) -> Result<()> {
    if !config.services.has("kms") {
        return Ok(());
    }
    let mut missing = engines::environment_of_modules(&config.engines())?;
    missing.retain(|name, value| variable(name).as_ref() != Some(value));
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut program = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    // It does not return unless it fails.
    Err(program.args(arguments).envs(missing).exec())
        .context("the program cannot be started again with the environment of its PKCS#11 modules")
}

/// A variable of the process's environment, if it is there and text.
#[expect(
    clippy::disallowed_methods,
    reason = "named by the configuration, for modules and their PINs"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
