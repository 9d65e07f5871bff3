//! Devices in a file: CSV or JSON, one per line, read as they come.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use lamassu_core::device::{CreateDevice, Device};
use lamassu_core::ids::{DeviceId, DmsId};
use serde_json::{Map, Value};
use tokio::sync::mpsc::Sender;

use super::{FleetFormat, ImportDevices};

/// What separates the tags in a cell.
const TAGS: char = ';';
/// What spreadsheets of some countries separate columns by.
const OTHER_SEPARATORS: [(char, &str); 2] = [(';', "semicolons"), ('\t', "tabs")];
/// What stands in front of a member of the metadata in a heading.
const METADATA: &str = "metadata.";
/// The other columns.
const COLUMNS: [&str; 8] = [
    "id",
    "dms_id",
    "dms_owner",
    "tags",
    "alias",
    "icon",
    "icon_color",
    "metadata",
];
/// Columns that an export has and an import passes over: the server sets them.
const TOLD: [&str; 4] = ["status", "creation_timestamp", "serial_number", "expires"];
/// Longest line of JSON.
const MAX_LINE: u64 = 1 << 20;

/// A line of the file.
#[derive(Debug)]
pub(super) struct Row {
    /// Its number, from 1.
    pub(super) line: u64,
    /// How far the file is read behind it, in bytes.
    pub(super) end: u64,
    /// What it says; an error is one of this line alone.
    pub(super) device: Result<CreateDevice>,
    /// The line for a report.
    pub(super) text: String,
}

/// In which form a file is.
///
/// # Errors
/// Neither the command line nor its name says so.
pub(super) fn format(asked: Option<FleetFormat>, path: &Path) -> Result<FleetFormat> {
    let by_name = || match path.extension()?.to_str()? {
        "csv" => Some(FleetFormat::Csv),
        "jsonl" | "ndjson" | "json" => Some(FleetFormat::Jsonl),
        _ => None,
    };
    asked.or_else(by_name).with_context(|| {
        format!(
            "what is in {}? say --format csv or --format jsonl",
            path.display()
        )
    })
}

/// Reads a file row by row into a channel, until nobody listens any more.
///
/// # Errors
/// The file as a whole cannot be used.
pub(super) fn read(asked: &ImportDevices, rows: &Sender<Row>) -> Result<()> {
    let name = asked.file.display();
    let input: Box<dyn Read> = match asked.file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => {
            let file = File::open(&asked.file);
            Box::new(file.with_context(|| format!("{name} cannot be read"))?)
        }
    };
    let input = BufReader::new(input);
    match format(asked.format, &asked.file)? {
        FleetFormat::Csv => read_csv(input, rows),
        FleetFormat::Jsonl => read_jsonl(input, rows),
    }
    .with_context(|| format!("{name} cannot be read"))
}

fn read_csv(input: impl Read, rows: &Sender<Row>) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(input);
    // Spreadsheets write a byte order mark.
    let headings: Vec<String> = reader
        .headers()?
        .iter()
        .map(|heading| heading.trim_start_matches('\u{feff}').to_owned())
        .collect();
    check_headings(&headings)?;
    let mut record = csv::StringRecord::new();
    loop {
        let start = reader.position().line();
        let outcome = reader.read_record(&mut record);
        let position = match &outcome {
            Ok(_) => record.position(),
            // The record is the one before then.
            Err(error) => error.position(),
        };
        let line = position.map_or(start, csv::Position::line);
        let end = reader.position().byte();
        let device = match outcome {
            Ok(false) => return Ok(()),
            Ok(true) => of_cells(&headings, &record),
            Err(error) if error.is_io_error() => return Err(error.into()),
            Err(error) => Err(malformed(&error)),
        };
        let row = Row {
            line,
            end,
            device,
            text: record.iter().collect::<Vec<_>>().join(","),
        };
        if rows.blocking_send(row).is_err() {
            return Ok(());
        }
    }
}

