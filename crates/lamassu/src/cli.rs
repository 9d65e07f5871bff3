//! The command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use lamassu_gateway::Environment;

use crate::commands::Noun;
use crate::commands::approvals::ApprovalsCommand;
use crate::commands::cas::CasCommand;
use crate::commands::certificates::CertificatesCommand;
use crate::commands::completion::{Completion, Man};
use crate::commands::crl::Crl;
use crate::commands::devices::DevicesCommand;
use crate::commands::dms::DmsCommand;
use crate::commands::est::Est;
use crate::commands::groups::GroupsCommand;
use crate::commands::keys::KeysCommand;
use crate::commands::login::{Login, Logout};
use crate::commands::ocsp::Ocsp;
use crate::commands::profiles::ProfilesCommand;
use crate::config::Origin;
use crate::version;

/// A PKI platform for IoT fleets.
#[derive(Debug, Parser)]
#[command(
    name = "lamassu",
    version = version::VERSION,
    about = "A PKI platform for IoT fleets",
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform.
    Serve(Serve),
    /// Print a bearer token of the local issuer.
    Token(Token),
    /// Sign in at the identity provider of a server; the commands for daily work present the login
    /// from then on.
    Login(Login),
    /// Forget a login.
    Logout(Logout),
    /// Keys and the engines that hold them.
    Keys(Box<Noun<KeysCommand>>),
    /// Certificate authorities.
    Cas(Box<Noun<CasCommand>>),
    /// Certificates.
    #[command(visible_alias = "certs")]
    Certificates(Box<Noun<CertificatesCommand>>),
    /// Issuance profiles: the rules by which certificates are issued.
    Profiles(Box<Noun<ProfilesCommand>>),
    /// Device manufacturing systems: the enrollment policies of fleets.
    Dms(Box<Noun<DmsCommand>>),
    /// Devices, their identities and their status.
    Devices(Box<Noun<DevicesCommand>>),
    /// Groups of devices.
    Groups(Box<Noun<GroupsCommand>>),
    /// Enrollments that somebody has to approve.
    Approvals(Box<Noun<ApprovalsCommand>>),
    /// Enroll a device by EST, and keep its certificate valid.
    Est(Box<Est>),
    /// Ask by OCSP whether a certificate is revoked.
    Ocsp(Box<Ocsp>),
    /// Fetch revocation lists, show and verify them, and look certificates up in them.
    Crl(Box<Crl>),
    /// Bring the database up to date and exit.
    Migrate(Migrate),
    /// Write database, keys and certificates to one file, beside a running server or without one.
    Backup(Backup),
    /// Make a data directory out of a backup.
    Restore(Restore),
    /// Look at the configuration without starting anything.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the readers of the event log and at events that they set aside.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Print the description of the HTTP API (OpenAPI 3.1, JSON).
    Openapi,
    /// Ask the running server of an installation whether it is ready; exit code 0 when it is.
    Healthcheck(Healthcheck),
    /// Print a script that completes the command line in a shell.
    Completion(Completion),
    /// Write manual pages.
    Man(Man),
    /// Print the version.
    Version,
}

/// Which installation a command opens.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Installation {
    /// Configuration file (YAML, TOML or JSON, by its extension).
    #[arg(long, value_name = "FILE", env = "LAMASSU_CONFIG_FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory with database, keys and certificates; ~/.local/share/lamassu when not said.
    #[arg(long, value_name = "DIR", env = "LAMASSU_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Refuse unknown configuration keys instead of warning.
    #[arg(long)]
    pub(crate) strict_config: bool,
}

/// Run the platform.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Port of plain HTTP: OCSP, CRLs, health; 8080 when not said, 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
    /// Port of HTTPS; 8443 when not said, 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<u16>,
    /// Host name of the installation; repeatable. Goes into the server certificate and, as the
    /// place of OCSP and CRLs, into every certificate issued.
    #[arg(long = "domain", value_name = "NAME")]
    pub(crate) domains: Vec<String>,
    /// Services to run, separated by commas; all of them when left out.
    #[arg(long, value_name = "a,b,…", value_delimiter = ',')]
    pub(crate) services: Vec<String>,
    /// Start as the reference's program of this name does: its configuration file when no other is
    /// named, its defaults for what the file leaves out.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) reference_config: Option<PathBuf>,
    /// Kind of installation.
    #[arg(long, value_enum)]
    pub(crate) environment: Option<EnvironmentName>,
}

impl Serve {
    /// Whose defaults hold.
    pub(crate) fn origin(&self) -> Origin {
        match self.reference_config {
            Some(_) => Origin::Reference,
            None => Origin::Ours,
        }
    }
}

/// The kinds of installation, as written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvironmentName {
    Development,
    Staging,
    Production,
}

impl From<EnvironmentName> for Environment {
    fn from(name: EnvironmentName) -> Self {
        match name {
            EnvironmentName::Development => Self::Development,
            EnvironmentName::Staging => Self::Staging,
            EnvironmentName::Production => Self::Production,
        }
    }
}

