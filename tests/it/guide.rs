//! The guide does what it says: every block of commands runs, in order, and prints what stands below it.
//!
//! What differs from one run to the next (times, serial numbers, ids) is compared by its form.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;
use tempfile::TempDir;

use crate::support::program::{Options, executable};
use crate::support::{Program, command};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide")
}

/// Commands, and what the guide says that they print.
struct Block<'d> {
    commands: &'d str,
    printed: &'d str,
}

/// The blocks of a chapter, in order.
fn blocks(chapter: &str) -> Vec<Block<'_>> {
    let after = chapter.split("```sh\n").skip(1);
    after
        .filter_map(|rest| {
            let (commands, rest) = rest.split_once("```\n")?;
            let printed = rest.strip_prefix("\n```text\n");
            let printed = printed.and_then(|rest| rest.split_once("```\n"));
            let printed = printed.map_or("", |(printed, _)| printed);
            Some(Block { commands, printed })
        })
        .collect()
}

/// A text without what differs from run to run, and without how columns are padded.
fn form(text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for (pattern, form) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
        (r"[0-9a-f]{32,}", "HEX"),
        (r" +\n", "\n"),
        (r" {2,}", "  "),
    ] {
        text = Regex::new(pattern)?.replace_all(&text, form).into_owned();
    }
    Ok(text.trim_end().to_owned())
}

/// Runs a chapter on a server that is configured as the guide says.
fn run(name: &str) -> Result<()> {
    run_on(name, &[])
}

/// The same with further arguments of `serve`.
fn run_on(name: &str, arguments: &[&str]) -> Result<()> {
    let overview = std::fs::read_to_string(folder().join("README.md"))?;
    let config = overview.split("```yaml\n").nth(1);
    let config = config.and_then(|rest| rest.split("```").next());
    let directory = TempDir::new()?;
    let keys = directory.path().join("keys");
    let config = config
        .context("the guide has a configuration")?
        .replace("/var/lib/lamassu/keys", &keys.to_string_lossy());
    let options = Options {
        config: Some(format!("{config}gateway: {{metrics: {{listen: null}}}}\n")),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        ..Options::default()
    };
    let program = Program::start_in(directory, options)?;

    let chapter = std::fs::read_to_string(folder().join(name))?;
    let blocks = blocks(&chapter);
    ensure!(blocks.len() >= 4, "{name} has {} blocks", blocks.len());
    let script = script(&program, &blocks)?;
    let scratch = program.scratch().join("desk");
    std::fs::create_dir(&scratch)?;
    // No `pipefail`: `head` may end before what it reads from, and what is printed is compared.
    let output = command::run(&scratch, "bash", &["-e", "-c", &script])?;
    let output = output
        .replace(&program.http(), "http://localhost:8080")
        .replace(&program.https(), "https://localhost:8443");
    let mut printed = output.split(MARK);
    for block in blocks {
        let printed = printed.next().context("a mark behind every block")?;
        let commands = block.commands;
        assert_eq!(form(printed)?, form(block.printed)?, "{name}:\n{commands}");
    }
    Ok(())
}

/// What separates the output of blocks.
const MARK: &str = "\n== next block ==\n";

fn script(program: &Program, blocks: &[Block<'_>]) -> Result<String> {
    let binaries = executable()
        .parent()
        .context("the program is in a folder")?;
    let mut script = format!(
        "exec 2>&1\nunset LAMASSU_URL LAMASSU_TOKEN LAMASSU_TOKEN_FILE LAMASSU_CA_FILE\n\
         unset LAMASSU_EST_URL LAMASSU_EST_DMS LAMASSU_EST_CA LAMASSU_EST_FINGERPRINT LAMASSU_EST_TOKEN\n\
         export LAMASSU_CONFIG_FILE='{}' LAMASSU_DATA_DIR='{}' PATH='{}':$PATH\n",
        program.scratch().join("config.yml").display(),
        program.data_dir().display(),
        binaries.display()
    );
    for block in blocks {
        let commands = block.commands;
        let commands = commands.replace("http://localhost:8080", &program.http());
        script.push_str(&commands.replace("https://localhost:8443", &program.https()));
        script.push_str(&format!("printf '{}'\n", MARK.replace('\n', "\\n")));
    }
    Ok(script)
}

#[test]
fn the_overview_does_what_it_says() -> Result<()> {
    run("README.md")
}

#[test]
fn the_chapter_about_keys_does_what_it_says() -> Result<()> {
    run("keys.md")
}

#[test]
fn the_chapter_about_cas_does_what_it_says() -> Result<()> {
    run("cas.md")
}

#[test]
fn the_chapter_about_certificates_does_what_it_says() -> Result<()> {
    run("certificates.md")
}

#[test]
fn the_chapter_about_fleets_does_what_it_says() -> Result<()> {
    run("fleet.md")
}

#[test]
fn the_chapter_about_passwords_does_what_it_says() -> Result<()> {
    run("passwords.md")
}

#[test]
fn the_chapter_about_est_clients_does_what_it_says() -> Result<()> {
    run("est-clients.md")
}

#[test]
fn the_chapter_about_expired_fleets_does_what_it_says() -> Result<()> {
    run("recovery.md")
}

#[test]
fn the_chapter_about_relying_parties_does_what_it_says() -> Result<()> {
    run_on("revocation.md", &["--domain", "pki.example"])
}

/// Commands that no block can run: the server of a chapter runs already, and nobody is there to sign in.
const ONLY_SHOWN: [&str; 3] = ["serve", "login", "logout"];

#[test]
fn what_no_block_runs_is_a_command_with_options_that_exist() -> Result<()> {
    let guide = std::fs::read_dir(folder())?.map(|entry| Ok(entry?.path()));
    let mut chapters: Vec<PathBuf> = guide.collect::<Result<_>>()?;
    chapters.retain(|path| path.extension().is_some_and(|end| end == "md"));
    ensure!(chapters.len() > 8, "{chapters:?}");
    let operations = folder().join("../operations.md");
    for path in chapters.iter().chain([&operations]) {
        let chapter = std::fs::read_to_string(path)?;
        let name = path.display();
        for line in shown(&chapter) {
            let command = words(line).next().unwrap_or_default();
            assert!(
                *path == operations || ONLY_SHOWN.contains(&command),
                "{name}: no block runs `{line}`: make it one of ```sh"
            );
            check_options(line).with_context(|| format!("{name}: {line}"))?;
        }
    }
    Ok(())
}

/// Lines of a document that are commands and in no block.
fn shown(document: &str) -> impl Iterator<Item = &str> {
    let outside = document.split("```").step_by(2);
    let indented = outside.flat_map(str::lines);
    indented.filter_map(|line| line.strip_prefix("    ")?.strip_prefix("lamassu "))
}

/// The words that name a command.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| word.bytes().all(|c| c.is_ascii_lowercase() || c == b'-');
    let words = line.split_whitespace();
    words.take_while(move |word| !word.starts_with('-') && is_name(word))
}