/// What is wrong with a line that is none of the table.
fn malformed(error: &csv::Error) -> Error {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => anyhow!("it has {len} cells, and the heading {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => anyhow!("it is no UTF-8"),
        _ => anyhow!("it is no line of a table"),
    }
}

/// A misspelt heading would lose what stands below it.
fn check_headings(headings: &[String]) -> Result<()> {
    if let [only] = headings
        && let Some((_, name)) = OTHER_SEPARATORS.iter().find(|(c, _)| only.contains(*c))
    {
        bail!(
            "its columns are separated by {name}: commas separate them, and {TAGS} the tags in a cell"
        );
    }
    for heading in headings {
        let is_known = COLUMNS.contains(&heading.as_str())
            || TOLD.contains(&heading.as_str())
            || heading
                .strip_prefix(METADATA)
                .is_some_and(|name| !name.is_empty());
        ensure!(
            is_known,
            "the column {heading:?} is not known; there are {} and metadata.NAME",
            COLUMNS.join(", ")
        );
    }
    let has_id = headings.iter().any(|heading| heading == "id");
    ensure!(
        has_id,
        "there is no column \"id\": the first line has the headings"
    );
    Ok(())
}

fn of_cells(headings: &[String], record: &csv::StringRecord) -> Result<CreateDevice> {
    let mut device = CreateDevice::default();
    for (heading, cell) in headings.iter().zip(record.iter()) {
        match heading.as_str() {
            _ if cell.is_empty() => {}
            "id" => device.id = DeviceId::from(cell),
            "dms_id" | "dms_owner" => device.dms_id = DmsId::from(cell),
            "tags" => {
                let tags = cell
                    .split(TAGS)
                    .map(str::trim)
                    .filter(|tag| !tag.is_empty());
                device.tags = tags.map(str::to_owned).collect();
            }
            "alias" => cell.clone_into(&mut device.alias),
            "icon" => cell.clone_into(&mut device.icon),
            "icon_color" => cell.clone_into(&mut device.icon_color),
            "metadata" => {
                let object: Map<String, Value> =
                    serde_json::from_str(cell).context("its metadata are no JSON object")?;
                device.metadata.extend(object);
            }
            other => {
                if let Some(name) = other.strip_prefix(METADATA) {
                    // A number stays one; 007 is none and stays a text.
                    let value = serde_json::from_str(cell).unwrap_or_else(|_| Value::from(cell));
                    device.metadata.insert(name.to_owned(), value);
                }
            }
        }
    }
    Ok(device)
}

fn read_jsonl(mut input: impl BufRead, rows: &Sender<Row>) -> Result<()> {
    let (mut line, mut end) = (0, 0_u64);
    loop {
        let mut octets = Vec::new();
        let n = input
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut octets)?;
        if n == 0 {
            return Ok(());
        }
        line += 1;
        end += u64::try_from(n)?;
        ensure!(
            octets.ends_with(b"\n") || u64::try_from(n)? < MAX_LINE,
            "line {line} is longer than {MAX_LINE} bytes"
        );
        let text = String::from_utf8_lossy(&octets).trim().to_owned();
        // The lines of a JSON array, as `--json` prints it, are objects, too.
        let object = text.trim_end_matches(',');
        if matches!(object, "" | "[" | "]") {
            continue;
        }
        let device = of_json(object);
        let row = Row {
            line,
            end,
            device,
            text,
        };
        if rows.blocking_send(row).is_err() {
            return Ok(());
        }
    }
}

fn of_json(text: &str) -> Result<CreateDevice> {
    let mut object: Map<String, Value> = serde_json::from_str(text)?;
    if let Some(owner) = object.remove("dms_owner") {
        object.entry("dms_id").or_insert(owner);
    }
    // What an export tells of the server's doing.
    for told in TOLD.into_iter().chain(["identity", "slots", "events"]) {
        object.remove(told);
    }
    let mut unknown = Vec::new();
    let read =
        serde_ignored::deserialize(Value::Object(object), |path| unknown.push(path.to_string()));
    if let [first, ..] = unknown.as_slice() {
        bail!("a device has no member {first:?}");
    }
    read.map_err(|error| anyhow!("it is no device: {error}"))
}

