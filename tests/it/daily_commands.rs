//! `lamassu keys`, `cas`, `certificates`, `profiles`: what they do, print and refuse.

mod cas;
mod certificates;
mod devices;
mod keys;
mod manners;
mod mistakes;
mod profiles;

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{Options, executable};
use crate::support::{Program, command};

/// A running server and its command line.
struct Shell {
    program: Program,
}

/// Two engines.
const CONFIG: &str = "gateway: {metrics: {listen: null}}
crypto_engines:
  default_id: disk
  engines:
    - {id: disk, type: filesystem, storage_directory: DIR/keys}
    - {id: memory, type: software}
";

impl Shell {
    fn start() -> Result<Self> {
        let directory = TempDir::new()?;
        let config = CONFIG.replace("DIR", &directory.path().to_string_lossy());
        let options = Options {
            config: Some(config),
            ..Options::default()
        };
        let program = Program::start_in(directory, options)?;
        Ok(Self { program })
    }

    /// One command line, its words separated by spaces but within single quotes.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(executable());
        command.args(words(line)).stdin(Stdio::null());
        self.at_home(&mut command);
        command
    }

    /// The command in the scratch folder, with this installation as its own.
    fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let scratch = self.program.scratch();
        for name in [
            "LAMASSU_TOKEN",
            "LAMASSU_TOKEN_FILE",
            "LAMASSU_URL",
            "LAMASSU_CA_FILE",
        ] {
            command.env_remove(name);
        }
        command
            .env("LAMASSU_CONFIG_FILE", scratch.join("config.yml"))
            .env("LAMASSU_DATA_DIR", self.program.data_dir())
            .current_dir(scratch)
    }

    fn run(&self, line: &str) -> Result<Output> {
        Ok(self.command(line).output()?)
    }

    /// What a command prints that succeeds.
    fn ok(&self, line: &str) -> Result<String> {
        let output = self.run(line)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    fn json(&self, line: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ok(&format!("{line} --json"))?)?)
    }

    /// What a command says that is refused, in one sentence and with this exit code.
    fn refused(&self, line: &str, code: i32) -> Result<String> {
        refused(&self.run(line)?, code).with_context(|| line.to_owned())
    }

    fn openssl(&self, line: &str) -> Result<String> {
        let words = words(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        command::run(&self.program.scratch(), "openssl", &words)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        Ok(std::fs::write(self.program.scratch().join(name), content)?)
    }

    /// A profile, a root and an issuing CA below it.
    fn plant(&self) -> Result<()> {
        self.ok(
            "profiles create --name Devices --validity 90d --honor-subject --honor-extensions \
                 --key-usage DigitalSignature --extended-key-usage ClientAuth",
        )?;
        self.ok("cas create --id root --subject 'CN=Root,O=Example' --profile Devices")?;
        self.ok(
            "cas create --id plant --issuer root --subject Plant --profile Devices --validity 5y",
        )?;
        Ok(())
    }

    /// A request for a certificate with this common name.
    fn csr(&self, name: &str) -> Result<()> {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -subj /CN={name} -addext subjectAltName=DNS:{name}.plant -out {name}.csr"
        ))?;
        Ok(())
    }
}

fn refused(output: &Output, code: i32) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "{:?}: {errors}",
        output.status
    );
    ensure!(!errors.contains("panicked"), "{errors}");
    ensure!(errors.matches("error:").count() == 1, "{errors}");
    Ok(errors)
}

fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let mut words: Vec<String> = Vec::new();
    for (n, part) in quoted {
        if n % 2 == 1 {
            match words.last_mut().filter(|word| word.ends_with('=')) {
                Some(word) => word.push_str(part),
                None => words.push(part.to_owned()),
            }
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The value of a label in what is printed for people.
fn told<'t>(text: &'t str, label: &str) -> Result<&'t str> {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    Ok(line
        .with_context(|| format!("no {label} in {text}"))?
        .trim())
}
