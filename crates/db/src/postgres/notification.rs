//! What processes on one database tell each other after a commit (LISTEN and NOTIFY).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::write_set::Seq;

/// Names of signals in one notification; PostgreSQL carries at most 8,000 bytes.
const MAX_SIGNALS: usize = 64;

/// A commit of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notification {
    /// Whose commit it was; that process knows already.
    pub(super) process: Arc<str>,
    /// Its newest event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) seq: Option<Seq>,
    /// The signals that its write sets raise.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) wakes: Vec<String>,
}

impl Notification {
    pub(super) fn new(process: Arc<str>) -> Self {
        Self {
            process,
            seq: None,
            wakes: Vec::new(),
        }
    }

    /// Adds a signal, once.
    pub(super) fn wake(&mut self, signal: &str) {
        if self.wakes.len() < MAX_SIGNALS && !self.wakes.iter().any(|known| known == signal) {
            self.wakes.push(signal.to_owned());
        }
    }

    /// Whether anybody needs to know.
    pub(super) fn is_empty(&self) -> bool {
        self.seq.is_none() && self.wakes.is_empty()
    }
}