/// The heading of an export.
pub(super) const EXPORTED: [&str; 9] = [
    "id",
    "dms_id",
    "status",
    "tags",
    "creation_timestamp",
    "serial_number",
    "expires",
    "icon",
    "icon_color",
];

/// A device as cells under [`EXPORTED`], and its metadata as one more.
pub(super) fn cells(device: &Device) -> [String; 10] {
    let slot = device.identity.as_ref();
    let serial = slot.and_then(|slot| slot.active_serial());
    let expires = slot.and_then(|slot| slot.expiration_date);
    [
        device.id.to_string(),
        device.dms_owner.to_string(),
        device.status.to_string(),
        device.tags.join(&TAGS.to_string()),
        device.creation_timestamp.to_string(),
        serial.map(ToString::to_string).unwrap_or_default(),
        expires
            .map(|expires| expires.to_string())
            .unwrap_or_default(),
        device.icon.clone(),
        device.icon_color.clone(),
        Value::Object(device.metadata.clone()).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::{Row, read_csv, read_jsonl};

    fn rows(read: impl FnOnce(&mpsc::Sender<Row>)) -> Vec<Row> {
        let (sender, mut receiver) = mpsc::channel(100);
        read(&sender);
        drop(sender);
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    #[test]
    fn tables_are_devices_and_a_bad_line_is_one_of_its_own() {
        let text = "\u{feff}id, dms_id,tags,metadata.plant,metadata.n\n\
            a,line,x; y,A,7\n\"b\",line,,\"A, B\",007\nc,line\nd,,,,\n";
        let read = rows(|sender| read_csv(text.as_bytes(), sender).unwrap());
        let lines: Vec<_> = read.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
        let first = read[0].device.as_ref().unwrap();
        assert_eq!((first.id.as_str(), first.dms_id.as_str()), ("a", "line"));
        assert_eq!(first.tags, ["x", "y"]);
        assert_eq!(json!(first.metadata), json!({"plant": "A", "n": 7}));
        let second = read[1].device.as_ref().unwrap();
        assert_eq!(json!(second.metadata), json!({"plant": "A, B", "n": "007"}));
        read[2].device.as_ref().unwrap_err();
        assert_eq!(read[3].device.as_ref().unwrap().id.as_str(), "d");
        for (wrong, says) in [
            ("id,tgas\na,b\n", "\"tgas\" is not known"),
            ("name\na\n", "\"name\" is not known"),
            ("", "no column \"id\""),
            ("id;tags\na;b\n", "separated by semicolons: commas"),
            ("id\ttags\na\tb\n", "separated by tabs: commas"),
        ] {
            let (sender, _receiver) = mpsc::channel(1);
            let said = read_csv(wrong.as_bytes(), &sender).unwrap_err();
            assert!(said.to_string().contains(says), "{said}");
        }
    }

    #[test]
    fn lines_of_json_are_devices_also_those_of_a_list() {
        let text = "[\n{\"id\":\"a\",\"dms_owner\":\"line\",\"status\":\"ACTIVE\",\"events\":{}},\n\n\
            {\"id\":\"b\",\"tgas\":[]},\n{\"id\":3}\n]\n";
        let read = rows(|sender| read_jsonl(text.as_bytes(), sender).unwrap());
        let lines: Vec<_> = read.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 4, 5]);
        assert_eq!(read[0].device.as_ref().unwrap().dms_id.as_str(), "line");
        let said = read[1].device.as_ref().unwrap_err().to_string();
        assert!(said.contains("tgas"), "{said}");
        read[2].device.as_ref().unwrap_err();
    }
}
