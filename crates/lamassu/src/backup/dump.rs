//! The copy of a database on a PostgreSQL server: a dump by `pg_dump`, and the keys that it names.
//!
//! The keys are read out of the dump itself, by `pg_restore`: what the server says a moment before
//! or after is about other keys.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::EngineId;
use lamassu_db::{PostgresOptions, TlsMode};
use secrecy::ExposeSecret as _;

/// The dump's name in the backup.
pub(crate) const DUMP: &str = "lamassu.dump";

/// Dumps the schema of an installation into a file.
///
/// # Errors
/// What `pg_dump` says.
pub(super) fn take(options: &PostgresOptions, file: &Path) -> Result<()> {
    let mut command = Command::new("pg_dump");
    let schema = options.schema.replace('"', "\"\"");
    command
        .args(["--format=custom", "--no-password"])
        // A pattern, unless quoted.
        .arg(format!("--schema=\"{schema}\""))
        .arg("--file")
        .arg(file);
    reach(&mut command, options);
    run(&mut command).map(drop)
}

/// Says where the server is and how to log in, in the environment: command lines are public.
fn reach(command: &mut Command, options: &PostgresOptions) {
    let hosts: Vec<&str> = options.hosts.iter().map(|(host, _)| &**host).collect();
    let ports: Vec<String> = options
        .hosts
        .iter()
        .map(|(_, port)| port.to_string())
        .collect();
    command
        .env("PGHOST", hosts.join(","))
        .env("PGPORT", ports.join(","))
        .env("PGTARGETSESSIONATTRS", "read-write")
        .env("PGUSER", &options.user)
        .env("PGDATABASE", &options.database)
        .env(
            "PGSSLMODE",
            match options.tls.mode {
                TlsMode::Disable => "disable",
                TlsMode::Require => "require",
                TlsMode::VerifyCa => "verify-ca",
                TlsMode::VerifyFull => "verify-full",
            },
        );
    if let Some(password) = &options.password {
        command.env("PGPASSWORD", password.expose_secret());
    }
    if let Some(file) = &options.tls.ca_cert_file {
        command.env("PGSSLROOTCERT", file);
    }
    if let Some((certificate, key)) = &options.tls.client {
        command.env("PGSSLCERT", certificate).env("PGSSLKEY", key);
    }
}

/// The keys of clients that a dump names: engine, and the engine's name of the key.
///
/// # Errors
/// What `pg_restore` says; the dump is not one of an installation.
pub(super) fn keys(file: &Path) -> Result<Vec<(EngineId, KeyHandle)>> {
    let output = run(Command::new("pg_restore")
        .args(["--data-only", "--table=kms_key", "--file=-"])
        .arg(file))?;
    let text = String::from_utf8(output.stdout).context("the dump is no UTF-8")?;
    ready_keys(&text).context("the keys in the dump cannot be read")
}

/// Reads the rows of `kms_key` as `COPY` writes them.
fn ready_keys(text: &str) -> Result<Vec<(EngineId, KeyHandle)>> {
    let mut lines = text.lines();
    let columns = lines
        .find_map(|line| {
            let (_, rest) = line.strip_prefix("COPY ")?.split_once('(')?;
            rest.split_once(')').map(|(columns, _)| columns)
        })
        .context("there is no table of keys")?;
    let columns: Vec<&str> = columns
        .split(", ")
        .map(|name| name.trim_matches('"'))
        .collect();
    let place = |name: &str| {
        let place = columns.iter().position(|column| *column == name);
        place.with_context(|| format!("there is no column {name}"))
    };
    let places = [place("engine_id")?, place("handle")?, place("state")?];
    let mut keys = Vec::new();
    for line in lines {
        if line == "\\." {
            return Ok(keys);
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let [engine, handle, state] = places.map(|place| fields.get(place).copied());
        if state.context("a row is cut")? != "ready" {
            continue;
        }
        let engine = engine.context("a row is cut")?.replace("\\\\", "\\");
        let handle = KeyHandle::try_new(handle.context("a row is cut")?)
            .map_err(|_| anyhow::anyhow!("a key has no name that an engine gives"))?;
        keys.push((EngineId::from(engine.as_str()), handle));
    }
    bail!("it has no end")
}

fn run(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!(
            "{name} is not installed; it comes with PostgreSQL's client programs, of the server's \
             version or a later one"
        ),
        _ => anyhow::Error::new(error).context(format!("{name} cannot be run")),
    })?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::ready_keys;

    #[track_caller]
    fn check(rows: &str, expected: Result<&[(&str, &str)], &str>) {
        let text = format!(
            "SET client_encoding = 'UTF8';\n\n\
             COPY lamassu.kms_key (handle, revision, state, \"engine_id\") FROM stdin;\n{rows}"
        );
        let read = ready_keys(&text).map_err(|error| error.to_string());
        let read: Result<Vec<_>, _> = match &read {
            Ok(keys) => Ok(keys
                .iter()
                .map(|(engine, handle)| (engine.as_str(), handle.as_str()))
                .collect()),
            Err(text) => Err(text.as_str()),
        };
        assert_eq!(read, expected.map(<[_]>::to_vec));
    }

    #[test]
    fn keys_that_clients_can_use_are_named() {
        check(
            "0a1b\t1\tready\tdisk\n0a1c\t1\tpending\tdisk\n0a1d\t7\tready\ta\\\\b\n\\.\n",
            Ok(&[("disk", "0a1b"), ("a\\b", "0a1d")]),
        );
        check("\\.\n", Ok(&[]));
    }

    #[test]
    fn a_cut_list_is_refused() {
        check("0a1b\t1\tready\tdisk\n", Err("it has no end"));
        check("0a1b\t1\n\\.\n", Err("a row is cut"));
    }
}
