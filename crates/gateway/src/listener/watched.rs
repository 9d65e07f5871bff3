//! The stream under hyper: it reports what happens on it, and closes patiently.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::activity::{Activity, Write};

/// How long to wait for the client's end of the connection after closing ours.
const LINGER: Duration = Duration::from_secs(1);

/// How many unread bytes are taken meanwhile.
const LINGER_BYTES: usize = 512 * 1024;

/// A stream that reports to an [`Activity`].
///
/// Closing it takes two steps (RFC 9112 9.6): our side is closed, then what the client still
/// sends is thrown away for a moment. A system that closes with unread bytes resets the
/// connection, and the client loses the answer (413, 431) that says why.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    closing: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            closing: None,
        }
    }

    fn report_write(&self, polled: &Poll<io::Result<usize>>) {
        let outcome = match polled {
            Poll::Pending => Write::Blocked,
            Poll::Ready(Ok(1..)) => Write::Taken,
            Poll::Ready(Ok(0) | Err(_)) => Write::Flushed,
        };
        self.activity.write_polled(outcome);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.bytes_arrived();
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.report_write(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.report_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.write_polled(if polled.is_pending() {
            Write::Blocked
        } else {
            Write::Flushed
        });
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let until = Box::pin(tokio::time::sleep_until(Instant::now() + LINGER));
            self.closing = Some(Linger {
                until,
                bytes_left: LINGER_BYTES,
            });
        }
        let Self {
            stream, closing, ..
        } = &mut *self;
        closing.as_mut().map_or(Poll::Ready(Ok(())), |linger| {
            linger.poll(stream, cx).map(Ok)
        })
    }
}

impl Linger {
    /// Ready when the client has closed, failed, sent too much or taken too long.
    fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut buffer);
            match Pin::new(&mut *stream).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {
                    self.bytes_left = self.bytes_left.saturating_sub(unread.filled().len());
                    if self.bytes_left == 0 {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.until.as_mut().poll(cx),
            }
        }
    }
}
