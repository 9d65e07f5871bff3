//! Registering the devices of a file.
//!
//! A thread reads, a few requests are on their way at a time, and outcomes come in the order of the
//! lines: so an import that was stopped knows how many lines are done, whatever stopped it.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Error, Result, bail};
use futures_util::stream::{self, Stream, StreamExt as _};
use lamassu_core::device::{CreateDevice, DeviceError, DeviceService as _};
use lamassu_core::ids::DmsId;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver};

use super::rows::{Row, read};
use super::{ImportDevices, require_dms};
use crate::commands::Session;
use crate::commands::failure::WELL_FORMED;
use crate::commands::files::{self, Start};
use crate::commands::output::note;
use crate::commands::progress;

/// Lines that are read ahead.
const READ_AHEAD: usize = 64;

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Devices in the file that were looked at.
    read: u64,
    /// Those that are new; in a dry run, those that would be.
    registered: u64,
    /// Those that were there already.
    existing: u64,
    /// Those that were refused.
    failed: u64,
}

/// What became of a line.
enum Done {
    Registered,
    Existing,
    Failed(String),
    /// Nothing: the server is away, or does not let anybody do this.
    Stopped(Error),
}

/// The DMSs that a file names, and whether they are there; each is looked up before its first device.
#[derive(Default)]
struct Owners(Mutex<HashMap<DmsId, Result<(), String>>>);

impl Owners {
    async fn require(&self, session: &Session, dms: &DmsId) -> Result<(), String> {
        let mut known = self.0.lock().await;
        if let Some(known) = known.get(dms) {
            return known.clone();
        }
        let found = require_dms(session, dms.as_str()).await;
        let found = found.map_err(|error| error.to_string());
        known.insert(dms.clone(), found.clone());
        found
    }
}

pub(super) async fn import(session: &Session, asked: &ImportDevices) -> Result<()> {
    if let Some(dms) = &asked.dms {
        require_dms(session, dms).await?;
    }
    let mut report = Report::of(asked)?;
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reading = asked.clone();
    let reader = thread::spawn(move || read(&reading, &sender));
    let length = std::fs::metadata(&asked.file).map_or(0, |file| file.len());
    let progress = progress::reading(length);
    let mut outcome = Outcome::default();
    let mut stopped = None;
    let owners = Owners::default();
    {
        let mut lines = Box::pin(registering(session, asked, &owners, receiver));
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let next = tokio::select! {
                next = lines.next() => next,
                _ = &mut interrupt => {
                    stopped = Some(Error::msg("interrupted"));
                    break;
                }
            };
            let Some((row, done)) = next else { break };
            progress.at(row.end);
            outcome.count(&done);
            match done {
                Done::Stopped(error) => {
                    stopped = Some(error);
                    break;
                }
                Done::Failed(reason) => report.line(&row, &reason)?,
                Done::Registered | Done::Existing => {}
            }
        }
    }
    progress.finish();
    report.end()?;
    if let Some(error) = stopped {
        let n = asked.skip + outcome.read;
        if outcome.read > 0 {
            report.clear(&outcome)?;
        }
        outcome.tell(session)?;
        note(&format!("stopped behind {n} devices: --skip {n} goes on"));
        return Err(error);
    }
    // Nobody waits for a terminal that is still open.
    let Ok(read) = reader.join() else {
        bail!("the file was not read to its end");
    };
    if read.is_err() && outcome.read == 0 {
        return read;
    }
    // What is done is told, also where the rest of the file cannot be read.
    outcome.tell(session)?;
    report.clear(&outcome)?;
    read?;
    match outcome.failed {
        0 => Ok(()),
        n => bail!(
            "{n} of {} devices could not be {}",
            outcome.read,
            asked.verb()
        ),
    }
}

impl ImportDevices {
    fn verb(&self) -> &'static str {
        if self.dry_run { "read" } else { "registered" }
    }
}

/// The lines of the file with what became of them, in their order.
fn registering<'a>(
    session: &'a Session,
    asked: &'a ImportDevices,
    owners: &'a Owners,
    receiver: Receiver<Row>,
) -> impl Stream<Item = (Row, Done)> + 'a {
    let rows = stream::unfold(receiver, |mut receiver| async {
        let row = receiver.recv().await?;
        Some((row, receiver))
    });
    let skip = usize::try_from(asked.skip).unwrap_or(usize::MAX);
    rows.skip(skip)
        .map(move |mut row| async move {
            let device = std::mem::replace(&mut row.device, Ok(CreateDevice::default()));
            let done = match device {
                Ok(device) => register(session, asked, owners, device).await,
                Err(error) => Done::Failed(format!("{error:#}")),
            };
            (row, done)
        })
        .buffered(usize::from(asked.parallel))
}