/// Print a bearer token of the local issuer.
#[derive(Clone, Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Who the token is for.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(crate) subject: String,
    /// Built-in role: admin, auditor, operator, ca-manager, ra-manager, device-manager,
    /// kms-manager, alerts-user; service is for processes of the installation.
    #[arg(long, value_name = "ROLE", default_value = "admin")]
    pub(crate) role: String,
    /// How long it is valid, for example 1h or 7d.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(crate) ttl: String,
}

/// Write database, keys and certificates to one file.
#[derive(Clone, Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// The file. It has this name once it is whole.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Replace an older file of that name once the new one is whole.
    #[arg(long)]
    pub(crate) force: bool,
    /// Encrypt it under the passphrase in this file. `age -d` opens it, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_with_passphrase_file: Option<PathBuf>,
}

/// Make a data directory out of a backup.
#[derive(Clone, Debug, Args)]
pub(crate) struct Restore {
    /// The file that `lamassu backup` wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The data directory to make; it must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The passphrase of an encrypted backup.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Bring the database up to date.
#[derive(Clone, Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// The database was restored from a dump: numbers of CRLs go on above all that were published.
    #[arg(long)]
    pub(crate) restored: bool,
}

/// Look at the configuration.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration can be used; exit code 0 when it can.
    Check(ConfigCheck),
    /// Print the configuration with every default filled in; secrets are masked.
    Print(Installation),
    /// Print every key with its default.
    Schema,
}

/// Say whether a configuration can be used.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigCheck {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Services of the process that the configuration is for; all of them when left out.
    #[arg(long, value_name = "a,b,…", value_delimiter = ',')]
    pub(crate) services: Vec<String>,
}

/// Look at the event log.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List who reads the log: how far, how far behind, in which process.
    Subscriptions(EventsOutput),
    /// List the events that could not be handled.
    DeadLetters(DeadLetters),
    /// Show one event that could not be handled, as a whole.
    Show(DeadLetter),
    /// Have events that could not be handled tried again.
    Replay(Replay),
    /// Remove an event that could not be handled, for good.
    Discard(DeadLetter),
    /// Forget a reader that no program runs any more, so that the log is not kept for it.
    Forget(Forget),
}

/// How a list is printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventsOutput {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the events that could not be handled.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    pub(crate) output: EventsOutput,
    /// Only those of one subscription.
    #[arg(long, value_name = "NAME")]
    pub(crate) subscription: Option<String>,
}

/// One event that could not be handled.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeadLetter {
    #[command(flatten)]
    pub(crate) output: EventsOutput,
    /// Its id in the list.
    pub(crate) id: i64,
}

/// Have events tried again.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Its id in the list.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) id: Option<i64>,
    /// All of them.
    #[arg(long)]
    pub(crate) all: bool,
    /// Of all, those of one subscription.
    #[arg(long, value_name = "NAME", requires = "all")]
    pub(crate) subscription: Option<String>,
}

/// Forget a reader of the log.
#[derive(Clone, Debug, Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Its name in the list.
    pub(crate) name: String,
}

/// Ask a running server whether it is ready.
#[derive(Clone, Debug, Args)]
pub(crate) struct Healthcheck {
    #[command(flatten)]
    pub(crate) installation: Installation,
    /// Services of the server, where it runs only some of them.
    #[arg(long, value_name = "a,b,…", value_delimiter = ',')]
    pub(crate) services: Vec<String>,
    /// Address of another server, http:// or https://.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// Flags of the reference's launcher that are the default behaviour here, or mean nothing here.
const ACCEPTED_AND_IGNORED: [&str; 8] = [
    "sqlite",
    "inmemory-eventbus",
    "standard-docker-ports",
    "disable-ui",
    "disable-eventbus",
    "disable-monitor",
    "sample-data",
    "cryptoengines",
];

/// The services by the names of the reference's programs, under which links may call this one.
const PROGRAMS: [(&str, &str); 8] = [
    ("kms", "kms"),
    ("ca", "ca"),
    ("va", "va"),
    ("device-manager", "devmanager"),
    ("devmanager", "devmanager"),
    ("dms-manager", "dmsmanager"),
    ("dmsmanager", "dmsmanager"),
    ("monolithic", ""),
];

impl Cli {
    /// What the command line says. A variable that is empty says nothing: it is how scripts take one back.
    ///
    /// # Errors
    /// It is no command line of ours, or asks for help.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, clap::Error> {
        let is_empty = |name: &OsStr| {
            let mut variables = std::env::vars_os();
            variables.any(|(known, value)| known == name && value.is_empty())
        };
        let mut matches = without(Self::command(), is_empty).try_get_matches_from(arguments)?;
        let read = Self::from_arg_matches_mut(&mut matches);
        read.map_err(|error| error.format(&mut Self::command()))
    }
}

/// A refusal without what the environment says: usage lines would ask for it as for an argument that is
/// missing.
pub(crate) fn retold(refusal: clap::Error, arguments: &[String]) -> clap::Error {
    if refusal.kind() != ErrorKind::MissingRequiredArgument {
        return refusal;
    }
    match without_environment(Cli::command()).try_get_matches_from(arguments) {
        Err(retold) if retold.kind() == refusal.kind() => retold,
        Ok(_) | Err(_) => refusal,
    }
}

