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
use crate::commands::metadata::value_of;

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
        .from_reader(Quotes::new(input));
    // Spreadsheets write a byte order mark.
    let headings: Vec<String> = reader
        .headers()?
        .iter()
        .map(|heading| heading.trim_start_matches('\u{feff}').to_owned())
        .collect();
    reader.get_ref().check_end()?;
    check_headings(&headings)?;
    let mut record = csv::StringRecord::new();
    loop {
        let start = reader.position().line();
        let outcome = reader.read_record(&mut record);
        reader.get_ref().check_end()?;
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

/// Where in a table a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    CellStart,
    Bare,
    Quoted,
    /// Behind a quote within quotes: their end, or the first half of a quote that is meant.
    Quote,
}

/// A table on its way to the parser, which takes the end of the file for the end of quotes: what stands behind a quote
/// that somebody forgot would be one cell.
struct Quotes<R> {
    input: R,
    place: Place,
    line: u64,
    /// The line in which the last quotes opened.
    opened: u64,
    is_at_end: bool,
}

impl<R> Quotes<R> {
    const fn new(input: R) -> Self {
        Self {
            input,
            place: Place::CellStart,
            line: 1,
            opened: 1,
            is_at_end: false,
        }
    }

    /// Fails where the file is over within quotes.
    fn check_end(&self) -> Result<()> {
        ensure!(
            !self.is_at_end || self.place != Place::Quoted,
            "line {}: the quote that opens there is not closed",
            self.opened
        );
        Ok(())
    }

    fn pass(&mut self, octet: u8) {
        self.place = match (self.place, octet) {
            (Place::CellStart, b'"') => {
                self.opened = self.line;
                Place::Quoted
            }
            (Place::Quoted, b'"') => Place::Quote,
            (Place::Quoted, _) | (Place::Quote, b'"') => Place::Quoted,
            (_, b',' | b'\r' | b'\n') => Place::CellStart,
            (_, _) => Place::Bare,
        };
        self.line += u64::from(octet == b'\n');
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(octets)?;
        for octet in octets.iter().take(n) {
            self.pass(*octet);
        }
        self.is_at_end = n == 0 && !octets.is_empty();
        Ok(n)
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
            name @ ("id" | "dms_id" | "dms_owner" | "tags") if cell.contains(['\r', '\n']) => {
                bail!("its {name} has a line break: is a quote too many, or not closed?")
            }
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
                    device.metadata.insert(name.to_owned(), value_of(cell));
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

/// A cell as a spreadsheet shows it and does not compute it: an apostrophe goes before what it would take for a formula.
/// Devices name themselves.
pub(super) fn as_text(cell: String) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{cell}"),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::device::Device;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::{Row, as_text, cells, read_csv, read_jsonl};

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
    fn a_quote_that_is_not_closed_is_an_error_and_swallows_no_row() {
        let head = "id,tags,metadata.place\n";
        for (text, line, n_rows) in [
            ("k-1,a,\nk-2,\"a,\nk-3,b,\nk-4,b,\n", 3, 1),
            ("k-1,\"a \"\"b\"\"\",\"x\ny\"\nk-2,a,\"", 4, 1),
            ("k-1,a,\"\"\"", 2, 0),
            ("k-1,a,\"x\"\"", 2, 0),
        ] {
            let mut said = None;
            let text = format!("{head}{text}");
            let read = rows(|sender| said = read_csv(text.as_bytes(), sender).err());
            let expected = format!("line {line}: the quote that opens there is not closed");
            assert_eq!(
                said.map(|error| error.to_string()),
                Some(expected),
                "{text}"
            );
            assert_eq!(read.len(), n_rows, "{text}");
        }
        let said = rows(|sender| {
            let said = read_csv("\"id\n".as_bytes(), sender).unwrap_err();
            assert!(said.to_string().contains("line 1: the quote"), "{said}");
        });
        assert!(said.is_empty());
        // Quotes that are closed, also in the middle of a cell, where they are no quotes.
        let text = format!(
            "{head}a,\"x\",\"1\n2\"\r\nb,5\" tube,\"\"\nc,\"x\ny\",\n\"d\ne\",,\nf,,\"\"\"\""
        );
        let read = rows(|sender| read_csv(text.as_bytes(), sender).unwrap());
        let of = |row: usize| read[row].device.as_ref();
        assert_eq!(json!(of(0).unwrap().metadata), json!({"place": "1\n2"}));
        assert_eq!(of(1).unwrap().tags, ["5\" tube"]);
        let said = of(2).unwrap_err().to_string();
        assert!(said.contains("its tags has a line break"), "{said}");
        let said = of(3).unwrap_err().to_string();
        assert!(said.contains("its id has a line break"), "{said}");
        assert_eq!(json!(of(4).unwrap().metadata), json!({"place": "\""}));
    }

    #[test]
    fn what_an_export_has_an_import_gives_back() {
        let metadata = json!({"fw": "1.10", "iccid": "89490200001234567890", "art": "3E10", "n": 7, "x": 1.5,
            "place": "1\n2, \"a\"", "deep": {"n": [1.25, null]}});
        let device: Device = serde_json::from_value(json!({"id": "a", "dms_owner": "line", "metadata": metadata,
            "tags": ["x"], "creation_timestamp": "2026-01-01T00:00:00Z", "status": "NO_IDENTITY", "icon": "i",
            "icon_color": "c", "slots": {}, "events": {}}))
        .unwrap();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer
            .write_record(super::EXPORTED.into_iter().chain(["metadata"]))
            .unwrap();
        writer.write_record(cells(&device)).unwrap();
        let table = writer.into_inner().unwrap();
        let read = rows(|sender| read_csv(table.as_slice(), sender).unwrap());
        assert_eq!(json!(read[0].device.as_ref().unwrap().metadata), metadata);
    }

    #[test]
    fn formulas_are_texts_for_spreadsheets() {
        for formula in ["=HYPERLINK(\"http://a\",\"b\")", "+1", "-1", "@a", "\ta"] {
            assert_eq!(as_text(formula.to_owned()), format!("'{formula}"));
        }
        for text in ["", "a=b", "2026-01-01", "'a"] {
            assert_eq!(as_text(text.to_owned()), text);
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
