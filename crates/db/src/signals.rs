//! Wake-ups inside one process: after a commit, without polling.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use crate::error::CommitError;
use crate::event::Event;
use crate::write_set::{Committed, Seq, WriteSet};

/// Hears of what this process commits, after it is committed and before whoever asked for it is told: so
/// what a watcher forgets then is never remembered after an answer. It must not wait.
pub trait CommitWatcher: Send + Sync + fmt::Debug {
    /// These events are in the log now.
    fn committed(&self, events: &[Event]);

    /// Something may have been committed, and nobody knows what.
    fn doubted(&self);
}

/// What places in the log mean: they are of one run of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The run of the server as it names it itself; `None` where nobody asked, or where there is one only.
    pub(crate) run: Option<i64>,
    /// How often the end of the log may have fallen back since this process began.
    breaks: u64,
}

/// Who waits for what. A signal that nobody waits for costs nothing and is remembered once.
#[derive(Debug)]
pub(crate) struct Signals {
    /// The newest event that this process knows to be committed.
    log: watch::Sender<Seq>,
    /// Which server's log it is.
    history: Mutex<History>,
    /// A counter per named signal.
    named: Mutex<HashMap<String, watch::Sender<u64>>>,
    /// Who hears of commits; few, and for as long as the database is open.
    watchers: RwLock<Vec<Arc<dyn CommitWatcher>>>,
    /// How far each subscription that runs in this process has come.
    positions: Mutex<HashMap<String, watch::Sender<Seq>>>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            log: watch::Sender::new(Seq(0)),
            history: Mutex::default(),
            named: Mutex::new(HashMap::new()),
            watchers: RwLock::default(),
            positions: Mutex::new(HashMap::new()),
        }
    }

    /// Lets a watcher hear of all commits from now on.
    pub(crate) fn watch(&self, watcher: Arc<dyn CommitWatcher>) {
        let mut watchers = self
            .watchers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        watchers.push(watcher);
    }

    /// Tells the watchers what became of write sets, before their callers are told.
    pub(crate) fn ended<'a>(
        &self,
        ended: impl IntoIterator<Item = (&'a WriteSet, &'a Result<Committed, CommitError>)>,
    ) {
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner);
        if watchers.is_empty() {
            return;
        }
        for (set, outcome) in ended {
            match outcome {
                Ok(_) if set.events.is_empty() => {}
                Ok(_) => watchers.iter().for_each(|one| one.committed(&set.events)),
                Err(CommitError::OutcomeUnknown(_)) => {
                    watchers.iter().for_each(|one| one.doubted());
                }
                Err(_) => {}
            }
        }
    }

    /// Tells that the log has grown to `seq`, or has fallen back to it: another server took over
    /// that lacks the last events.
    pub(crate) fn log_ends_at(&self, seq: Seq) {
        self.log.send_if_modified(|newest| {
            let moved = seq != *newest;
            *newest = seq;
            moved
        });
    }

    /// The newest event that this process knows to be committed; `None` before the first.
    pub(crate) fn newest(&self) -> Option<Seq> {
        let newest = *self.log.borrow();
        (newest > Seq(0)).then_some(newest)
    }

    /// The log is of this run of a server.
    pub(crate) fn log_is_of(&self, run: i64) {
        self.with_history(|history| history.run = Some(run));
    }

    /// Another server took over, or the same one after a crash: it may lack what was seen last.
    pub(crate) fn history_broke(&self) {
        // What was told of the old one must not be read up to on the new one.
        self.log.send_replace(Seq(0));
        self.with_history(|history| history.breaks = history.breaks.wrapping_add(1));
    }

    /// Changes whenever places in the log that were seen may mean something else now.
    pub(crate) fn history(&self) -> History {
        self.with_history(|history| *history)
    }

    fn with_history<T>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut history)
    }

    /// Wakes when the log grows.
    pub(crate) fn log(&self) -> watch::Receiver<Seq> {
        self.log.subscribe()
    }

    /// Wakes whoever waits for `name`.
    pub(crate) fn wake(&self, name: &str) {
        self.with_named(name, |sender| {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        });
    }

    /// Wakes everybody: what they wait for may have happened unheard.
    pub(crate) fn wake_all(&self) {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in named.values() {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Wakes when somebody calls [`Signals::wake`] with this name.
    pub(crate) fn named(&self, name: &str) -> watch::Receiver<u64> {
        self.with_named(name, watch::Sender::subscribe)
    }

    fn with_named<T>(&self, name: &str, act: impl FnOnce(&watch::Sender<u64>) -> T) -> T {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = named.get(name) {
            return act(sender);
        }
        act(named.entry(name.to_owned()).or_default())
    }

    /// Tells how far a subscription has come.
    pub(crate) fn advanced(&self, subscription: &str, seq: Seq) {
        self.with_position(subscription, |sender| sender.send_replace(seq));
    }

    /// Wakes when a subscription advances.
    pub(crate) fn position(&self, subscription: &str) -> watch::Receiver<Seq> {
        self.with_position(subscription, watch::Sender::subscribe)
    }

    fn with_position<T>(&self, name: &str, act: impl FnOnce(&watch::Sender<Seq>) -> T) -> T {
        let mut positions = self
            .positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        act(positions
            .entry(name.to_owned())
            .or_insert_with(|| watch::Sender::new(Seq(0))))
    }
}
