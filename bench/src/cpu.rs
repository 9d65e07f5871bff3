//! Who used the cores during a measurement, how often the program changed threads, what it wrote.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// Clock ticks per second of the kernel's accounting, on every Linux.
const TICKS: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug)]
pub(crate) struct Counters {
    at: Instant,
    server: u64,
    own: u64,
    /// Everything that ran on the machine.
    all: u64,
    /// Context switches of the program's threads.
    switches: u64,
    /// Bytes that the program made the disk write.
    written: u64,
}

/// Cores in use between two moments, context switches, bytes written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) server: f64,
    pub(crate) own: f64,
    /// Neither the program nor this one: the database server, or neighbours.
    pub(crate) other: f64,
    pub(crate) switches: u64,
    pub(crate) written: u64,
}

impl Counters {
    /// Now, of the process `server`.
    pub(crate) fn read(server: u32) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: process_ticks(&server.to_string())?,
            own: process_ticks("self")?,
            all: machine_ticks()?,
            switches: switches(server)?,
            written: written(server)?,
        })
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Usage {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let cores = |now: u64, then: u64| {
            f64::from(u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX)) / TICKS / seconds
        };
        let (server, own) = (
            cores(self.server, earlier.server),
            cores(self.own, earlier.own),
        );
        Usage {
            server,
            own,
            other: (cores(self.all, earlier.all) - server - own).max(0.0),
            switches: self.switches.saturating_sub(earlier.switches),
            written: self.written.saturating_sub(earlier.written),
        }
    }
}

/// User and system time of a process.
fn process_ticks(process: &str) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("no process name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |at: usize| -> Result<u64> { Ok(fields.get(at).context("a short stat")?.parse()?) };
    Ok(field(11)? + field(12)?)
}

/// All but idle and waiting time of all cores.
fn machine_ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("an empty stat")?;
    // user nice system idle iowait irq softirq; guests are in user already.
    let fields = line.split_whitespace().skip(1).take(7).enumerate();
    fields
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .map(|(_, ticks)| Ok(ticks.parse::<u64>()?))
        .sum()
}

fn switches(server: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{server}/task"))? {
        // A thread may end meanwhile.
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        let counts = status
            .lines()
            .filter(|line| line.contains("voluntary_ctxt_switches"))
            .filter_map(|line| line.split_whitespace().next_back()?.parse::<u64>().ok());
        sum += counts.sum::<u64>();
    }
    Ok(sum)
}

fn written(server: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{server}/io"))?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"));
    Ok(line.context("no write_bytes")?.trim().parse()?)
}
