//! The vendor's library. It is initialised once per process, whichever engines use it, and what one
//! of them does to it happens to all: so they share it through [`Modules`].
//!
//! Every call into it goes through a gate, and has an epoch: the number of times that the module has
//! been initialised. Sessions of an earlier epoch are dead, and their numbers may be those of
//! others by now: they are forgotten, never closed.
//!
//! For the sake of one engine whose token is away the module is not initialised while another engine is
//! at work over it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};

use crate::error::{ConnectError, Pkcs11Error};

/// How soon a module is initialised again that has just been.
const PAUSE: Duration = Duration::from_secs(1);

/// How long ago an engine has called with success that is not at work any more.
const QUIET: Duration = Duration::from_secs(1);

/// The modules of a process. One value serves all engines; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Modules(Arc<Mutex<HashMap<PathBuf, Weak<Module>>>>);

impl Modules {
    /// The module at a path, loaded if it is not yet. It is initialised by its first session.
    pub(crate) fn load(&self, path: &Path) -> Result<Arc<Module>, ConnectError> {
        // A name without directory is the loader's to find.
        let key = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(&key).and_then(Weak::upgrade) {
            return Ok(module);
        }
        let library = Pkcs11::new(path);
        let library = library.map_err(|cause| ConnectError::Module(path.to_owned(), cause))?;
        let module = Arc::new(Module {
            library,
            gate: Mutex::default(),
            opened: Condvar::new(),
        });
        loaded.insert(key, Arc::downgrade(&module));
        Ok(module)
    }
}

/// A loaded module.
pub(crate) struct Module {
    library: Pkcs11,
    gate: Mutex<Gate>,
    /// Told when the gate opens, and when the last call has left while it is closed.
    opened: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    epoch: Epoch,
    is_closed: bool,
    /// When it was initialised again last, or tried to.
    initialised_again: Option<Instant>,
    users: Vec<Standing>,
}

/// An engine that calls into a module, by its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User(usize);

/// How an engine gets on with the module.
#[derive(Debug, Default)]
struct Standing {
    n_in_flight: usize,
    /// When its last call ended, if that found a session that works.
    worked: Option<Instant>,
}

impl Standing {
    fn is_at_work(&self) -> bool {
        self.worked
            .is_some_and(|at| self.n_in_flight > 0 || at.elapsed() < QUIET)
    }
}

impl Gate {
    fn n_in_flight(&self) -> usize {
        self.users.iter().map(|user| user.n_in_flight).sum()
    }

    /// Whether an engine other than `user` is at work.
    fn serves_others(&self, user: User) -> bool {
        let mut others = self.users.iter().enumerate();
        others.any(|(place, other)| place != user.0 && other.is_at_work())
    }
}

/// What has to be initialised again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The module: it works for nobody.
    Module,
    /// The token of one engine, which may be away while others are there.
    Token,
}

/// How often a module has been initialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// Leave to call into the module. As long as this is there, it is not finalized.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    module: &'a Module,
    user: User,
    pub(crate) epoch: Epoch,
}

impl Module {
    /// One more engine that calls.
    pub(crate) fn add_user(&self) -> User {
        let mut gate = self.lock();
        gate.users.push(Standing::default());
        User(gate.users.len().saturating_sub(1))
    }

    /// Waits while the module is being initialised, but no longer than `patience`.
    pub(crate) fn enter(&self, user: User, patience: Duration) -> Result<Entered<'_>, Pkcs11Error> {
        let gate = self.lock();
        let (mut gate, waited) = self
            .opened
            .wait_timeout_while(gate, patience, |gate| gate.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Pkcs11Error::Stuck);
        }
        if let Some(standing) = gate.users.get_mut(user.0) {
            standing.n_in_flight = standing.n_in_flight.saturating_add(1);
        }
        Ok(Entered {
            module: self,
            user,
            epoch: gate.epoch,
        })
    }

    /// Finalizes the module and initialises it again, once no call is in flight, unless somebody did
    /// that since `seen`, or another engine is at work and only `user` has `lost` its token. Who calls
    /// this has not entered.
    ///
    /// # Errors
    ///
    /// [`Pkcs11Error::Stuck`] when a call is in flight for longer than `patience`; what the module
    /// says. Nothing is done, and that is no error, within a second of the last time.
    pub(crate) fn initialise(
        &self,
        user: User,
        (seen, lost): (Epoch, Lost),
        patience: Duration,
    ) -> Result<(), Pkcs11Error> {
        let mut gate = self.lock();
        let again = gate.initialised_again;
        let is_recent = again.is_some_and(|at| at.elapsed() < PAUSE);
        if gate.epoch != seen || gate.is_closed || is_recent {
            return Ok(());
        }
        if lost == Lost::Token && gate.serves_others(user) {
            tracing::debug!("module left alone: another engine is at work over it");
            return Ok(());
        }
        gate.is_closed = true;
        let (mut gate, waited) = self
            .opened
            .wait_timeout_while(gate, patience, |gate| gate.n_in_flight() > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if seen != Epoch::default() {
            gate.initialised_again = Some(Instant::now());
        }
        let outcome = if waited.timed_out() {
            Err(Pkcs11Error::Stuck)
        } else {
            drop(gate);
            let outcome = self.initialise_now(seen);
            gate = self.lock();
            if outcome.is_ok() || seen != Epoch::default() {
                gate.epoch = Epoch(seen.0.saturating_add(1));
            }
            outcome
        };
        gate.is_closed = false;
        self.opened.notify_all();
        outcome
    }

    /// The calls. The gate is closed and nobody is inside.
    fn initialise_now(&self, seen: Epoch) -> Result<(), Pkcs11Error> {
        if seen != Epoch::default()
            && let Err(error) = self.library.clone().finalize()
        {
            tracing::debug!(%error, "module not finalized");
        }
        let flags = CInitializeFlags::OS_LOCKING_OK;
        let initialised = self.library.initialize(CInitializeArgs::new(flags));
        initialised.map_err(Pkcs11Error::Call)?;
        if seen != Epoch::default() {
            tracing::warn!("module initialised again");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered<'_> {
    /// The module, provided that it has been initialised.
    pub(crate) fn library(&self) -> Result<&Pkcs11, Pkcs11Error> {
        if self.epoch == Epoch::default() {
            return Err(Pkcs11Error::NotInitialised);
        }
        Ok(&self.module.library)
    }

    /// Takes note whether the engine found a session that works.
    pub(crate) fn note(&self, works: bool) {
        let mut gate = self.module.lock();
        if let Some(standing) = gate.users.get_mut(self.user.0) {
            standing.worked = works.then(Instant::now);
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut gate = self.module.lock();
        if let Some(standing) = gate.users.get_mut(self.user.0) {
            standing.n_in_flight = standing.n_in_flight.saturating_sub(1);
        }
        if gate.is_closed && gate.n_in_flight() == 0 {
            self.module.opened.notify_all();
        }
    }
}

impl Drop for Module {
    /// Nobody has a session any more.
    fn drop(&mut self) {
        let gate = self.gate.get_mut().unwrap_or_else(PoisonError::into_inner);
        if gate.epoch != Epoch::default()
            && let Err(error) = self.library.clone().finalize()
        {
            tracing::debug!(%error, "module not finalized");
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}