fn without_environment(command: clap::Command) -> clap::Command {
    without(command, |_| true)
}

/// The command line without these variables.
fn without(command: clap::Command, is_left_out: fn(&OsStr) -> bool) -> clap::Command {
    let command = command.mut_args(
        |argument| match argument.get_env().is_some_and(is_left_out) {
            true => argument.env(Resettable::Reset),
            false => argument,
        },
    );
    command.mut_subcommands(|command| without(command, is_left_out))
}

/// Where the reference's programs find their configuration when the environment names none.
const REFERENCE_CONFIG: &str = "/etc/lamassuiot/config.yml";

/// The arguments as this command line reads them, from those of a start in the reference's ways:
/// Go-style flags with one dash, no subcommand when flags come first, and programs by their names.
pub(crate) fn normalise(arguments: impl Iterator<Item = String>) -> Normalised {
    let mut normalised = Normalised {
        arguments: Vec::new(),
        ignored: Vec::new(),
    };
    for (position, argument) in arguments.enumerate() {
        let name = argument
            .trim_start_matches('-')
            .split('=')
            .next()
            .unwrap_or_default();
        if position > 0 && argument.starts_with('-') && ACCEPTED_AND_IGNORED.contains(&name) {
            normalised.ignored.push(name.to_owned());
        } else {
            normalised.arguments.push(argument);
        }
    }
    let program = normalised.arguments.first().map(Path::new);
    let program = program.and_then(Path::file_name).and_then(OsStr::to_str);
    let called = PROGRAMS
        .into_iter()
        .find(|(name, _)| Some(*name) == program);
    if let (Some((_, service)), 1) = (called, normalised.arguments.len()) {
        normalised.arguments.push("serve".to_owned());
        if !service.is_empty() {
            let flags = [
                "--services",
                service,
                "--reference-config",
                REFERENCE_CONFIG,
            ];
            normalised.arguments.extend(flags.map(str::to_owned));
        }
    } else if !normalised.ignored.is_empty() && normalised.arguments.len() == 1 {
        normalised.arguments.push("serve".to_owned());
    }
    normalised
}

/// Arguments after [`normalise`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Normalised {
    /// For the parser.
    pub(crate) arguments: Vec<String>,
    /// Flags of the reference's launcher that were dropped.
    pub(crate) ignored: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::{Cli, Normalised, normalise};
    use clap::{Command, CommandFactory as _, Parser as _};
    use lamassu_core::permission::Role;

    fn arguments(line: &str) -> Normalised {
        normalise(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// All commands below one, with the words that name them.
    fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
        let path = format!("{path}{} ", command.get_name());
        let below = command.get_subcommands();
        let mut leaves: Vec<_> = below.flat_map(|one| leaves(one, &path)).collect();
        if leaves.is_empty() {
            leaves.push((path, command.clone()));
        }
        leaves
    }

    #[test]
    fn examples_are_command_lines() {
        for (path, command) in leaves(&Cli::command(), "") {
            let noun = path.split(' ').nth(1).unwrap();
            let help = command.get_after_help().map(ToString::to_string);
            let example = help.and_then(|help| help.strip_prefix("Example: ").map(str::to_owned));
            if ["keys", "cas", "certificates", "profiles", "ocsp"].contains(&noun) {
                assert!(example.is_some(), "{path}has no example");
            }
            let Some(example) = example else { continue };
            assert!(
                format!("{example} ").starts_with(&path),
                "{path}: {example}"
            );
            let quoted = example.split('\'').enumerate();
            let words = quoted.flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            let read = Cli::try_parse_from(words);
            assert!(read.is_ok(), "{example}: {:?}", read.err());
        }
    }

    #[test]
    fn every_role_is_named() {
        let readme = include_str!("../../../README.md");
        let mut command = Cli::command();
        let token = command.find_subcommand_mut("token").unwrap();
        let help = token.render_long_help().to_string();
        for role in Role::ALL.map(Role::name) {
            assert!(readme.contains(&format!("`{role}`")), "{role}");
            assert!(help.contains(role), "{role}: {help}");
        }
    }

    #[test]
    fn a_start_in_the_reference_s_way_is_a_serve() {
        let read = arguments("lamassu -sqlite -inmemory-eventbus=true");
        assert_eq!(read.arguments, ["lamassu", "serve"]);
        assert_eq!(read.ignored, ["sqlite", "inmemory-eventbus"]);
    }

    #[test]
    fn a_program_of_the_reference_is_its_service() {
        let read = arguments("/usr/bin/device-manager");
        let flags = [
            "--services",
            "devmanager",
            "--reference-config",
            "/etc/lamassuiot/config.yml",
        ];
        assert_eq!(read.arguments[1], "serve");
        assert_eq!(read.arguments[2..], flags);
        assert_eq!(arguments("/usr/bin/ca version").arguments.len(), 2);
    }

    #[test]
    fn our_own_flags_pass_unchanged() {
        let read = arguments("lamassu serve --http-port 0");
        assert_eq!(read.arguments, ["lamassu", "serve", "--http-port", "0"]);
        assert!(read.ignored.is_empty());
    }
}
