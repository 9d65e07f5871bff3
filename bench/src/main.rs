//! The benchmark table: a load generator of ours against the real program, on the same machine.
//!
//! Each row is run at 1, 8, 32 and 128 clients and printed with requests per second, p50, p99 and
//! errors, below what this machine can do at all (signatures, verifications), because machines are
//! noisy: figures mean something beside each other, in one run. [`rows`] has the rows, [`load`]
//! drives clients, [`client`] is one connection, [`server`] starts the program.

#![expect(
    clippy::print_stdout,
    reason = "a command-line tool that prints a table"
)]

mod client;
mod limits;
mod load;
mod rows;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::load::Outcome;
use crate::rows::Row;
use crate::server::Server;

/// Prints the benchmark table.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long)]
    program: PathBuf,
    /// Only this row.
    #[arg(long)]
    row: Option<String>,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// How many clients run at the same time, measurement by measurement.
const CLIENTS: [usize; 4] = [1, 8, 32, 128];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rows: Vec<Row> = Row::ALL
        .into_iter()
        .filter(|row| arguments.row.as_ref().is_none_or(|name| name == row.name()))
        .collect();
    ensure!(
        !rows.is_empty(),
        "no such row; there are: {}",
        Row::ALL.map(Row::name).join(", ")
    );
    let duration = Duration::from_secs(arguments.seconds);

    println!("this machine, one core: {}", limits::measure()?);
    let server = Server::start(&arguments.program).await?;
    println!(
        "start to ready on an empty directory: {:.2} s",
        server.started_in.as_secs_f64()
    );
    println!("memory before load: {} MB", server.resident_mb()?);
    println!(
        "{:<16} {:>7} {:>10} {:>9} {:>9} {:>7}",
        "row", "clients", "per second", "p50 ms", "p99 ms", "errors"
    );
    let plant = rows::Plant::set_up(&server).await?;
    for row in rows {
        for clients in CLIENTS {
            let outcome = load::run(clients, duration, || row.worker(&plant)).await?;
            print_line(row, clients, &outcome);
        }
    }
    println!("memory after load: {} MB", server.resident_mb()?);
    Ok(())
}

fn print_line(row: Row, clients: usize, outcome: &Outcome) {
    println!(
        "{:<16} {:>7} {:>10.0} {:>9.2} {:>9.2} {:>7}",
        row.name(),
        clients,
        outcome.per_second(),
        outcome.percentile_ms(50),
        outcome.percentile_ms(99),
        outcome.errors
    );
}
