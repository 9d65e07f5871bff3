//! The connection that hears what other processes committed.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::failure::db_error;
use super::head::HeadTracker;
use super::notification::Notification;
use super::server::Server;
use crate::error::DbError;
use crate::signals::Signals;

/// Pause before the connection is made anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Listens until `shutdown`, again and again. What was missed while there was no connection is
/// made up for: everybody is woken once it is there, and the tracker looks by itself.
pub(super) async fn listen(
    server: &Server,
    heads: &HeadTracker,
    signals: &Signals,
    shutdown: &CancellationToken,
) {
    while !shutdown.is_cancelled() {
        tokio::select! {
            ended = listen_once(server, heads, signals) => {
                if let Err(error) = ended {
                    tracing::debug!(error = &error as &dyn std::error::Error, "not listening");
                }
            }
            () = shutdown.cancelled() => return,
        }
        let _stopped = tokio::time::timeout(PAUSE, shutdown.cancelled()).await;
    }
}

async fn listen_once(
    server: &Server,
    heads: &HeadTracker,
    signals: &Signals,
) -> Result<(), DbError> {
    let mut taken_over = server.current_since();
    let (client, mut wire) = server.connect().await?;
    // A plain identifier, as the server's options are checked for.
    let listen = format!("LISTEN {}", server.options.schema);
    let mut asked = Box::pin(client.batch_execute(&listen));
    let mut listening = false;
    loop {
        tokio::select! {
            answer = &mut asked, if !listening => {
                answer.map_err(|error| db_error(error, &listen))?;
                listening = true;
                signals.wake_all();
            }
            message = poll_fn(|context| wire.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(heard))) => hear(heard.payload(), heads, signals),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(db_error(error, &listen)),
                None => return Ok(()),
            },
            _elsewhere = taken_over.changed() => return Ok(()),
        }
    }
}

fn hear(payload: &str, heads: &HeadTracker, signals: &Signals) {
    let Ok(heard) = serde_json::from_str::<Notification>(payload) else {
        tracing::debug!("notification of an unknown form");
        return;
    };
    if Arc::clone(&heard.process) == heads.process() {
        return;
    }
    for signal in &heard.wakes {
        signals.wake(signal);
    }
    if let Some(seq) = heard.seq {
        heads.announced(seq);
    }
}
