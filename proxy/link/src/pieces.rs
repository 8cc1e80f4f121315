//! Bodies in numbered pieces, as both directions of a hot call carry them.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use outrigger_svc::{Body, BoxError};

use crate::codec::{Assembler, Payload, decode_request_chunk, decode_response_chunk};
use crate::transport::{Failure, RecvHalf, Trailers};
use crate::{CallError, Status, code};

/// The gRPC messages of the receiving half of a stream.
#[derive(Debug)]
pub(crate) struct Messages {
    recv: RecvHalf,
    assembler: Assembler,
    side: Side,
    is_over: bool,
}

/// Which end reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The callee, which reads pieces of requests; the end of the stream is the end of the body.
    Callee,
    /// The caller, which reads pieces of answers; a status follows the last one.
    Caller,
}

/// A body whose pieces are still coming in.
#[derive(Debug)]
pub(crate) struct Pieces<G> {
    messages: Messages,
    /// The piece of the first message.
    ready: Option<Bytes>,
    /// What came behind the first message before the body was made.
    ahead: Option<Result<Bytes, Status>>,
    /// What is wrong with a piece that was delivered.
    failed: Option<CallError>,
    expected: u64,
    is_over: bool,
    /// Kept as long as the body is.
    _guard: G,
}

// === impl Messages ===

impl Messages {
    pub(crate) fn new(recv: RecvHalf, side: Side, max: usize) -> Self {
        Self {
            recv,
            assembler: Assembler::new(max),
            side,
            is_over: false,
        }
    }

    pub(crate) const fn recv(&mut self) -> &mut RecvHalf {
        &mut self.recv
    }

    /// Waits for the next message; none at a good end.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let outcome = ready!(self.poll_outcome(cx));
        self.is_over = !matches!(outcome, Some(Ok(_)));
        Poll::Ready(outcome)
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.assembler.next_message() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(bytes)) => self.assembler.push(bytes),
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure.status))),
                None => break,
            }
        }
        if self.side == Side::Caller {
            match ready!(self.recv.poll_trailers(cx)) {
                Ok(Trailers::Status(status)) if status.code != code::OK => {
                    return Poll::Ready(Some(Err(status)));
                }
                Ok(_) => {}
                Err(Failure { status, .. }) => return Poll::Ready(Some(Err(status))),
            }
        }
        Poll::Ready(
            self.assembler
                .is_partial()
                .then(|| Err(Status::internal("unexpected EOF"))),
        )
    }
}

// === impl Pieces ===

impl<G: Send + Unpin + 'static> Pieces<G> {
    /// The body that begins with the payload of the first message.
    ///
    /// If the stream has ended already, the body is whole and the guard is dropped.
    pub(crate) fn into_body(messages: Messages, first: Option<Payload>, guard: G) -> Body {
        let mut pieces = Self {
            messages,
            ready: None,
            ahead: None,
            failed: None,
            expected: 0,
            is_over: false,
            _guard: guard,
        };
        pieces.ready = pieces.take(first);
        if pieces.failed.is_none() {
            // Only a look: whoever reads the body asks again with a waker.
            match pieces
                .messages
                .poll_message(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(None) => return Body::from(pieces.ready.unwrap_or_default()),
                Poll::Ready(more) => pieces.ahead = more,
                Poll::Pending => {}
            }
        }
        Body::new(pieces)
    }

    /// Checks the number of a piece. Its bytes count even if the number is wrong.
    fn take(&mut self, payload: Option<Payload>) -> Option<Bytes> {
        let payload = payload?;
        if payload.seq == self.expected {
            self.expected += 1;
        } else {
            let (received, expected) = (payload.seq, self.expected);
            self.failed = Some(CallError::text(format!(
                "invalid sequence number received: {received} (expected: {expected})"
            )));
        }
        Some(payload.data).filter(|data| !data.is_empty())
    }

    fn read(&mut self, message: &Bytes) -> Result<Option<Bytes>, CallError> {
        let wrap = |status: Status| CallError::from(status).wrapped("error receiving message: ");
        let (repeats_head, payload) = match self.messages.side {
            Side::Callee => {
                let chunk = decode_request_chunk(message).map_err(|error| wrap(error.into()))?;
                (chunk.repeats_head(), chunk.payload)
            }
            Side::Caller => {
                let chunk = decode_response_chunk(message).map_err(|error| wrap(error.into()))?;
                (chunk.repeats_head(), chunk.payload)
            }
        };
        if repeats_head {
            let kind = match self.messages.side {
                Side::Callee => "request",
                Side::Caller => "response",
            };
            return Err(CallError::text(format!(
                "{kind} metadata found in non-leading chunk"
            )));
        }
        Ok(self.take(payload))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallError>>> {
        if let Some(piece) = self.ready.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        loop {
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            let message = match self.ahead.take() {
                Some(ahead) => Some(ahead),
                None => ready!(self.messages.poll_message(cx)),
            };
            let message = match message {
                None => return Poll::Ready(None),
                Some(Ok(message)) => message,
                Some(Err(status)) => {
                    let error = CallError::from(status).wrapped("error receiving message: ");
                    return Poll::Ready(Some(Err(error)));
                }
            };
            match self.read(&message) {
                Ok(None) => {}
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<G: Send + Unpin + 'static> HttpBody for Pieces<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let piece = ready!(this.poll_piece(cx));
        this.is_over = !matches!(piece, Some(Ok(_)));
        Poll::Ready(piece.map(|result| result.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}
