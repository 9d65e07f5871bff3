//! That something long goes on, on a terminal only.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the sign of life moves.
const TICK: Duration = Duration::from_millis(120);

/// Something of unknown length.
#[derive(Debug)]
pub(super) struct Waiting(ProgressBar);

/// Shows that something is waited for.
pub(super) fn waiting(what: &'static str) -> Waiting {
    if !std::io::stderr().is_terminal() {
        return Waiting(ProgressBar::hidden());
    }
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(TICK);
    Waiting(bar)
}

impl Waiting {
    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}

/// Something that is counted.
#[derive(Debug)]
pub(super) struct Counting(ProgressBar);

/// Shows how far something is.
pub(super) fn counting() -> Counting {
    if !std::io::stderr().is_terminal() {
        return Counting(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(0);
    let template = "{bar:40} {pos} of {len}, {elapsed} so far, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Counting(bar)
}

impl Counting {
    pub(super) fn at(&self, done: i64, total: i64) {
        self.0
            .set_length(total.max(done).try_into().unwrap_or_default());
        self.0.set_position(done.try_into().unwrap_or_default());
    }

    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}

/// A file that is read.
#[derive(Debug)]
pub(super) struct Reading(ProgressBar);

/// Shows how far a file of so many bytes is read; 0 where nobody knows.
pub(super) fn reading(length: u64) -> Reading {
    if !std::io::stderr().is_terminal() || length == 0 {
        return Reading(ProgressBar::hidden());
    }
    let bar = ProgressBar::new(length);
    let template = "{bar:40} {percent} %, {elapsed} so far, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Reading(bar)
}

impl Reading {
    pub(super) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}
