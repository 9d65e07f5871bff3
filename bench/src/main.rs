//! The benchmark table: a load generator of ours against the real program, on the same machine.
//!
//! Machines are noisy, so figures mean something beside each other, in one run: first comes what
//! this machine can do at all ([`limits`]), then, per database, each row at 1, 8, 32 and 128
//! clients with requests per second, p50, p99, refusals (503 with `Retry-After`, which are in none of
//! the former) and errors, and who used the cores meanwhile.
//! The exit code is 0 if all of it could be measured.
//! [`rows`] has the rows, [`bulk`] the revocation of many by one request, [`freshness`] the way from
//! a revocation to OCSP and CRL, [`crl`] CRLs of very many entries, deltas to them and shards of them, [`scale`] lists and issuing with as many rows as [`seed`] makes, [`load`] drives
//! clients, [`client`] is one connection, [`plant`] what they work on, [`server`] the program.

#![expect(
    clippy::print_stdout,
    reason = "a command-line tool that prints a table"
)]

mod bookmark;
mod bulk;
mod client;
mod cpu;
mod crl;
mod freshness;
mod limits;
mod load;
mod plant;
mod rows;
mod scale;
mod seed;
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;

use crate::cpu::{Counters, Usage};
use crate::load::Outcome;
use crate::plant::Plant;
use crate::rows::{Names, Row};
use crate::seed::Amount;
use crate::server::{Asked, Installation, Kind, Server};

/// Prints the benchmark table.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long)]
    program: PathBuf,
    /// Only these rows, by name.
    #[arg(long = "row", value_delimiter = ',')]
    rows: Vec<String>,
    /// Only these databases; a PostgreSQL server is started for the run.
    #[arg(
        long = "database",
        value_delimiter = ',',
        default_value = "sqlite,postgres"
    )]
    databases: Vec<Kind>,
    /// How many clients run at the same time, measurement by measurement.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    clients: Vec<u64>,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Below each measurement the statements that PostgreSQL executed, per answer.
    #[arg(long)]
    statements: bool,
    /// Where databases are; it should be on a disk.
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Certificates of the row `scale`.
    #[arg(long, default_value_t = 1_000_000)]
    certificates: u32,
    /// CAs that issued them.
    #[arg(long, default_value_t = 100)]
    cas: u32,
    /// Devices of the row `fleet`.
    #[arg(long, default_value_t = 1_000_000)]
    devices: u32,
    /// Entries of the lists of the row `crl`, fewer first.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000")]
    crl_entries: Vec<u32>,
    /// The row `crl` with keys and CAs in a process of their own (PostgreSQL).
    #[arg(long)]
    apart: bool,
    /// Certificates of the row `large`, each of a device of its own.
    #[arg(long, default_value_t = 10_000_000)]
    rows_of_large: u32,
    /// Keys of the row `scale` beside those of the CAs.
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
}

/// The rows that are no throughput: start and memory, what the machine can do, one request that
/// revokes many, overload, freshness, long CRLs, many rows, very many rows.
const STORIES: [&str; 9] = [
    "start",
    "limits",
    "revoke-bulk",
    "overload",
    "freshness",
    "crl",
    "scale",
    "fleet",
    LARGE,
];

/// The row that takes long and much room, and is measured only where it is named.
const LARGE: &str = "large";

/// Clients that the program takes on at once by default, and three times as many.
const OVERLOAD: [u64; 2] = [128, 384];

/// Revoked certificates that the time to OCSP and CRL is measured beside.
const REVOKED: [u32; 3] = [0, 10_000, 100_000];

/// How long a process is left alone before its memory is called idle.
const IDLE: Duration = Duration::from_secs(2);

