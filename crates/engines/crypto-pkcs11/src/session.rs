//! One logged-in session, kept by one thread, and what is done when it is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::RvError;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use lamassu_core::crypto_engine::KeyHandle;
use secrecy::SecretString;

use crate::error::Pkcs11Error;
use crate::module::{Entered, Epoch, Lost, Module, User};
use crate::token::{self, Wanted};

/// Keys whose place in the token one session remembers.
const MAX_KNOWN: usize = 10_000;

/// How long the module is left alone after it was initialised in vain, at first and in the end.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// What all sessions of an engine have in common.
#[derive(Debug)]
pub(crate) struct Access {
    module: Arc<Module>,
    user: User,
    wanted: Wanted,
    pin: SecretString,
    /// Longest wait for others who are inside the module.
    patience: Duration,
    /// One login at a time: a wrong PIN is shown to the token once, not by every session.
    login: Mutex<()>,
    /// The token did not take the PIN.
    is_pin_refused: AtomicBool,
    deletions: Arc<AtomicU64>,
    rescues: Mutex<Rescues>,
}

/// How often the module is initialised again for a token that does not come back: others that work
/// may be behind the same module, and it disturbs them.
#[derive(Debug)]
struct Rescues {
    last: Option<Instant>,
    pause: Duration,
}

impl Default for Rescues {
    fn default() -> Self {
        Self {
            last: None,
            pause: FIRST_PAUSE,
        }
    }
}

/// Whether a call may be made a second time when nobody knows what became of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It has the same effect and answer.
    Yes,
    /// It would make something a second time.
    No,
}

/// A session that is open, or will be when it is needed.
#[derive(Debug)]
pub(crate) struct TokenSession {
    access: Arc<Access>,
    open: Option<Open>,
}

/// An open session that is logged in.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) session: Session,
    pub(crate) library: Pkcs11,
    pub(crate) slot: Slot,
    wanted: Wanted,
    /// Private keys whose public half was compared in this session.
    pub(crate) known: HashMap<KeyHandle, ObjectHandle>,
    /// Counts what the engine has deleted: a token may give the place of a deleted key to another.
    pub(crate) deletions: Arc<AtomicU64>,
    n_deleted: u64,
    epoch: Epoch,
}

impl TokenSession {
    pub(crate) const fn new(access: Arc<Access>) -> Self {
        Self { access, open: None }
    }