async fn register(
    session: &Session,
    asked: &ImportDevices,
    owners: &Owners,
    mut device: CreateDevice,
) -> Done {
    if device.dms_id.is_empty()
        && let Some(dms) = &asked.dms
    {
        device.dms_id = DmsId::from(dms.as_str());
    }
    for tag in &asked.tag {
        if !device.tags.contains(tag) {
            device.tags.push(tag.clone());
        }
    }
    if device.id.is_empty() {
        return Done::Failed("it has no id".to_owned());
    }
    if device.dms_id.is_empty() {
        return Done::Failed("it belongs to no DMS: the file or --dms names one".to_owned());
    }
    if device.check().is_err() {
        return Done::Failed(WELL_FORMED.to_owned());
    }
    if let Err(error) = owners.require(session, &device.dms_id).await {
        return Done::Failed(error);
    }
    let registered = if asked.dry_run {
        match session.devices.device(&session.caller, &device.id).await {
            Ok(_) => Err(DeviceError::Exists),
            Err(DeviceError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    } else {
        let created = session.devices.create_device(&session.caller, device).await;
        created.map(drop)
    };
    match registered {
        Ok(()) => Done::Registered,
        Err(DeviceError::Exists) => Done::Existing,
        Err(error @ DeviceError::Storage(_)) => Done::Stopped(error.into()),
        Err(error) => Done::Failed(error.to_string()),
    }
}

impl Outcome {
    fn count(&mut self, done: &Done) {
        match done {
            Done::Registered => self.registered += 1,
            Done::Existing => self.existing += 1,
            Done::Failed(_) => self.failed += 1,
            Done::Stopped(_) => return,
        }
        self.read += 1;
    }

    fn tell(&self, session: &Session) -> Result<()> {
        session.print(self, &self.registered.to_string(), || {
            vec![
                ("read", self.read.to_string()),
                ("registered", self.registered.to_string()),
                ("there already", self.existing.to_string()),
                ("failed", self.failed.to_string()),
            ]
        })
    }
}

/// Lines that failed: each in a file, or on standard error, where what many of them lack is told once.
enum Report {
    File {
        path: PathBuf,
        start: Start,
        /// Not before there is something to write: what the file had may be needed until then.
        file: Option<BufWriter<Box<dyn Write + Send>>>,
    },
    Terminal(HashMap<String, Alike>),
}

/// Reasons that are counted on standard error: further ones are told line by line.
const COUNTED: usize = 100;

/// Lines that failed for the reason of one that was told.
#[derive(Default)]
struct Alike {
    count: u64,
    last_line: u64,
}

/// A line that failed.
#[derive(Serialize)]
struct Failed<'r> {
    line: u64,
    error: &'r str,
    text: &'r str,
}

impl Report {
    fn of(asked: &ImportDevices) -> Result<Self> {
        let Some(path) = &asked.report else {
            return Ok(Self::Terminal(HashMap::new()));
        };
        files::not_the_input(&asked.file, path)?;
        files::check_write(path)?;
        // What an interrupted import found is kept.
        let start = match asked.skip > 0 && path.exists() {
            true => Start::Behind,
            false => Start::Anew,
        };
        Ok(Self::File {
            path: path.clone(),
            start,
            file: None,
        })
    }

    /// Takes away what an earlier import wrote, where nothing failed this time.
    fn clear(&self, outcome: &Outcome) -> Result<()> {
        match self {
            _ if outcome.failed > 0 => Ok(()),
            Self::File {
                path,
                start: Start::Anew,
                ..
            } if path.exists() => files::write(path, b""),
            Self::File { .. } | Self::Terminal(_) => Ok(()),
        }
    }

    fn line(&mut self, row: &Row, reason: &str) -> Result<()> {
        match self {
            Self::File { path, start, file } => {
                let file = match file {
                    Some(file) => file,
                    None => file.insert(BufWriter::new(files::writer(path, *start)?)),
                };
                let failed = Failed {
                    line: row.line,
                    error: reason,
                    text: &row.text,
                };
                writeln!(file, "{}", serde_json::to_string(&failed)?)
                    .context("the report cannot be written")
            }
            Self::Terminal(told) => {
                if let Some(alike) = told.get_mut(reason) {
                    alike.count += 1;
                    alike.last_line = row.line;
                    return Ok(());
                }
                note(&format!("line {}: {reason}", row.line));
                if told.len() < COUNTED {
                    told.insert(reason.to_owned(), Alike::default());
                }
                Ok(())
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        match self {
            Self::File { file, .. } => match file {
                Some(file) => file.flush().context("the report cannot be written"),
                None => Ok(()),
            },
            Self::Terminal(told) => {
                let mut told: Vec<_> = told.iter().filter(|(_, alike)| alike.count > 0).collect();
                told.sort_by_key(|(_, alike)| alike.last_line);
                for (reason, Alike { count, last_line }) in told {
                    note(&format!(
                        "and {count} more lines up to line {last_line}: {reason}; --report FILE lists them"
                    ));
                }
                Ok(())
            }
        }
    }
}