fn check_options(line: &str) -> Result<()> {
    let help: Vec<_> = words(line).chain(["--help"]).collect();
    let help = command::run(&folder(), &executable().to_string_lossy(), &help)?;
    let ends = |c: char| !c.is_ascii_lowercase() && c != '-';
    let options = line.split(ends).filter(|word| word.starts_with("--"));
    for option in options {
        let exists = help.split(ends).any(|word| word == option);
        ensure!(exists, "{option} is no option");
    }
    Ok(())
}

#[test]
fn commands_in_no_block_are_found_with_what_is_wrong_about_them() -> Result<()> {
    let text =
        "Text\n    lamassu cas list --all  # or --limit N\n```sh\n    lamassu x\n```\nlamassu y\n";
    assert_eq!(
        shown(text).collect::<Vec<_>>(),
        ["cas list --all  # or --limit N"]
    );
    check_options("cas list --all  # or --limit N")?;
    let said = check_options("cas list --lmit N").unwrap_err();
    assert_eq!(said.to_string(), "--lmit is no option");
    Ok(())
}

#[test]
fn forms_are_equal_where_only_ids_and_times_differ() -> Result<()> {
    let one =
        "ID    LEFT  \n4324e57bb158225ee17155b4e9f0dec4351fcb7a   89d  2027-02-27T21:05:25Z\n";
    assert_eq!(form(one)?, "ID  LEFT\nHEX  89d  TIME");
    assert_ne!(form(one)?, form(&one.replace("89d", "88d"))?);
    Ok(())
}

#[test]
fn the_systemd_units_are_some_and_start_the_program_with_options_that_exist() -> Result<()> {
    for document in ["docs/operations.md", "docs/guide/fleet.md"] {
        check_unit(document).context(document)?;
    }
    Ok(())
}

/// The unit in a document.
fn check_unit(document: &str) -> Result<()> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document);
    let guide = std::fs::read_to_string(guide)?;
    let unit = guide.split("```ini\n").nth(1);
    let unit = unit.and_then(|rest| rest.split("```").next());
    let unit = unit.context("the guide has a unit")?;
    let command = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/lamassu "))
        .context("it starts the program")?;
    let directory = TempDir::new()?;
    let program = executable().to_string_lossy();
    let words: Vec<_> = command.split_whitespace().collect();
    let commands = words.iter().take_while(|word| !word.starts_with("--"));
    let help: Vec<_> = commands.copied().chain(["--help"]).collect();
    let help = command::run(directory.path(), &program, &help)?;
    for option in words.iter().filter(|word| word.starts_with("--")) {
        ensure!(help.contains(option), "{option} is no option");
    }
    let file = directory.path().join("lamassu.service");
    std::fs::write(&file, unit.replace("/usr/local/bin/lamassu", &program))?;
    let verified = std::process::Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output();
    // Machines without systemd have checked the options.
    if let Ok(verified) = verified {
        let said = String::from_utf8_lossy(&verified.stderr);
        let about_it: Vec<_> = said
            .lines()
            .filter(|line| line.contains("lamassu.service"))
            .collect();
        ensure!(about_it.is_empty(), "{about_it:?}");
    }
    Ok(())
}
