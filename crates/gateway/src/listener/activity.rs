//! What a connection is waiting for, and since when.
//!
//! hyper's own time-out for heads starts when the previous answer ends, so it cannot tell a
//! client that is merely idle from one that sends a header byte per minute. So the stream under
//! hyper (`watched.rs`) notes when bytes arrive between requests, when bytes leave and when the
//! client takes none, the service notes when requests begin and end, and [`Activity::verdict`]
//! makes one deadline of it.
//!
//! In HTTP/2 the stream tells too little: a client with a closed window (RFC 9113 5.2) lets no
//! answer out while pings flow both ways. There the answers' bodies (`body.rs`) note how long
//! hyper has held their latest piece.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use crate::config::Timeouts;

/// Who waits for what on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    timeouts: Timeouts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    protocol: Protocol,
    in_flight: usize,
    /// The number of the next request.
    next: u64,
    /// HTTP/2 answers of which hyper holds a piece, by number of the request, and since when.
    held: BTreeMap<u64, Instant>,
    /// When the last answer ended, or the connection began.
    waiting_since: Instant,
    /// When the first byte after that arrived.
    head_began: Option<Instant>,
    /// Since when the client takes no bytes.
    blocked_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// No request has been read yet.
    Unknown,
    Http1,
    Http2,
}

/// How an attempt to write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Bytes were taken.
    Taken,
    /// Nothing is left to be taken.
    Flushed,
    /// The client's window is full.
    Blocked,
}

/// What to do with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well; look again then.
    Wait(Instant),
    /// No request came for a while: say goodbye.
    CloseIdle,
    /// The client stalls in the middle of something: drop it.
    Cut,
}

impl Activity {
    pub(super) fn new(timeouts: Timeouts) -> Arc<Self> {
        let state = State {
            protocol: Protocol::Unknown,
            in_flight: 0,
            next: 0,
            held: BTreeMap::new(),
            waiting_since: Instant::now(),
            head_began: None,
            blocked_since: None,
        };
        Arc::new(Self {
            timeouts,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is complete; it stays in flight until the guard is dropped.
    pub(super) fn request_began(self: &Arc<Self>, version: Version) -> InFlight {
        let mut state = self.state();
        state.protocol = if version == Version::HTTP_2 {
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        state.in_flight = state.in_flight.saturating_add(1);
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        InFlight {
            activity: Arc::clone(self),
            number,
        }
    }

    fn request_ended(&self, number: u64) {
        let mut state = self.state();
        state.held.remove(&number);
        state.in_flight = state.in_flight.saturating_sub(1);
        if state.in_flight == 0 {
            state.waiting_since = Instant::now();
            state.head_began = None;
        }
    }

    /// Bytes were read.
    pub(super) fn bytes_arrived(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && state.head_began.is_none() {
            state.head_began = Some(Instant::now());
        }
    }

    /// A write was tried.
    pub(super) fn write_polled(&self, outcome: Write) {
        let mut state = self.state();
        match outcome {
            Write::Taken => {
                state.blocked_since = None;
                state.answer_moved();
            }
            Write::Flushed => state.blocked_since = None,
            Write::Blocked if state.blocked_since.is_none() => {
                state.blocked_since = Some(Instant::now());
            }
            Write::Blocked => {}
        }
    }

    /// How long to look away at most: what is being waited for may change right after a look, so
    /// no longer than the shortest of the waits takes.
    pub(super) fn look_interval(&self) -> Duration {
        let Timeouts {
            read_header,
            idle,
            write,
            ..
        } = self.timeouts;
        read_header.min(idle).min(write)
    }

    /// What to do at `now`.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let state = self.state();
        let limits = &self.timeouts;
        let mut stalls = state.blocked_since.iter().chain(state.held.values());
        if stalls.any(|since| now >= *since + limits.write) {
            return Verdict::Cut;
        }
        let soon = now + self.look_interval();
        if state.in_flight > 0 {
            // Handlers have time-outs of their own; look again for a blocked answer.
            return Verdict::Wait(soon);
        }
        let (deadline, late) = match (state.protocol, state.head_began) {
            (Protocol::Unknown, _) => (state.waiting_since + limits.read_header, Verdict::Cut),
            // In HTTP/2 bytes between requests are pings and window updates.
            (Protocol::Http2, _) | (Protocol::Http1, None) => {
                (state.waiting_since + limits.idle, Verdict::CloseIdle)
            }
            (Protocol::Http1, Some(began)) => (began + limits.read_header, Verdict::Cut),
        };
        if now >= deadline {
            return late;
        }
        Verdict::Wait(deadline.min(soon))
    }
}

impl State {
    /// In HTTP/1 an answer of which hyper has everything is no longer in flight, but what leaves
    /// between requests is its rest: neither idle time nor that of the next head has begun. In
    /// HTTP/2 it may as well be the answer to a ping, and the rest is short (`body.rs`).
    fn answer_moved(&mut self) {
        if self.protocol == Protocol::Http1 && self.in_flight == 0 {
            let now = Instant::now();
            self.waiting_since = now;
            self.head_began = self.head_began.map(|_| now);
        }
    }
}

/// A request in flight, from its head to the end of its answer's body.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    number: u64,
}

impl InFlight {
    /// hyper got a piece of the answer; it asks for more when the client lets this one out.
    pub(super) fn piece_held(&self) {
        let mut state = self.activity.state();
        // In HTTP/1 hyper holds a piece while it collects more; there blocked writes tell.
        if state.protocol == Protocol::Http2 {
            state.held.insert(self.number, Instant::now());
        }
    }

    /// hyper asks for more of the answer: whatever takes time now is ours.
    pub(super) fn more_wanted(&self) {
        self.activity.state().held.remove(&self.number);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.request_ended(self.number);
    }
}

#[cfg(test)]
mod tests;
