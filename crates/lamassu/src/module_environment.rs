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
    let mut missing = engines::module_environment(&config.engines())?;
    missing.retain(|name, value| std::env::var_os(name).is_none_or(|found| found != **value));
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