    /// Does `work` in the session. A session that turns out to be lost is opened again, logged in
    /// again, and where that does not help the module is initialised again.
    pub(crate) fn run<T>(
        &mut self,
        repeat: Repeat,
        work: &mut dyn FnMut(&mut Open) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let mut is_new = self.open.is_none();
        let mut is_last = false;
        loop {
            let failure = match self.attempt(work) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let error = failure.error;
            if is_last || !error.loses_session() {
                return Err(error);
            }
            tracing::debug!(
                error = &error as &(dyn std::error::Error + 'static),
                "session lost"
            );
            if is_new {
                let Some(epoch) = failure.dead else {
                    return Err(error);
                };
                self.access.rescue(epoch, error.lost())?;
                is_last = true;
            }
            if failure.has_begun && repeat == Repeat::No {
                return Err(error);
            }
            is_new = true;
        }
    }

    /// Does `work`, in a new session if there is none.
    fn attempt<T>(
        &mut self,
        work: &mut dyn FnMut(&mut Open) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Failure> {
        let access = Arc::clone(&self.access);
        let entered = access.module.enter(access.user, access.patience)?;
        // The module was initialised since: the session is none any more.
        self.open.take_if(|open| open.epoch != entered.epoch);
        let open = match &mut self.open {
            Some(open) => open,
            none => match access.open(&entered) {
                Ok(open) => {
                    *access.lock_rescues() = Rescues::default();
                    none.insert(open)
                }
                Err(error) => {
                    entered.note(false);
                    return Err(Failure {
                        error,
                        has_begun: false,
                        dead: Some(entered.epoch),
                    });
                }
            },
        };
        let error = match work(open) {
            Ok(done) => {
                entered.note(true);
                return Ok(done);
            }
            Err(error) => error,
        };
        let mut dead = None;
        let is_lost = error.loses_session();
        if is_lost {
            let is_dead = open.session.get_session_info().is_err();
            dead = is_dead.then_some(entered.epoch);
            self.close();
        }
        entered.note(!is_lost);
        Err(Failure {
            error,
            has_begun: true,
            dead,
        })
    }

    /// Gives the session back. Its module has been entered in the session's epoch.
    fn close(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.session.close()
        {
            tracing::debug!(%error, "session not closed");
        }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
struct Failure {
    error: Pkcs11Error,
    /// Whether the session was there and the work begun.
    has_begun: bool,
    /// The epoch of a module in which no session works.
    dead: Option<Epoch>,
}

impl From<Pkcs11Error> for Failure {
    fn from(error: Pkcs11Error) -> Self {
        Self {
            error,
            has_begun: false,
            dead: None,
        }
    }
}

impl Drop for TokenSession {
    fn drop(&mut self) {
        let access = Arc::clone(&self.access);
        if let Ok(entered) = access.module.enter(access.user, access.patience)
            && self
                .open
                .as_ref()
                .is_some_and(|open| open.epoch == entered.epoch)
        {
            self.close();
        }
    }
}

impl Access {
    pub(crate) fn new(
        module: Arc<Module>,
        wanted: Wanted,
        pin: SecretString,
        patience: Duration,
    ) -> Self {
        Self {
            user: module.add_user(),
            module,
            wanted,
            pin,
            patience,
            login: Mutex::default(),
            is_pin_refused: AtomicBool::default(),
            deletions: Arc::default(),
            rescues: Mutex::default(),
        }
    }

    /// Initialises the module, if it is time to.
    fn rescue(&self, epoch: Epoch, lost: Lost) -> Result<(), Pkcs11Error> {
        let mut rescues = self.lock_rescues();
        if rescues
            .last
            .is_some_and(|last| last.elapsed() < rescues.pause)
        {
            return Ok(());
        }
        rescues.last = Some(Instant::now());
        rescues.pause = rescues.pause.saturating_mul(2).min(LAST_PAUSE);
        drop(rescues);
        self.module
            .initialise(self.user, (epoch, lost), self.patience)
    }

    fn lock_rescues(&self) -> MutexGuard<'_, Rescues> {
        self.rescues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session, logged in.
    fn open(&self, entered: &Entered<'_>) -> Result<Open, Pkcs11Error> {
        if self.is_pin_refused.load(Ordering::Relaxed) {
            return Err(Pkcs11Error::PinRefused(None));
        }
        let library = entered.library()?;
        let slot = token::find(library, &self.wanted)?;
        let session = library.open_rw_session_no_drop(slot)?;
        match self.log_in(&session) {
            Ok(()) => Ok(Open {
                session,
                library: library.clone(),
                slot,
                wanted: self.wanted.clone(),
                known: HashMap::new(),
                deletions: Arc::clone(&self.deletions),
                n_deleted: self.deletions.load(Ordering::Acquire),
                epoch: entered.epoch,
            }),
            Err(error) => {
                if let Err(error) = session.close() {
                    tracing::debug!(%error, "session not closed");
                }
                Err(error)
            }
        }
    }

    fn log_in(&self, session: &Session) -> Result<(), Pkcs11Error> {
        let _one_at_a_time = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_pin_refused.load(Ordering::Relaxed) {
            return Err(Pkcs11Error::PinRefused(None));
        }
        let Err(error) = session.login(UserType::User, Some(&self.pin)) else {
            return Ok(());
        };
        let error = Pkcs11Error::Call(error);
        match error.rv() {
            // The login is the process's, not the session's.
            Some(RvError::UserAlreadyLoggedIn) => Ok(()),
            Some(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked
                | RvError::PinExpired
                | RvError::UserPinNotInitialized,
            ) => {
                self.is_pin_refused.store(true, Ordering::Relaxed);
                let Pkcs11Error::Call(cause) = error else {
                    return Err(error);
                };
                Err(Pkcs11Error::PinRefused(Some(cause)))
            }
            _ => Err(error),
        }
    }
}

impl Open {
    /// Refuses to take for gone what is only hidden: without login a token shows no private keys, and
    /// behind some modules one that is away shows nothing at all.
    pub(crate) fn require_login(&self) -> Result<(), Pkcs11Error> {
        match self.session.get_session_info()?.session_state() {
            SessionState::RwUser | SessionState::RoUser => {
                token::require(&self.library, self.slot, &self.wanted)
            }
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {
                Err(Pkcs11Error::NotLoggedIn)
            }
        }
    }

    /// Forgets where keys are once one has been deleted.
    pub(crate) fn forget_deleted(&mut self) {
        let n_deleted = self.deletions.load(Ordering::Acquire);
        if n_deleted != self.n_deleted {
            self.known.clear();
            self.n_deleted = n_deleted;
        }
    }

    /// Remembers where a key is whose public half has been compared.
    pub(crate) fn remember(&mut self, handle: &KeyHandle, object: ObjectHandle) {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(handle.clone(), object);
    }
}
