//! How many requests are worked on at once.
//!
//! Beyond some number more requests in progress finish no sooner, they only make all of them late.
//! So a process works on a bounded number; some more wait for a moment, and the rest is told at
//! once to come back. A request counts once its body has arrived and until its answer is made: a
//! slow client takes nobody's place. What it takes is memory, so the bytes of all bodies, from their
//! arrival to the answer, have a budget, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::body::BodyLimits;
use crate::failure::HttpError;

/// How many requests a process takes on: of clients, and as many again of other services for each
/// service that they call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdmissionLimits {
    /// Requests that are worked on at once; 128 by default, at least 1.
    pub max_in_progress: usize,
    /// Requests that may wait for their turn; 32 by default. Further ones are answered 503 at once.
    pub max_waiting: usize,
    /// Milliseconds that a request waits at most before it is answered 503; 250 by default.
    pub max_wait_ms: u64,
    /// Bytes of request bodies in memory, those that are still arriving among them; 256 MiB by
    /// default, at least 10 MiB. A request whose body is too much is answered 503.
    pub max_held_body_bytes: usize,
    /// Requests for OCSP answers, CRLs and CA certificates that one address (a /64 network under
    /// IPv6) may send per second, and five times as many at once; 0 for any number, 1000 by default.
    /// Loopback addresses are not counted.
    pub max_validations_per_second: u32,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            max_in_progress: 128,
            max_waiting: 32,
            max_wait_ms: 250,
            max_held_body_bytes: 256 * 1024 * 1024,
            max_validations_per_second: 1_000,
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
        let longest = BodyLimits::default().max_bytes;
        if !(longest..=most).contains(&self.max_held_body_bytes) {
            return Err(("max_held_body_bytes", "it must be at least 10 MiB"));
        }
        Ok(())
    }
}

/// Who takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A client of the platform.
    Client,
    /// Another service of the installation, as part of a request that has its place elsewhere.
    Service,
}

/// The places of a process.
///
/// One request may go through several services, each in a process that it shares with others. If
/// such calls took the places of clients, processes full of requests could wait for each other. So
/// they have places of their own, as many again for each service that is called: which service calls
/// which has no cycle, and so neither has who waits for whom.
#[derive(Debug)]
pub(crate) struct Admission {
    clients: Places,
    services: HashMap<&'static str, Places>,
    client_bodies: BodyBudget,
    service_bodies: BodyBudget,
}

impl Admission {
    /// `services` are those that the process answers for.
    pub(crate) fn new(
        limits: AdmissionLimits,
        services: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let services = services.into_iter();
        Self {
            clients: Places::new(limits),
            services: services
                .map(|service| (service, Places::new(limits)))
                .collect(),
            client_bodies: BodyBudget::new(limits),
            service_bodies: BodyBudget::new(limits),
        }
    }

    /// What bodies of such requests may take. Clients cannot use up that of services.
    pub(crate) const fn bodies(&self, asker: Asker) -> &BodyBudget {
        match asker {
            Asker::Client => &self.client_bodies,
            Asker::Service => &self.service_bodies,
        }
    }

    /// A place for a request to `service`; it is free again once this is dropped.
    ///
    /// # Errors
    /// [`HttpError::Overloaded`] when there is none in time.
    pub(crate) async fn enter(
        &self,
        service: &str,
        asker: Asker,
    ) -> Result<OwnedSemaphorePermit, HttpError> {
        let places = match asker {
            Asker::Client => None,
            Asker::Service => self.services.get(service),
        };
        places.unwrap_or(&self.clients).enter().await
    }
}

/// How many bytes of bodies may be in memory at once.
#[derive(Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    fn new(limits: AdmissionLimits) -> Self {
        Self(Arc::new(Semaphore::new(limits.max_held_body_bytes)))
    }

    /// Takes so many bytes, until what is returned is dropped. Nobody waits: whoever did would hold
    /// what has arrived so far.
    ///
    /// # Errors
    /// [`HttpError::Overloaded`] when there are not as many left.
    pub(crate) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, HttpError> {
        let bytes = u32::try_from(bytes).map_err(|_more_than_ever_fits| HttpError::TooLarge)?;
        Arc::clone(&self.0)
            .try_acquire_many_owned(bytes)
            .map_err(|_used_up| HttpError::Overloaded)
    }
}

#[derive(Debug)]
struct Places {
    in_progress: Arc<Semaphore>,
    waiting: Semaphore,
    max_wait: Duration,
}

impl Places {
    fn new(limits: AdmissionLimits) -> Self {
        Self {
            in_progress: Arc::new(Semaphore::new(limits.max_in_progress)),
            waiting: Semaphore::new(limits.max_waiting),
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
