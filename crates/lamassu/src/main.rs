//! The program: command line, configuration, assembly.
//!
//! Only this crate knows which engine, database and bus stand behind which port. [`cli`] is the
//! command line, [`config`] the configuration file, [`assembly`] builds the platform out of both,
//! [`serve`] runs it. Everything that can go wrong at a start ends as one sentence on standard
//! error and an exit code that is not 0.

mod address;
mod age;
mod archive;
mod assembly;
mod backup;
mod cli;
mod commands;
mod config;
mod engines;
mod event_routes;
mod events;
mod health_routes;
mod healthcheck;
mod issuer_token;
mod logging;
mod migrate;
mod module_environment;
mod nearest;
mod openapi;
mod own_tokens;
mod passphrase;
mod peers;
#[cfg(test)]
mod query_docs;
mod restore;
mod serve;
mod server;
mod services;
mod starting;
mod storage;
mod table;
mod temporaries;
mod tls_anchor;
mod version;
mod whereabouts;

use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli::{Cli, Command, ConfigCommand};
use crate::commands::verdict::ExitWith;
use crate::config::Config;

fn main() -> ExitCode {
    let normalised = cli::normalise(std::env::args());
    let cli = match Cli::read(&normalised.arguments) {
        Ok(cli) => cli,
        Err(refusal) => {
            let refusal = cli::retold(refusal, &normalised.arguments);
            let code = if refusal.use_stderr() { 2 } else { 0 };
            drop(refusal.print());
            return ExitCode::from(code);
        }
    };
    match run(cli.command, &normalised.ignored) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the beginning wants no more of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(ExitWith(code)) => ExitCode::from(*code),
            None => {
                report(&error);
                ExitCode::FAILURE
            }
        },
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Tells a failure as one sentence: what failed, and behind colons why.
fn report(error: &anyhow::Error) {
    let mut sentence = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // A cause that repeats what was said already adds nothing.
        if !sentence.contains(&text) {
            if !sentence.is_empty() {
                sentence.push_str(": ");
            }
            sentence.push_str(&text);
        }
    }
    drop(writeln!(
        std::io::stderr(),
        "error: {}",
        sentence.replace('\n', " ")
    ));
}

fn run(command: Command, ignored: &[String]) -> Result<()> {
    match command {
        Command::Serve(arguments) => {
            let config = Config::for_serve(&arguments)?;
            module_environment::enter(&config)?;
            logging::start(&config.logs);
            for flag in ignored {
                tracing::info!(flag, "flag of the reference's launcher ignored");
            }
            finish(Box::pin(serve::serve(config)))
        }
        Command::Token(arguments) => finish(Box::pin(issuer_token::print(&arguments))),
        Command::Login(arguments) => finish(Box::pin(commands::login::login(arguments))),
        Command::Logout(arguments) => commands::login::logout(&arguments),
        Command::Keys(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Cas(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Certificates(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Profiles(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Dms(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Devices(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Groups(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Approvals(noun) => finish(Box::pin(commands::run(&*noun))),
        Command::Est(est) => finish(Box::pin(commands::est::run(&est))),
        Command::Ocsp(asked) => finish(Box::pin(commands::ocsp::run(&asked))),
        Command::Crl(asked) => finish(Box::pin(commands::crl::run(&asked))),
        Command::Migrate(arguments) => {
            let config = Config::load(&arguments.installation)?;
            logging::start(&config.logs);
            finish(Box::pin(migrate::run(&config, &arguments)))
        }
        Command::Backup(arguments) => finish(Box::pin(backup::run(&arguments))),
        Command::Restore(arguments) => finish(Box::pin(restore::run(&arguments))),
        Command::Config(command) => configuration(&command),
        Command::Events(command) => finish(Box::pin(events::run(&command))),
        Command::Openapi => finish(Box::pin(openapi::print())),
        Command::Healthcheck(arguments) => finish(Box::pin(healthcheck::ask(&arguments))),
        Command::Completion(asked) => commands::completion::completion(&asked),
        Command::Man(asked) => commands::completion::man(&asked),
        Command::Version => print(&format!(
            "lamassu {} {} {}",
            version::VERSION,
            version::BUILD,
            version::BUILD_TIME
        )),
    }
}

fn configuration(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Check(arguments) => {
            let config = Config::for_check(arguments)?;
            config.warn_of_doubts();
            config.check_files()?;
            match config.n_unknown {
                0 => print("the configuration can be used"),
                1 => print(
                    "the configuration can be used, but one of its keys is unknown and ignored",
                ),
                n => print(&format!(
                    "the configuration can be used, but {n} of its keys are unknown and ignored"
                )),
            }
        }
        ConfigCommand::Print(installation) => print(&Config::load(installation)?.to_text()?),
        ConfigCommand::Schema => print(&Config::embedded().to_schema()?),
    }
}

/// Writes a line to standard output.
fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("standard output cannot be written")
}

/// Does `work` on a runtime of its own. Boxed, so that the runtime's loop is compiled once only.
fn finish(work: Pin<Box<dyn Future<Output = Result<()>> + '_>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime does not start")?
        .block_on(work)
}
