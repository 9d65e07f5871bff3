//! Running other programs and reading what they print.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a program in `directory` and gives its standard output; its failure is an error with
/// everything it printed.
///
/// # Errors
/// The program is missing or does not end with code 0.
pub(crate) fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    run_with_input(directory, program, arguments, b"")
}

/// The same with bytes on standard input.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with_input(
    directory: &Path,
    program: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<String> {
    let output = output_with_input(directory, program, arguments, input)?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program and gives whatever came of it.
///
/// # Errors
/// The program is missing.
pub(crate) fn output_with_input(
    directory: &Path,
    program: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} is missing; `make test` installs it"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it early; its exit code tells the rest.
        drop(stdin.write_all(input));
    }
    Ok(child.wait_with_output()?)
}
