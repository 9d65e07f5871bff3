//! Accepting connections and speaking HTTP on them, within limits.
//!
//! A connection costs its place in a semaphore from accepting to closing; when all places are
//! taken the loop stops accepting and the system's queue holds the rest. Nothing waits for a
//! client without a deadline: handshake, head of a request, next request, taking an answer
//! (`activity.rs`). Stopping lets requests in flight finish, then cuts.
//!
//! Where next: [`bind`] for sockets, `accept.rs` for the loop, `serve.rs` for one connection.

mod accept;
mod activity;
mod bind;
mod body;
mod serve;
mod streams;
mod unread;
mod watched;

pub use bind::bind;

pub(crate) use accept::{Listener, StopSignals};
