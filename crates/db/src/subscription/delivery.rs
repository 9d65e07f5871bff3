//! Handing events to a handler: retries, setting aside, replaying.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{EventHandler, HandlerError, POSITION, Position, Subscription};
use crate::dead_letter;
use crate::error::CommitError;
use crate::event::LoggedEvent;
use crate::system_caller::system_caller;
use crate::write_set::WriteSet;

/// A handler that panicked; its message went to the panic hook.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the event handler panicked")]
struct Panicked;

/// Whether marked dead letters are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replay {
    Finished,
    Unfinished,
}

impl Subscription {
    /// Handles the events, together if that works, else one by one.
    pub(super) async fn deliver(
        &self,
        handler: &dyn EventHandler,
        events: &[LoggedEvent],
        position: &mut Position,
        shutdown: &CancellationToken,
    ) -> Result<(), CommitError> {
        if events.len() > 1 {
            match self.attempt(handler, events, position).await? {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(
                    subscription = self.name,
                    error = error.chain(),
                    "batch failed, events go one by one"
                ),
            }
        }
        for event in events {
            self.deliver_one(handler, event, position, shutdown).await?;
            if shutdown.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn deliver_one(
        &self,
        handler: &dyn EventHandler,
        event: &LoggedEvent,
        position: &mut Position,
        shutdown: &CancellationToken,
    ) -> Result<(), CommitError> {
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let outcome = self
                .attempt(handler, std::slice::from_ref(event), position)
                .await?;
            let Err(error) = outcome else {
                return Ok(());
            };
            failures += 1;
            let text = error.chain();
            tracing::warn!(
                subscription = self.name,
                seq = event.seq.0,
                event_type = event.event_type,
                attempt = failures,
                error = text,
                "event not handled"
            );
            if self.retry.gives_up(failures, &error) {
                return self.set_aside(event, &text, failures, position).await;
            }
            self.pause(failures, shutdown).await;
        }
        Ok(())
    }

    /// One call of the handler and the commit of its effect. The outer error is the database's
    /// or the position's, the inner one the handler's.
    async fn attempt(
        &self,
        handler: &dyn EventHandler,
        events: &[LoggedEvent],
        position: &mut Position,
    ) -> Result<Result<(), HandlerError>, CommitError> {
        let Some(last) = events.last() else {
            return Ok(Ok(()));
        };
        let caller = system_caller(self.name);
        let set = match unharmed(handler.handle(&caller, events)).await {
            Ok(set) => set,
            Err(error) => return Ok(Err(error)),
        };
        match self.commit_at(set, last.seq, position).await {
            Ok(()) => {
                crate::metrics::events_handled(self.name, events.len());
                Ok(Ok(()))
            }
            Err(error) if error.is_race() && !error.failed(POSITION) => Ok(Err(error.into())),
            Err(error) => match &error {
                CommitError::Db(cause)
                    if cause.kind() == lamassu_core::error::ErrorKind::Internal =>
                {
                    Ok(Err(error.into()))
                }
                _ => Err(error),
            },
        }
    }

    async fn set_aside(
        &self,
        event: &LoggedEvent,
        error: &str,
        attempts: u32,
        position: &mut Position,
    ) -> Result<(), CommitError> {
        let mut set = WriteSet::new();
        let now = self.db.now();
        set.execute(dead_letter::insert(self.name, event, error, attempts, now));
        self.commit_at(set, event.seq, position).await?;
        crate::metrics::dead_lettered(self.name);
        tracing::error!(
            subscription = self.name,
            seq = event.seq.0,
            event_type = event.event_type,
            error,
            "event set aside"
        );
        Ok(())
    }

    /// Handles dead letters that somebody marked for replay, once each; then they are gone or no
    /// longer marked. Says whether more of them may wait.
    pub(super) async fn replay_marked(
        &self,
        handler: &dyn EventHandler,
    ) -> Result<Replay, CommitError> {
        let marked = dead_letter::marked(&self.db, self.name).await?;
        for letter in marked.letters {
            let event = letter.event();
            let caller = system_caller(self.name);
            let outcome = match unharmed(handler.replay(&caller, &event)).await {
                Ok(mut set) => {
                    set.append(dead_letter::removal(letter.id));
                    self.db
                        .commit(set)
                        .await
                        .map(drop)
                        .map_err(HandlerError::from)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let set = dead_letter::failed_again(letter.id, &error.chain(), self.db.now());
                self.db.commit(set).await?;
            }
        }
        Ok(if marked.is_full {
            Replay::Unfinished
        } else {
            Replay::Finished
        })
    }
}

/// The effect that a handler has to offer; its panic is a failure.
async fn unharmed(
    handling: impl Future<Output = Result<WriteSet, HandlerError>>,
) -> Result<WriteSet, HandlerError> {
    AssertUnwindSafe(handling)
        .catch_unwind()
        .await
        .unwrap_or_else(|_panic| Err(HandlerError::Failed(Arc::new(Panicked))))
}
