//! How many requests are worked on at once.
//!
//! Beyond some number more requests in progress finish no sooner, they only make all of them late.
//! So a process works on a bounded number; some more wait for a moment, and the rest is told at
//! once to come back. A request counts once its body has arrived and until its answer is made: a
//! slow client takes nobody's place.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::failure::HttpError;

/// How many requests a process takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdmissionLimits {
    /// Requests that are worked on at once; 128 by default, at least 1.
    pub max_in_progress: usize,
    /// Requests that may wait for their turn; 32 by default. Further ones are answered 503 at once.
    pub max_waiting: usize,
    /// Milliseconds that a request waits at most before it is answered 503; 250 by default.
    pub max_wait_ms: u64,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            max_in_progress: 128,
            max_waiting: 32,
            max_wait_ms: 250,
        }
    }
}

impl AdmissionLimits {
    /// The first key that is not acceptable, and why.
    ///
    /// # Errors
    /// Its name and the reason.
    pub fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        let most = Semaphore::MAX_PERMITS;
        if self.max_in_progress == 0 || self.max_in_progress > most {
            return Err(("max_in_progress", "it must be at least 1"));
        }
        if self.max_waiting > most {
            return Err(("max_waiting", "it is too large"));
        }
        Ok(())
    }
}

/// The places of a process.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    in_progress: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    max_wait: Duration,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self {
            in_progress: Arc::new(Semaphore::new(limits.max_in_progress)),
            waiting: Arc::new(Semaphore::new(limits.max_waiting)),
            max_wait: Duration::from_millis(limits.max_wait_ms),
        }
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        if let Ok(place) = Arc::clone(&self.in_progress).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_all_taken| HttpError::Overloaded)?;
        let place = Arc::clone(&self.in_progress).acquire_owned();
        match timeout(self.max_wait, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(HttpError::Overloaded),
        }
    }
}

/// The turn of one request, in its extensions; its place is free again once all copies are gone.
#[derive(Clone, Debug)]
pub(crate) struct Turn(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admission: Admission,
    place: OnceLock<OwnedSemaphorePermit>,
}

impl Turn {
    pub(crate) fn new(admission: &Admission) -> Self {
        Self(Arc::new(Inner {
            admission: admission.clone(),
            place: OnceLock::new(),
        }))
    }

    /// Takes a place, unless the request has one.
    ///
    /// # Errors
    /// [`HttpError::Overloaded`] when there is none in time.
    pub(crate) async fn take(&self) -> Result<(), HttpError> {
        if self.0.place.get().is_none() {
            let place = self.0.admission.enter().await?;
            // A place too many is given back at once.
            drop(self.0.place.set(place));
        }
        Ok(())
    }
}