impl Arguments {
    fn wants(&self, row: &str) -> bool {
        (self.rows.is_empty() && row != LARGE) || self.rows.iter().any(|name| name == row)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let known: Vec<&str> = STORIES.into_iter().chain(Row::ALL.map(Row::name)).collect();
    for row in &arguments.rows {
        ensure!(
            known.contains(&row.as_str()),
            "no row {row}; there are: {}",
            known.join(", ")
        );
    }
    println!(
        "binary: {:.1} MB",
        megabytes(std::fs::metadata(&arguments.program)?.len())
    );
    if arguments.wants("limits") {
        limits::print(&arguments.directory).await?;
    }
    let mut failed = Vec::new();
    for kind in &arguments.databases {
        if let Err(error) = table(&arguments, *kind).await {
            println!("{}: failed: {error:#}", kind.name());
            failed.push(kind.name());
        }
    }
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

/// Everything on one database.
async fn table(arguments: &Arguments, kind: Kind) -> Result<()> {
    let installation = Installation::new(&arguments.program, kind, &arguments.directory)?;
    let server = installation.start().await?;
    println!("\n{}", kind.name());
    if arguments.wants("start") {
        print_start(&server, "an empty").await?;
    }
    let plant = Plant::set_up(&installation, &server).await?;
    if arguments.wants("limits") {
        installation.print_commit_limit()?;
        limits::print_handshakes(&installation, &plant.device)?;
    }
    let names = Names::default();
    if Row::ALL.iter().any(|row| arguments.wants(row.name())) {
        throughput(arguments, &installation, &plant, &names, &server).await?;
        println!("memory after load: {} MB", server.resident_mb()?);
    }
    if arguments.wants("revoke-bulk") {
        bulk::measure(&plant, &names).await?;
    }
    if arguments.wants("overload") {
        overload(arguments, &plant, &names, &server).await?;
    }
    if arguments.wants("freshness") {
        fresh(&arguments.program, kind, &arguments.directory).await?;
    }
    if arguments.wants("crl") {
        crl::measure(arguments, kind).await?;
    }
    if arguments.wants("scale") {
        let amount = Amount {
            certificates: arguments.certificates,
            cas: arguments.cas,
            keys: arguments.keys,
        };
        let (program, directory) = (&arguments.program, &arguments.directory);
        scale::measure(program, kind, directory, amount, arguments.duration()).await?;
    }
    if arguments.wants("fleet") {
        let (program, directory) = (&arguments.program, &arguments.directory);
        scale::fleet::measure(program, kind, directory, arguments.devices).await?;
    }
    if arguments.wants(LARGE) {
        let amount = Amount {
            certificates: arguments.rows_of_large,
            cas: arguments.cas,
            keys: 0,
        };
        scale::large(&arguments.program, kind, &arguments.directory, amount).await?;
    }
    if arguments.wants("start") {
        server.stop()?;
        print_start(&installation.start().await?, "a used").await?;
    }
    Ok(())
}

async fn print_start(server: &Server, directory: &str) -> Result<()> {
    tokio::time::sleep_until((Instant::now() + IDLE).into()).await;
    println!(
        "start: first answer after {:.2} s on {directory} directory, {} MB idle",
        server.started_in.as_secs_f64(),
        server.resident_mb()?
    );
    Ok(())
}

async fn throughput(
    arguments: &Arguments,
    installation: &Installation,
    plant: &Plant,
    names: &Names,
    server: &Server,
) -> Result<()> {
    println!(
        "{:<16} {:>7} {:>10} {:>8} {:>8} {:>7} {:>7} {:>24} {:>24}",
        "row",
        "clients",
        "per second",
        "p50 ms",
        "p99 ms",
        "refused",
        "errors",
        "cores: it bench others",
        "each: us switches KiB",
    );
    for row in Row::ALL
        .into_iter()
        .filter(|row| arguments.wants(row.name()))
    {
        for clients in &arguments.clients {
            let crew = row
                .prepare(plant, names, *clients, arguments.duration())
                .await?;
            if arguments.statements {
                installation.statements()?;
            }
            let before = Counters::read(server.id())?;
            let outcome = load::run(usize::try_from(*clients)?, arguments.duration(), || {
                crew.worker()
            })
            .await?;
            let usage = Counters::read(server.id())?.since(&before);
            print_line(row.name(), *clients, &outcome, usage);
            if arguments.statements {
                print_statements(&installation.statements()?, &outcome);
            }
        }
    }
    Ok(())
}

fn print_line(row: &str, clients: u64, outcome: &Outcome, usage: Usage) {
    let each = per_answer(outcome);
    println!(
        "{row:<16} {clients:>7} {:>10.0} {:>8.2} {:>8.2} {:>7} {:>7} {:>10.2} {:>6.2} {:>6.2} \
         {:>9.0} {:>8.1} {:>5.1}",
        outcome.per_second(),
        outcome.percentile_ms(50),
        outcome.percentile_ms(99),
        outcome.refused(),
        outcome.errors,
        usage.server,
        usage.own,
        usage.other,
        usage.server / outcome.per_second().max(1.0) * 1e6,
        each(usage.switches),
        each(usage.written / 1024),
    );
}

fn print_statements(statements: &[Asked], outcome: &Outcome) {
    let answers = per_answer(outcome);
    for asked in statements {
        println!(
            "  {:>7.3} times, planned {:>6.1} us, executed {:>6.1} us: {}",
            answers(asked.calls),
            answers(asked.planned_micros),
            answers(asked.executed_micros),
            asked.text
        );
    }
}

/// A sum over a measurement, for one answer.
fn per_answer(outcome: &Outcome) -> impl Fn(u64) -> f64 {
    let answers = f64::from(u32::try_from(outcome.answers()).unwrap_or(u32::MAX).max(1));
    move |sum| f64::from(u32::try_from(sum).unwrap_or(u32::MAX)) / answers
}

/// Signing at capacity and beyond.
async fn overload(
    arguments: &Arguments,
    plant: &Plant,
    names: &Names,
    server: &Server,
) -> Result<()> {
    for clients in OVERLOAD {
        let crew = Row::Sign
            .prepare(plant, names, clients, arguments.duration())
            .await?;
        let outcome = load::run(usize::try_from(clients)?, arguments.duration(), || {
            crew.worker()
        })
        .await?;
        println!(
            "overload: sign with {clients} clients: {:.0}/s admitted, p50 {:.1} ms, p99 {:.1} ms; \
             {:.0}/s turned away (503, Retry-After), p99 {:.1} ms; {} errors; {} MB",
            outcome.per_second(),
            outcome.percentile_ms(50),
            outcome.percentile_ms(99),
            outcome.refusals_per_second(),
            outcome.refusal_percentile_ms(99),
            outcome.errors,
            server.resident_mb()?,
        );
    }
    Ok(())
}

/// The way from a revocation to OCSP and CRL, in an installation of its own: rows would leave
/// revoked certificates behind.
async fn fresh(program: &Path, kind: Kind, directory: &Path) -> Result<()> {
    let installation = Installation::new(program, kind, directory)?;
    let mut server = installation.start().await?;
    let mut plant = Plant::set_up(&installation, &server).await?;
    let names = Names::default();
    let mut there = 0;
    for wanted in REVOKED {
        if wanted > there {
            server.stop()?;
            installation.seed_revoked(&plant.device_serial, wanted - there)?;
            server = installation.start().await?;
            plant = plant.moved_to(&server);
            there = wanted;
        }
        freshness::wait_for_entries(&plant, there).await?;
        let count = u64::try_from(freshness::REVOCATIONS)?;
        let serials = rows::issue(&plant, &names, count).await?;
        freshness::measure(&plant, &serials, there).await?;
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}
