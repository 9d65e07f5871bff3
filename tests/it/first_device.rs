//! The main job, as the README shows it: the example script, and the lines to paste.

use anyhow::{Context as _, Result};

use crate::support::program::executable;
use crate::support::{Program, command};

#[test]
fn the_example_script_passes_as_it_is() -> Result<()> {
    let program = Program::start()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-device.sh");
    let output = command::run(
        &program.scratch(),
        "env",
        &[
            &format!("LAMASSU_TOKEN={}", program.token("admin")?),
            &format!("LAMASSU_CA={}", program.anchor().display()),
            &format!("LAMASSU_HTTPS={}", program.https()),
            &format!("LAMASSU_HTTP={}", program.http()),
            "sh",
            script,
        ],
    )?;
    assert!(
        output.contains("device-1: revoked   device-2: good"),
        "{output}"
    );
    assert!(output.contains("== done"), "{output}");
    Ok(())
}

#[test]
fn the_lines_of_the_readme_work_when_pasted_twice() -> Result<()> {
    let program = Program::start()?;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))?;
    let block = readme
        .split("```sh\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("the README has lines to paste")?;
    let binaries = executable()
        .parent()
        .context("the program is in a folder")?;
    let block = block
        .replace(
            "~/.local/share/lamassu",
            &program.data_dir().to_string_lossy(),
        )
        .replace("$PWD/target/release", &binaries.to_string_lossy())
        .replace("https://localhost:8443", &program.https())
        .replace("http://localhost:8080", &program.http());
    // The lines take their names from the clock, in seconds.
    let twice = format!("{block}\nsleep 1\n{block}");
    let output = command::run(
        &program.scratch(),
        "bash",
        &["-e", "-o", "pipefail", "-c", &twice],
    )?;
    assert_eq!(output.matches("device.pem: OK").count(), 2, "{output}");
    assert_eq!(output.matches("device.pem: good").count(), 2, "{output}");
    assert_eq!(
        output.matches("\"status\":\"ACTIVE\",\"icon\"").count(),
        2,
        "{output}"
    );
    Ok(())
}
