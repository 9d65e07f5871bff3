//! What can be asked of a process of the installation as such, rather than of one of its services.

use http::Method;
use lamassu_core::caller::Caller;
use lamassu_core::dead_letter::DeadLetterError;
use lamassu_core::error::StorageFailure;
use serde::Deserialize;

use crate::peer::{Call, Peer, Service, internal};
use crate::refusal::UnexpectedAnswer;
use crate::retry::Repeat;

/// A running process; its peer has the base path `/`.
#[derive(Clone, Debug)]
pub struct ProcessClient(Service);

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it is ready.
    pub ready: bool,
    /// Why not, or what works: the body of `/readyz`.
    pub report: String,
}

/// How people sign in at an installation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SignIn {
    /// Whose tokens it accepts.
    pub issuers: Vec<String>,
    /// The client id of people's programs.
    pub client_id: String,
}

impl ProcessClient {
    /// The process at this peer.
    pub fn new(peer: &Peer) -> Self {
        Self(peer.process())
    }

    /// Asks `/readyz`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn readiness(&self, caller: &Caller) -> Result<Readiness, StorageFailure> {
        let call = Call::get("/readyz".to_owned());
        let answer = self.0.exchange(caller, &call).await?;
        Ok(Readiness {
            ready: answer.status.is_success(),
            report: String::from_utf8_lossy(&answer.body).into_owned(),
        })
    }

    /// Asks how people sign in.
    ///
    /// # Errors
    /// There is no answer, or none of a gateway.
    pub async fn sign_in(&self, caller: &Caller) -> Result<SignIn, StorageFailure> {
        let call = Call::get("/api/.well-known/lamassu-auth".to_owned());
        let answer = self.0.exchange(caller, &call).await?;
        if !answer.status.is_success() {
            return Err(internal(UnexpectedAnswer {
                status: answer.status,
                text: String::new(),
                lacking: None,
            }));
        }
        serde_json::from_slice(&answer.body).map_err(internal)
    }

    /// Has an event that was set aside tried again. Not repeated: once it is handled, it is gone.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn replay_dead_letter(
        &self,
        caller: &Caller,
        id: i64,
    ) -> Result<(), DeadLetterError> {
        let path = format!("/api/events/internal/v1/dead-letters/{id}/replay");
        let call = Call::bare(Method::POST, path, Repeat::Once);
        self.0.done(caller, call).await
    }

    /// Has it removed for good. Not repeated: a second time it is not there.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub async fn discard_dead_letter(
        &self,
        caller: &Caller,
        id: i64,
    ) -> Result<(), DeadLetterError> {
        let path = format!("/api/events/internal/v1/dead-letters/{id}");
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call).await
    }
}
