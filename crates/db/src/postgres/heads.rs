//! How far the event log can be read.
//!
//! Places in the log are handed out by a sequence when an event is inserted and become visible
//! when its transaction commits, in any order. A reader that went past a place which is still
//! to appear would miss it for ever. So: a writer takes its transaction id before its first place.
//! Then whoever holds a place up to `last`, the sequence's newest value at some moment, has a
//! transaction id below `bound`, an id that is taken a moment later for this alone. Once `xmin`, the
//! oldest id still running, has reached that `bound`, nothing up to `last` can appear any more.
//!
//! A snapshot's `xmax` is no such bound: it is one past the newest id that is *over*, and
//! transactions above it may be running, with places.

use std::collections::VecDeque;
use std::time::Instant;

use crate::write_set::Seq;

/// Observations that wait for older transactions; more are folded into the newest.
const MAX_WAITING: usize = 64;

/// The newest value of the sequence; a transaction id that was taken after it was read; and, read
/// after that, the oldest id that is running.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) last: i64,
    pub(super) bound: i64,
    pub(super) xmin: i64,
}

/// Which run of a server answers, in SQL.
macro_rules! server_run {
    () => {
        "CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS bigint)"
    };
}
pub(super) use server_run;

/// The same for who compares with it.
pub(crate) const SERVER_RUN: &str = server_run!();

/// Which server answers, from its start to its end: when it was started, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerRun(pub(super) i64);

/// What was observed so far, of one run of one server. After a fail-over or a crash the places and
/// ids that were seen last may be given out again. A server that restarts itself after the crash of
/// one of its processes counts as the same run; but it ends all connections.
#[derive(Debug, Default)]
pub(super) struct Heads {
    run: Option<ServerRun>,
    observed_at: Option<Instant>,
    head: Option<i64>,
    waiting: VecDeque<(i64, i64)>,
}

impl Heads {
    /// Whether this may be another run than what was observed is of; that is forgotten then. A
    /// connection older than the last observation proves that nothing happened in between.
    pub(super) fn is_another(&mut self, run: ServerRun, connected_at: Instant) -> bool {
        let begun = self.observed_at.is_some();
        let same = self.run == Some(run) && self.observed_at.is_some_and(|at| connected_at <= at);
        if !same {
            *self = Self {
                run: Some(run),
                ..Self::default()
            };
        }
        self.observed_at = Some(Instant::now());
        begun && !same
    }

    /// What is known without looking at transactions: whether the log ends where it is known to
    /// be final.
    pub(super) fn at_end(&self, last: i64) -> Option<Seq> {
        self.head.filter(|head| *head == last).map(Seq)
    }

    /// Takes an observation in; gives the last place that everything up to is final, if any is
    /// known to be.
    pub(super) fn observe(&mut self, now: Observation) -> Option<Seq> {
        if self.head.is_some_and(|head| now.last < head) {
            // The database was restored.
            *self = Self {
                run: self.run,
                observed_at: self.observed_at,
                ..Self::default()
            };
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_back();
        }
        self.waiting.push_back((now.last, now.bound));
        while let Some(&(last, bound)) = self.waiting.front() {
            if bound > now.xmin {
                break;
            }
            self.head = Some(self.head.map_or(last, |head| head.max(last)));
            self.waiting.pop_front();
        }
        self.head.map(Seq)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Heads, Observation, Seq, ServerRun};

    fn observe(heads: &mut Heads, last: i64, xmin: i64, bound: i64) -> Option<i64> {
        heads
            .observe(Observation { last, bound, xmin })
            .map(|Seq(seq)| seq)
    }

    #[test]
    fn without_open_transactions_all_is_final() {
        let mut heads = Heads::default();
        assert_eq!(observe(&mut heads, 0, 10, 10), Some(0));
        assert_eq!(observe(&mut heads, 7, 12, 12), Some(7));
    }

    #[test]
    fn a_place_counts_once_all_transactions_of_its_time_are_over() {
        let mut heads = Heads::default();
        // 10 is open and may hold any place up to 5.
        assert_eq!(observe(&mut heads, 5, 10, 12), None);
        assert_eq!(observe(&mut heads, 9, 10, 14), None);
        // 10 ended, 13 is open: what was seen when 12 was next is final.
        assert_eq!(observe(&mut heads, 9, 13, 15), Some(5));
        assert_eq!(observe(&mut heads, 9, 15, 15), Some(9));
    }

    #[test]
    fn it_never_goes_back_unless_the_log_did() {
        let mut heads = Heads::default();
        assert_eq!(observe(&mut heads, 9, 15, 15), Some(9));
        assert_eq!(observe(&mut heads, 12, 10, 16), Some(9));
        assert_eq!(observe(&mut heads, 3, 16, 16), Some(3));
    }

    /// The places of a lost past are given out again, by transactions with lower ids: neither says
    /// anything about those of the new server.
    #[test]
    fn what_another_server_said_is_forgotten() {
        let mut heads = Heads::default();
        let connected = Instant::now();
        assert!(!heads.is_another(ServerRun(1), connected));
        assert_eq!(observe(&mut heads, 100, 50, 50), Some(100));
        assert_eq!(observe(&mut heads, 103, 50, 60), Some(100));
        assert!(!heads.is_another(ServerRun(1), connected));

        assert!(heads.is_another(ServerRun(2), connected));
        assert_eq!(heads.at_end(100), None);
        assert_eq!(observe(&mut heads, 105, 40, 45), None);
        assert_eq!(observe(&mut heads, 106, 46, 46), Some(106));
    }

    /// A server whose processes were restarted says the same start time on new connections.
    #[test]
    fn a_connection_newer_than_the_last_look_proves_nothing() {
        let mut heads = Heads::default();
        assert!(!heads.is_another(ServerRun(1), Instant::now()));
        assert_eq!(observe(&mut heads, 100, 50, 50), Some(100));

        let connected = Instant::now();
        assert!(heads.is_another(ServerRun(1), connected));
        assert_eq!(heads.at_end(100), None);
        assert!(!heads.is_another(ServerRun(1), connected));
    }

    #[test]
    fn a_transaction_that_stays_open_costs_no_memory() {
        let mut heads = Heads::default();
        for n in 0..10_000 {
            assert_eq!(observe(&mut heads, n, 10, 12 + n), None);
        }
        assert!(heads.waiting.len() <= super::MAX_WAITING);
        assert_eq!(observe(&mut heads, 10_000, 20_000, 20_000), Some(10_000));
    }
}
