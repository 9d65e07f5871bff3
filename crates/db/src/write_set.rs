//! A transaction as a value: what to change, what that change may assume, and what is told about it.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audit::AuditRecord;
use crate::event::Event;
use crate::statement::Statement;

/// The name of an expectation, so that a caller learns which one failed.
///
/// Declared once as a constant beside the statement it belongs to and compared with
/// [`CommitError::failed`](crate::CommitError::failed):
///
/// ```
/// const REVISION: lamassu_db::Check = lamassu_db::Check::new("CA revision");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Check(&'static str);

impl Check {
    /// A check with a name that is unique in its crate; it appears in logs.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How many rows a statement must find or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Any number, none included.
    Any,
    /// Exactly so many.
    Exactly(u64),
    /// So many or more.
    AtLeast(u64),
}

impl Expectation {
    pub(crate) const fn is_met_by(self, found: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => found == wanted,
            Self::AtLeast(wanted) => found >= wanted,
        }
    }
}

/// The position of a statement in its write set; gives its row count after the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StepKind {
    /// Changes rows; the count is of changed rows.
    Write,
    /// Reads rows that must still be there at the commit; the count is of rows found.
    Guard,
}

#[derive(Clone, Debug)]
pub(crate) struct PlannedStep {
    pub(crate) statement: Statement,
    pub(crate) kind: StepKind,
    pub(crate) expectation: Expectation,
    pub(crate) check: Option<Check>,
}

/// Changes that are applied together or not at all, with their events and audit records.
///
/// Statements run in the order in which they were added. Rows that a set inserts under a key
/// chosen by a client use `ON CONFLICT DO NOTHING` and expect one row, so that a collision is an
/// unmet [`Check`] and costs the other sets of the same database transaction nothing.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    pub(crate) steps: Vec<PlannedStep>,
    pub(crate) events: Vec<Event>,
    pub(crate) audit: Vec<AuditRecord>,
    pub(crate) wakes: Vec<Cow<'static, str>>,
}

impl WriteSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether committing it would change and tell nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
            && self.events.is_empty()
            && self.audit.is_empty()
            && self.wakes.is_empty()
    }

    /// Adds a change that may touch any number of rows.
    pub fn execute(&mut self, statement: Statement) -> Step {
        self.push(statement, StepKind::Write, Expectation::Any, None)
    }

    /// Adds a change that must touch as many rows as expected, else nothing of the set happens.
    pub fn expect(&mut self, statement: Statement, expectation: Expectation, check: Check) -> Step {
        self.push(statement, StepKind::Write, expectation, Some(check))
    }

    /// Adds a change that must touch exactly one row: an insert, or an update at a revision.
    pub fn expect_one(&mut self, statement: Statement, check: Check) -> Step {
        self.expect(statement, Expectation::Exactly(1), check)
    }

    /// Adds a `SELECT … WHERE` that must still find exactly one row when the set commits, and
    /// keeps that row from changing until then.
    ///
    /// The statement ends in its `WHERE` clause and reads one table, because PostgreSQL is asked
    /// to lock what it finds (`FOR SHARE`).
    pub fn guard(&mut self, statement: Statement, check: Check) -> Step {
        self.push(
            statement,
            StepKind::Guard,
            Expectation::Exactly(1),
            Some(check),
        )
    }

    fn push(
        &mut self,
        statement: Statement,
        kind: StepKind,
        expectation: Expectation,
        check: Option<Check>,
    ) -> Step {
        let step = Step(self.steps.len());
        self.steps.push(PlannedStep {
            statement,
            kind,
            expectation,
            check,
        });
        step
    }

    /// Appends an event to the log when the set commits.
    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Stores an audit record when the set commits.
    pub fn audit(&mut self, record: AuditRecord) {
        self.audit.push(record);
    }

    /// Wakes whoever waits for this signal (a job's name) after the commit.
    pub fn wake(&mut self, signal: impl Into<Cow<'static, str>>) {
        self.wakes.push(signal.into());
    }

    /// Adds everything of `other` behind what is there. [`Step`]s of `other` lose their meaning.
    pub fn append(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.events.extend(other.events);
        self.audit.extend(other.audit);
        self.wakes.extend(other.wakes);
    }

    /// How many rows it writes at least; the writer caps the sum per database transaction.
    pub(crate) fn weight(&self) -> usize {
        self.steps.len() + self.events.len() + self.audit.len()
    }
}

/// A place in the event log: 1 for the first event, gaps are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub i64);

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub(crate) counts: Vec<u64>,
    pub(crate) last_event: Option<Seq>,
}

impl Committed {
    /// How many rows a step changed or found.
    pub fn count(&self, step: Step) -> u64 {
        self.counts.get(step.0).copied().unwrap_or_default()
    }

    /// The place of the set's last event in the log, if it had events.
    pub const fn last_event(&self) -> Option<Seq> {
        self.last_event
    }
}
