//! An answer's body that keeps its request in flight until it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::activity::InFlight;

/// Longest piece that hyper gets at once, in bytes: one HTTP/2 frame (RFC 9113 4.2).
const MAX_PIECE: usize = 16 * 1024;

/// A body with the guard of its request.
///
/// hyper asks for the next piece when an HTTP/2 client's window has let the last one out. Pieces
/// are short so that this tells whether the answer moves, and so that what hyper still holds when
/// it has all of them is little.
#[derive(Debug)]
pub(super) struct GuardedBody {
    body: Body,
    /// What is left of a longer piece.
    rest: Bytes,
    in_flight: InFlight,
}

impl GuardedBody {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            in_flight,
        }
    }

    /// The next piece of what is left.
    fn piece(&mut self) -> Frame<Bytes> {
        self.in_flight.piece_held();
        Frame::data(self.rest.split_to(self.rest.len().min(MAX_PIECE)))
    }
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.in_flight.more_wanted();
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_ok(|frame| {
            frame.into_data().map_or_else(
                |trailers| trailers,
                |data| {
                    self.rest = data;
                    self.piece()
                },
            )
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let hint = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower().saturating_add(rest));
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(rest));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;

    use axum::body::Body;
    use http::Version;
    use http_body::Body as _;

    use super::{GuardedBody, MAX_PIECE};
    use crate::config::Timeouts;
    use crate::listener::activity::Activity;

    #[tokio::test]
    async fn a_long_body_goes_out_in_pieces_and_whole() {
        let sent: Vec<u8> = (0..u8::MAX).cycle().take(2 * MAX_PIECE + 1).collect();
        let in_flight = Activity::new(Timeouts::default()).request_began(Version::HTTP_2);
        let mut body = GuardedBody::new(Body::from(sent.clone()), in_flight);
        let (mut received, mut lengths) = (Vec::new(), Vec::new());
        while !body.is_end_stream() {
            let left = sent.len() - received.len();
            assert_eq!(body.size_hint().exact(), u64::try_from(left).ok());
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let data = frame.unwrap().unwrap().into_data().unwrap();
            lengths.push(data.len());
            received.extend(data);
        }
        assert_eq!(lengths, [MAX_PIECE, MAX_PIECE, 1]);
        assert!(received == sent);
    }
}
