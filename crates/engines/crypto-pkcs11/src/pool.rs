//! The sessions of an engine, one thread each, and the calls that wait for one.
//!
//! A module blocks for as long as it likes, so nothing of it runs on the runtime's threads. Whoever
//! asks waits until the deadline and no longer; a call that is stuck in the module holds up its own
//! session only, and what nobody waits for any more is not begun.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::{ConnectError, Pkcs11Error};
use crate::session::{Access, Open, Repeat, TokenSession};

/// Most calls that wait.
const MAX_WAITING: usize = 1024;

/// One call for a session.
type Call = Box<dyn FnOnce(&mut TokenSession) + Send>;

/// When a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// As soon as a session is free.
    Next,
    /// After those that wait already.
    Last,
}

/// How long the threads may take to end. A process that exits under a module crashes in it.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// The threads with their sessions. They end, and close these, when the pool is dropped, which waits
/// for that.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    access: Arc<Access>,
}

impl Pool {
    pub(crate) fn new(access: Arc<Access>) -> Self {
        Self {
            queue: Arc::default(),
            access,
        }
    }

    /// Starts one more thread and waits until its session is open and `first` is done in it.
    pub(crate) fn grow<T: Send + 'static>(
        &self,
        deadline: Duration,
        mut first: impl FnMut(&mut Open) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let queue = Arc::clone(&self.queue);
        queue.join();
        let mut session = TokenSession::new(Arc::clone(&self.access));
        let thread = std::thread::Builder::new().name("pkcs11".to_owned());
        let started = thread.spawn(move || {
            let opened = session.run(Repeat::Yes, &mut first);
            let is_open = opened.is_ok();
            // Who does not wait any more has given up, with the engine.
            if tell.send(opened).is_ok() && is_open {
                queue.serve(&mut session);
            }
            drop(session);
            queue.leave();
        });
        started.map_err(|cause| {
            self.queue.leave();
            ConnectError::Thread(cause)
        })?;
        let opened = told.recv_timeout(deadline);
        Ok(opened.map_err(|_| Pkcs11Error::Timeout)??)
    }

    /// Does `work` in the session that is free first. The caller waits until `deadline` at most; a
    /// call that has begun by then is finished, and nobody learns how.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        repeat: Repeat,
        work: impl FnMut(&mut Open) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        self.call_at(Turn::Last, deadline, repeat, work).await
    }

    /// The same, before all calls that wait. One at a time: it asks whether the token works, and that
    /// many wait for it says nothing about that.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnMut(&mut Open) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        self.call_at(Turn::Next, deadline, Repeat::Yes, work).await
    }

    async fn call_at<T: Send + 'static>(
        &self,
        turn: Turn,
        deadline: Duration,
        repeat: Repeat,
        mut work: impl FnMut(&mut Open) -> Result<T, Pkcs11Error> + Send + 'static,
    ) -> Result<T, Pkcs11Error> {
        let (tell, told) = oneshot::channel();
        let call: Call = Box::new(move |session| {
            if tell.is_closed() {
                return;
            }
            let outcome = session.run(repeat, &mut work);
            // What the work holds is free once its outcome is known.
            drop(work);
            if tell.send(outcome).is_err() {
                tracing::debug!("the token answered too late");
            }
        });
        self.queue.push(turn, call)?;
        match tokio::time::timeout(deadline, told).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_dropped)) => Err(Pkcs11Error::Stopped),
            Err(_elapsed) => Err(Pkcs11Error::Timeout),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.is_closed = true;
        self.queue.arrived.notify_all();
        let ended = &self.queue.ended;
        let ended = ended.wait_timeout_while(waiting, LAST_CALLS, |left| left.n_threads > 0);
        let (left, waited) = ended.unwrap_or_else(PoisonError::into_inner);
        drop(left);
        if waited.timed_out() {
            tracing::warn!("a call into the token does not return");
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Told when a thread ends.
    ended: Condvar,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    n_threads: usize,
    n_idle: usize,
    is_closed: bool,
}

impl Queue {
    fn push(&self, turn: Turn, call: Call) -> Result<(), Pkcs11Error> {
        let mut waiting = self.lock();
        match turn {
            Turn::Next => waiting.calls.push_front(call),
            Turn::Last if waiting.calls.len() < MAX_WAITING => waiting.calls.push_back(call),
            Turn::Last => return Err(Pkcs11Error::Overloaded),
        }
        let is_awaited = waiting.n_idle > 0;
        // Who is woken would wait for the lock otherwise.
        drop(waiting);
        if is_awaited {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// One thread more.
    fn join(&self) {
        let mut waiting = self.lock();
        waiting.n_threads = waiting.n_threads.saturating_add(1);
    }

    /// One thread less.
    fn leave(&self) {
        let mut waiting = self.lock();
        waiting.n_threads = waiting.n_threads.saturating_sub(1);
        self.ended.notify_all();
    }

    /// Makes calls until the pool is gone.
    fn serve(&self, session: &mut TokenSession) {
        while let Some(call) = self.next() {
            call(session);
        }
    }

    fn next(&self) -> Option<Call> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(call) = waiting.calls.pop_front() {
                return Some(call);
            }
            waiting.n_idle = waiting.n_idle.saturating_add(1);
            waiting = self
                .arrived
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
            waiting.n_idle = waiting.n_idle.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
