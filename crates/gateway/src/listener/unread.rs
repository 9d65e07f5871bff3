//! What a client still sends of a request over HTTP/2 that was answered before it was read.
//!
//! A stream that is let go before its end is reset, which RFC 9113 8.1 allows after the answer; but some
//! clients, curl 7.88 among them, then fail and never show the answer. So the rest of a short request is
//! read and thrown away.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor as _;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::streams::Streams;

/// Most bytes that are thrown away; whoever sends more is told to stop.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How long the client may take to send them.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a request, whose rest is thrown away when it is dropped.
#[derive(Debug)]
pub(super) struct ReadToEnd {
    /// Nothing once it is dropped.
    body: Option<Incoming>,
    streams: Streams,
}

impl ReadToEnd {
    pub(super) const fn new(body: Incoming, streams: Streams) -> Self {
        Self {
            body: Some(body),
            streams,
        }
    }
}

impl Body for ReadToEnd {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for ReadToEnd {
    fn drop(&mut self) {
        let body = self.body.take().filter(|body| !body.is_end_stream());
        // Without a runtime the process ends, and the connection with it.
        if let Some(body) = body
            && Handle::try_current().is_ok()
        {
            self.streams
                .execute(async { drop(timeout(PATIENCE, throw_away(body)).await) });
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut n_left = MAX_BYTES;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let n_bytes = frame.data_ref().map_or(0, Bytes::len);
        match n_left.checked_sub(n_bytes) {
            Some(left) => n_left = left,
            None => return,
        }
    }
}
