//! HTTP/1 and HTTP/2 on one accepted connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::accept::StopSignals;
use super::activity::{Activity, Verdict};
use super::body::GuardedBody;
use super::streams::Streams;
use super::unread::ReadToEnd;
use super::watched::Watched;
use crate::config::{Limits, Timeouts};
use crate::front::{Front, Origin};

/// How long a connection may take to close after it was told that it is idle.
const GOODBYE: Duration = Duration::from_secs(5);

/// Requests that one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 32;

/// Bytes of one HTTP/2 answer that hyper takes ahead of the connection. Once it has the last of
/// an answer the connection counts as idle, so they must leave well within that time-out.
const MAX_AHEAD: usize = 64 * 1024;

/// How connections of one listener are served.
#[derive(Debug)]
pub(super) struct Connections {
    front: Arc<Front>,
    http: Builder<Streams>,
    streams: Streams,
    pub(super) timeouts: Timeouts,
    pub(super) stop: StopSignals,
}

impl Connections {
    pub(super) fn new(
        front: Arc<Front>,
        timeouts: Timeouts,
        limits: &Limits,
        stop: StopSignals,
        tracker: TaskTracker,
    ) -> Self {
        let streams = Streams {
            tracker,
            cut: stop.cut.clone(),
        };
        Self {
            front,
            http: http_builder(limits, streams.clone()),
            streams,
            timeouts,
            stop,
        }
    }

    /// Serves `stream` until the client leaves, a deadline passes or the process stops.
    pub(super) async fn serve<S>(&self, stream: S, origin: Origin)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = origin.peer;
        let activity = Activity::new(self.timeouts.clone());
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let origin = Arc::new(origin);
        let service = {
            let activity = Arc::clone(&activity);
            service_fn(move |request: Request<Incoming>| {
                let in_flight = activity.request_began(request.version());
                let front = Arc::clone(&self.front);
                let (origin, streams) = (Arc::clone(&origin), self.streams.clone());
                async move {
                    let request = match request.version() {
                        Version::HTTP_2 => {
                            request.map(|body| Body::new(ReadToEnd::new(body, streams)))
                        }
                        _ => request.map(Body::new),
                    };
                    let reply = front.handle(&origin, request).await;
                    Ok::<Response<GuardedBody>, Infallible>(
                        reply.map(|body| GuardedBody::new(body, in_flight)),
                    )
                }
            })
        };
        let mut connection = pin!(self.http.serve_connection(io, service));
        let mut look_at = Instant::now() + activity.look_interval();
        let mut leaving = false;
        loop {
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        debug!(%peer, error, "connection ended early");
                    }
                    return;
                }
                () = self.stop.cut.cancelled() => return,
                () = self.stop.drain.cancelled(), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep_until(look_at) => match activity.verdict(Instant::now()) {
                    Verdict::Wait(until) => look_at = until,
                    Verdict::CloseIdle if !leaving => {
                        leaving = true;
                        connection.as_mut().graceful_shutdown();
                        look_at = Instant::now() + GOODBYE;
                    }
                    Verdict::CloseIdle | Verdict::Cut => {
                        debug!(%peer, "connection was cut for stalling");
                        return;
                    }
                },
            }
        }
    }
}

fn http_builder(limits: &Limits, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder
        .http1()
        // EST clients in the field compare header names by case.
        .title_case_headers(true)
        // `openssl ocsp` and others close their sending side after the request.
        .half_close(true)
        .max_buf_size(usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX))
        // Deadlines for heads are kept by `Activity`.
        .header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_AHEAD)
        .max_header_list_size(limits.max_header_bytes);
    builder
}

#[cfg(test)]
mod tests;
