//! What commands print: tables and records for people, JSON for programs, ids for scripts.
//!
//! The JSON is that of the API, one object per thing, so that a script may go from one to the
//! other. A list is one array with an object per line, written as its pages arrive.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use super::Session;
use crate::table::{Columns, cell, line};

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Print only the id of each result, or its serial number.
    #[arg(long, short, global = true, conflicts_with = "json")]
    quiet: bool,
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Id,
}

impl OutputArgs {
    pub(super) const fn form(self) -> Form {
        match self {
            Self { json: true, .. } => Form::Json,
            Self { quiet: true, .. } => Form::Id,
            Self { .. } => Form::Text,
        }
    }
}

/// How a kind of thing is shown in lists.
pub(super) struct Shape<T: 'static> {
    pub(super) headings: &'static [&'static str],
    /// The cells of a row, at this time.
    pub(super) row: fn(&T, OffsetDateTime) -> Vec<String>,
    pub(super) id: fn(&T) -> String,
}

/// One thing as a whole: label and value, in order.
pub(super) type Record = Vec<(&'static str, String)>;

/// Writes text to standard output.
pub(super) fn write(text: &str) -> Result<()> {
    write_octets(text.as_bytes())
}

/// Writes octets to standard output.
pub(super) fn write_octets(octets: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(octets)
        .and_then(|()| out.flush())
        .context("standard output cannot be written")
}

/// Says something that is no result: to standard error, so that it gets into no file.
pub(super) fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

impl OutputArgs {
    /// Prints one thing.
    pub(super) fn print<T: Serialize>(
        self,
        one: &T,
        id: &str,
        record: impl FnOnce() -> Record,
    ) -> Result<()> {
        match self.form() {
            Form::Json => write(&format!("{}\n", serde_json::to_string_pretty(one)?)),
            Form::Id => write(&format!("{id}\n")),
            Form::Text => {
                let rows = record().into_iter();
                let rows = rows.map(|(label, value)| vec![label.to_owned(), line(&value)]);
                write(&Columns::default().rows(rows))
            }
        }
    }

    /// Says what was done where there is nothing to show.
    pub(super) fn done(self, id: &str, sentence: &str) -> Result<()> {
        match self.form() {
            Form::Json => write(&format!("{}\n", serde_json::json!({ "id": id }))),
            Form::Id => write(&format!("{id}\n")),
            Form::Text => write(&format!("{sentence}\n")),
        }
    }
}

impl Session {
    /// Prints one thing.
    pub(super) fn print<T: Serialize>(
        &self,
        one: &T,
        id: &str,
        record: impl FnOnce() -> Record,
    ) -> Result<()> {
        self.output.print(one, id, record)
    }

    /// Says what was done where there is nothing to show.
    pub(super) fn done(&self, id: &str, sentence: &str) -> Result<()> {
        self.output.done(id, sentence)
    }
}

/// Prints a list page by page.
pub(super) struct ListPrinter<'s, T: 'static> {
    form: Form,
    shape: &'s Shape<T>,
    columns: Columns,
    printed: usize,
}

impl<'s, T: Serialize> ListPrinter<'s, T> {
    pub(super) fn new(session: &Session, shape: &'s Shape<T>) -> Self {
        Self {
            form: session.output.form(),
            shape,
            columns: Columns::default(),
            printed: 0,
        }
    }

    /// Prints the next page.
    pub(super) fn page(&mut self, page: &[T]) -> Result<()> {
        let mut text = String::new();
        match self.form {
            Form::Json => {
                for (n, one) in page.iter().enumerate() {
                    let before = if self.printed + n == 0 { "[\n" } else { ",\n" };
                    text.push_str(before);
                    text.push_str(&serde_json::to_string(one)?);
                }
            }
            Form::Id => {
                for one in page {
                    text.push_str(&(self.shape.id)(one));
                    text.push('\n');
                }
            }
            Form::Text => {
                let now = Session::now();
                let headings = self
                    .shape
                    .headings
                    .iter()
                    .map(|heading| (*heading).to_owned());
                let headings = (self.printed == 0).then(|| headings.collect());
                let rows = page.iter().map(|one| {
                    let mut cells = (self.shape.row)(one, now);
                    // Nothing is displaced by the last.
                    let last = cells.pop();
                    let cut = cells.iter().map(|text| cell(text));
                    cut.chain(last.map(|text| line(&text))).collect()
                });
                text = self.columns.rows(headings.into_iter().chain(rows));
            }
        }
        self.printed += page.len();
        write(&text)
    }

    /// Ends the list. An empty one is a heading, so that nobody waits for more.
    pub(super) fn end(self) -> Result<()> {
        match self.form {
            Form::Json if self.printed == 0 => write("[]\n"),
            Form::Json => write("\n]\n"),
            Form::Id | Form::Text => Ok(()),
        }
    }
}
